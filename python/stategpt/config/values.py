"""Values of settings: checked when they come from TOML, parsed when they come from the command line."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

from stategpt.config.checks import LARGEST, SettingError
from stategpt.config.toml_text import parse_toml
from stategpt.errors import ConfigError

_PLAIN = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def describe(hint: Any) -> str:
    """Describes a type, for messages."""
    if hint in _PLAIN:
        return _PLAIN[hint]
    arguments = get_args(hint)
    origin = get_origin(hint)
    if origin is Literal:
        return " or ".join(repr(choice) for choice in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(part) for part in arguments)
    if origin is tuple:
        size = "" if arguments[-1] is Ellipsis else f"{len(arguments)} values, "
        return f"a list ({size}each {describe(arguments[0])})"
    return f"a table (each value {describe(arguments[1])})"


def check_value(key: str, value: Any, hint: Any) -> Any:
    """`value` as the setting stores it: whole numbers pass as numbers, lists become tuples.

    Raises:
        ConfigError: the value has another type; gives the key, the value and what it must be.
    """
    fits, converted = _convert(value, hint)
    if not fits:
        raise SettingError(key, value, f"must be {describe(hint)}")
    return converted


def parse_value(key: str, text: str, hint: Any) -> Any:
    """The value that `text`, typed on a command line, means for a setting of type `hint`.

    Lists are written `a,b` or as TOML, tables `a=1,b=2` or as TOML; whole numbers may be written 1e6.

    Raises:
        ConfigError: the text does not mean a value of this type.
    """
    for candidate in _readings(text, hint):
        fits, converted = _convert(candidate, hint)
        if fits:
            return converted
    raise SettingError(key, text, f"must be {describe(hint)}")


def _convert(value: Any, hint: Any) -> tuple[bool, Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in arguments and type(value) in {type(choice) for choice in arguments}, value
    if origin in (Union, types.UnionType):
        return next((pair for pair in (_convert(value, part) for part in arguments) if pair[0]), (False, value))
    if origin is tuple:
        return _convert_list(value, arguments)
    if origin is not None:
        return _convert_table(value, arguments[1])
    if hint is float and type(value) is int:
        return (True, float(value)) if abs(value) <= LARGEST else (False, value)
    # Neither TOML's `nan` nor `inf` is a setting: both pass or fail comparisons in surprising ways.
    return type(value) is hint and (hint is not float or math.isfinite(value)), value


def _convert_list(value: Any, arguments: tuple[Any, ...]) -> tuple[bool, Any]:
    if not isinstance(value, (list, tuple)):
        return False, value
    hints = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
    if len(hints) != len(value):
        return False, value
    pairs = [_convert(item, hint) for item, hint in zip(value, hints, strict=True)]
    return all(fits for fits, _ in pairs), tuple(item for _, item in pairs)


def _convert_table(value: Any, hint: Any) -> tuple[bool, Any]:
    if not isinstance(value, Mapping):
        return False, value
    pairs = {name: _convert(item, hint) for name, item in value.items()}
    fits = all(fit and isinstance(name, str) for name, (fit, _) in pairs.items())
    return fits, {name: item for name, (_, item) in pairs.items()}


def _readings(text: str, hint: Any) -> list[Any]:
    """The values that a text could mean, the most likely first."""
    if hint is str:
        return [text]
    origin = get_origin(hint)
    readings = [value for value in (_toml(text), _number(text)) if value is not None]
    if origin is tuple:
        words = [word.strip() for word in text.split(",")] if text else []
        readings += [[_scalar(word, get_args(hint)[0]) for word in words]]
    elif origin not in (None, Literal, Union, types.UnionType):
        entries = [entry.partition("=") for entry in text.split(",")]
        readings += [{name.strip(): _scalar(value.strip(), get_args(hint)[1]) for name, _, value in entries}]
    return [*readings, text]


def _scalar(word: str, hint: Any) -> Any:
    return next((value for value in _readings(word, hint) if _convert(value, hint)[0]), word)


def _toml(text: str) -> Any:
    try:
        return parse_toml(f"value = {text}").get("value")
    except ConfigError:
        return None


def _number(text: str) -> int | float | None:
    """Numbers that TOML does not read: `.04`, and whole numbers with an exponent."""
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number.is_integer() else number  # inf and nan stay numbers and are refused by name
