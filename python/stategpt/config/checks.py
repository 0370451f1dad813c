"""Checks of settings; an error names the setting, shows its value and states the rule."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from stategpt.errors import ConfigError
from stategpt.visible_text import visible_line

LARGEST = 2**53
"""No setting is beyond +- this: numbers up to here are exact as floats, and what is computed from them stays finite."""
LARGEST_IN_MODEL = 2**24
"""The same for widths, heads and blocks of a model; its vocabulary may have 2**32 tokens."""
_SHOWN_CHARS = 200


class SettingError(ConfigError):
    """A setting whose value breaks a rule.

    Keeps its parts, so that the code that builds a section from a file can prefix the key with the section's full path.

    Attributes:
        key: dotted name of the setting, as far as the raiser knows it.
        value: what was given.
        rule: what would have been right, as a phrase that follows the value.
    """

    def __init__(self, key: str, value: object, rule: str) -> None:
        self.key = key
        self.value = value
        self.rule = rule
        super().__init__(f"{shown_key(key)} = {shown_value(value)}: {rule}")

    def inside(self, section: str) -> SettingError:
        """The same error with `section` as the key's first word: `optim.epsilon` becomes `sft.optim.epsilon`."""
        return SettingError(f"{section}.{self.key.partition('.')[2]}", self.value, self.rule)


class UnknownKey(SettingError):
    """A key that is no setting or section.

    Attributes:
        key: what was given.
    """

    def __init__(self, key: str, message: str) -> None:
        self.key = key
        ConfigError.__init__(self, message)


def shown_key(key: str) -> str:
    """Formats a key for a message: on one line, escaped and short."""
    return _short(visible_line(key[: _SHOWN_CHARS + 1]))


def shown_value(value: object) -> str:
    """Formats a value for a message: escaped and short."""
    if type(value) is int and value.bit_length() > 128:  # repr() of an int of over 4,300 digits raises
        return f"a whole number of {value.bit_length()} bits"
    if isinstance(value, str):
        value = value[: _SHOWN_CHARS + 1]
    try:
        return _short(repr(value))
    except (ValueError, RecursionError):
        return f"a {type(value).__name__}"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


def require_storable(key: str, value: object) -> None:
    """Checks a setting, and the values of a list or table: a file must hold them, and arithmetic must not overflow.

    Raises:
        SettingError: a number is not finite or too large, or a text holds half a character, as the names of files have
            that are not UTF-8.
    """
    if isinstance(value, Mapping):
        for name, item in value.items():
            require_storable(key, name)
            require_storable(f"{key}.{name}", item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        require_all_storable(value, f"{key}.")
    elif isinstance(value, list | tuple):
        for item in value:
            require_storable(key, item)
    elif isinstance(value, str):
        require(_is_unicode(value), key, value, "must be Unicode text; for a file with another name give its folder")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        limit = LARGEST_IN_MODEL if key.startswith("model.") and not key.endswith("vocab_size") else LARGEST
        finite = isinstance(value, int) or math.isfinite(value)
        require(finite and abs(value) <= limit, key, value, f"must lie between {-limit} and {limit}")


def require_all_storable(section: object, path: str = "") -> None:
    """`require_storable` for every setting of a section (a dataclass), including those of nested sections."""
    for field in dataclasses.fields(section):  # type: ignore[arg-type]
        require_storable(path + field.name, getattr(section, field.name))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def require(holds: bool, key: str, value: object, rule: str) -> None:
    """Raises `SettingError` unless `holds`."""
    if not holds:
        raise SettingError(key, value, rule)


def require_positive(section: str, **settings: float) -> None:
    """Raises `SettingError` for the first setting that is not above zero."""
    for name, value in settings.items():
        require(value > 0, f"{section}.{name}", value, "must be above 0")


def require_not_negative(section: str, **settings: float) -> None:
    """Raises `SettingError` for the first setting below zero."""
    for name, value in settings.items():
        require(value >= 0, f"{section}.{name}", value, "must be 0 or more")


def require_share(section: str, **settings: float) -> None:
    """Raises `SettingError` for the first setting outside 0 to 1."""
    for name, value in settings.items():
        require(0.0 <= value <= 1.0, f"{section}.{name}", value, "must lie between 0 and 1")


def require_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises `SettingError` unless `value` is one of `choices`."""
    require(value in choices, key, value, "must be one of " + ", ".join(choices))


def require_patterns(key: str, patterns: tuple[str, ...]) -> None:
    """Raises `SettingError` for a pattern of files that is empty or holds a NUL byte."""
    for pattern in patterns:
        require(bool(pattern) and "\0" not in pattern, key, pattern, "must be a path or a glob")
