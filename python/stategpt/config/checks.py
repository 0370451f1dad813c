"""One way to refuse a setting: name it, show its value, state the rule."""

from __future__ import annotations

from stategpt.errors import ConfigError


class SettingError(ConfigError):
    """A setting whose value breaks a rule.

    Keeps its parts, so that whoever builds a section from a file can put the section's full path in front of the key.

    Attributes:
        key: dotted name of the setting, as far as the raiser knows it.
        value: what was given.
        rule: what would have been right, as a phrase that follows the value.
    """

    def __init__(self, key: str, value: object, rule: str) -> None:
        self.key = key
        self.value = value
        self.rule = rule
        super().__init__(f"{key} = {value!r}: {rule}")

    def inside(self, section: str) -> SettingError:
        """The same refusal, `section` in place of the key's first word: `optim.epsilon` becomes `sft.optim.epsilon`."""
        return SettingError(f"{section}.{self.key.partition('.')[2]}", self.value, self.rule)


def require(holds: bool, key: str, value: object, rule: str) -> None:
    """Raise `SettingError` unless `holds`."""
    if not holds:
        raise SettingError(key, value, rule)


def require_positive(section: str, **settings: float) -> None:
    """Raise `SettingError` for the first setting that is not above zero."""
    for name, value in settings.items():
        require(value > 0, f"{section}.{name}", value, "must be above 0")


def require_not_negative(section: str, **settings: float) -> None:
    """Raise `SettingError` for the first setting below zero."""
    for name, value in settings.items():
        require(value >= 0, f"{section}.{name}", value, "must be 0 or more")


def require_share(section: str, **settings: float) -> None:
    """Raise `SettingError` for the first setting outside 0 to 1."""
    for name, value in settings.items():
        require(0.0 <= value <= 1.0, f"{section}.{name}", value, "must lie between 0 and 1")


def require_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise `SettingError` unless `value` is one of `choices`."""
    require(value in choices, key, value, "must be one of " + ", ".join(choices))
