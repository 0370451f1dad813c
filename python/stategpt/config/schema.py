"""Converts keys and plain values to sections and back; lists which settings exist and their types."""

from __future__ import annotations

import dataclasses
import difflib
import types
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, TypeVar, get_type_hints

from stategpt.config.checks import SettingError, shown_key
from stategpt.config.run import RunConfig
from stategpt.config.values import check_value
from stategpt.errors import ConfigError

Section = TypeVar("Section")
Table = dict[str, Any]


def hints_of(section: type) -> dict[str, Any]:
    """Resolved annotations of a section's settings, in order."""
    return get_type_hints(section)


@cache
def setting_types() -> Mapping[str, Any]:
    """Every setting of a run: dotted key -> annotation."""
    return types.MappingProxyType(dict(_walk_types(RunConfig, "")))


def _walk_types(section: type, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, hint in hints_of(section).items():
        if dataclasses.is_dataclass(hint):
            yield from _walk_types(hint, f"{prefix}{name}.")  # type: ignore[arg-type]
        else:
            yield prefix + name, hint


MOVED = {
    **{
        f"{section}.{name}": f"sampling.{name}, one setting for rankings, RL and evaluation"
        for section in ("rankings", "rl", "evaluate")
        for name in ("temperature", "max_tokens")
    },
    "corpus.kind": "corpus.source, the name of a module in stategpt.data.sources",
    "corpus.minimum_pair_characters": "corpus.min_response_characters",
    "corpus.maximum_pair_characters": "corpus.max_response_characters",
    "model.head_width": "model.head_dim",
    "model.hidden_width": "model.mlp_width",
    "gates.relevance_mentions_name": "gates.relevance_mentions_subject",
    "rankings.labeler": "rankings.scorer",
    "rl.low_beta": "rl.extra_betas, a list",
}
"""Settings of earlier versions: dotted key -> what replaced it."""


def unknown_setting(key: str) -> ConfigError:
    """The error for a key that does not exist; it names the nearest one, or the section's keys."""
    if key in MOVED:
        return ConfigError(f"{key} is now {MOVED[key]}; give that one")
    key = shown_key(key)  # also keeps the search for the nearest one short
    inside = [name for name in setting_types() if name.startswith(f"{key}.")]
    if inside:
        return ConfigError(f"{key} is a section, not a setting; it holds {', '.join(inside)}")
    return ConfigError(f"{key} is not a setting; nearest: {nearest_settings(key, 1)[0]}")


def unknown_section(key: str) -> ConfigError:
    """The error for a table that is no section of a run; it names the nearest one."""
    key, known = shown_key(key), sections()
    nearest = max(known, key=lambda name: difflib.SequenceMatcher(None, key, name).ratio())
    return ConfigError(f"{key} is not a section; nearest: {nearest} (there are {', '.join(known)})")


def sections() -> list[str]:
    """Dotted name of every section of a run."""
    names = (name.rpartition(".")[0] for name in setting_types())
    return list(dict.fromkeys(name for name in names if name))


def nearest_settings(key: str, count: int) -> list[str]:
    """The settings that a wrong name most likely meant, best first."""
    key = shown_key(key)
    plain = _plain(key)
    last = key.rpartition(".")[2].replace("-", "_")

    def likeness(name: str) -> float:
        """Returns how alike a name is."""
        # A right last word in the wrong section is the commonest slip, so it counts as much as the whole key.
        word = name.rpartition(".")[2]
        whole = difflib.SequenceMatcher(None, plain, _plain(name)).ratio()
        initials = "".join(part[0] for part in word.split("_") if part)
        abbreviated = last == initials and len(last) > 1  # lr for learning_rate
        return whole + (1.0 if abbreviated else difflib.SequenceMatcher(None, last, word).ratio())

    return sorted(setting_types(), key=likeness, reverse=True)[:count]


def _plain(key: str) -> str:
    return key.replace(".", "_").replace("-", "_")


def flatten(section: Any, prefix: str = "") -> Table:
    """Every setting of a section object: dotted key -> value as it is."""
    flat: Table = {}
    for name in hints_of(type(section)):
        value = getattr(section, name)
        if dataclasses.is_dataclass(value):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def to_dict(section: Any) -> Table:
    """A section as nested plain values (dict, list, str, int, float, bool), fit for JSON and TOML."""
    plain: Table = {}
    for name in hints_of(type(section)):
        value = getattr(section, name)
        if dataclasses.is_dataclass(value):
            plain[name] = to_dict(value)
        elif isinstance(value, tuple):
            plain[name] = list(value)
        else:
            plain[name] = dict(value) if isinstance(value, Mapping) else value
    return plain


def flatten_table(table: Mapping[str, Any]) -> Table:
    """Returns the settings of a nested table as dotted keys, each checked for existence and type.

    Raises:
        ConfigError: settings of an earlier version (all of them, with what replaced each), a key that is no setting
            (names the nearest), or a value of the wrong type.
    """
    moved = _moved(table)
    if len(moved) > 1:
        listed = "; ".join(f"{key} is now {MOVED[key]}" for key in moved)
        raise ConfigError(f"settings of an earlier version of stategpt: {listed}. Give those")
    flat: Table = {}
    _collect(table, "", flat)
    return flat


def _moved(table: Mapping[str, Any]) -> list[str]:
    """The keys of `MOVED` that a nested table holds, in the order of `MOVED`."""
    named = ((key, *key.split(".")) for key in MOVED)
    return [key for key, section, name in named if isinstance(table.get(section), Mapping) and name in table[section]]


def _collect(table: Mapping[str, Any], prefix: str, flat: Table) -> None:
    known = setting_types()
    for name, value in table.items():
        key = prefix + name
        if key in known:
            flat[key] = check_value(key, value, known[key])
        elif isinstance(value, Mapping) and any(other.startswith(f"{key}.") for other in known):
            _collect(value, f"{key}.", flat)
        else:
            raise unknown_section(key) if isinstance(value, Mapping) else unknown_setting(key)


def rebuild(section: Section, changes: Mapping[str, Any], path: str = "") -> Section:
    """A copy of a section with the settings under `path` replaced by `changes` (dotted key -> value).

    Raises:
        ConfigError: a value breaks a rule; the message gives the full key.
    """
    arguments: Table = {}
    for name in hints_of(type(section)):
        key = f"{path}{name}"
        value = getattr(section, name)
        if dataclasses.is_dataclass(value):
            arguments[name] = rebuild(value, changes, f"{key}.")
        else:
            arguments[name] = changes.get(key, value)
    try:
        return type(section)(**arguments)
    except SettingError as error:
        raise (error.inside(path[:-1]) if path else error) from None
