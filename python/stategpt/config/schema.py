"""Converts keys and plain values to sections and back; lists which settings exist and their types."""

from __future__ import annotations

import dataclasses
import difflib
import re
import types
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from stategpt.config.checks import SettingError, UnknownKey, shown_key
from stategpt.config.model import NO_SETTING
from stategpt.config.run import RunConfig
from stategpt.config.values import check_value
from stategpt.errors import ConfigError

Section = TypeVar("Section")
Table = dict[str, Any]
ANY_NAME = "NAME"
"""Placeholder of a source's name in the list of settings."""


def hints_of(section: type) -> dict[str, Any]:
    """Resolved annotations of a section's settings, in order."""
    return dict(_hints(section))


@cache
def _hints(section: type) -> dict[str, Any]:
    """`hints_of`, resolved once: every look at a run's settings asks for those of all sections."""
    hidden = {each.name for each in dataclasses.fields(section) if NO_SETTING in each.metadata}
    return {name: hint for name, hint in get_type_hints(section).items() if name not in hidden}


def table_section(hint: Any) -> type | None:
    """The section that each entry of a setting is, as `SourceConfig` for `sources`; None where entries are values."""
    arguments = get_args(hint)
    entry = arguments[-1] if get_origin(hint) is Mapping else None
    return entry if isinstance(entry, type) and dataclasses.is_dataclass(entry) else None


@cache
def setting_types() -> Mapping[str, Any]:
    """Every setting of a run: dotted key -> annotation; `NAME` is the name of any source."""
    return types.MappingProxyType(dict(_walk_types(RunConfig, "")))


def type_of(key: str) -> Any:
    """Annotation of a setting, those of a named source included; None where there is no such setting."""
    known = setting_types()
    section, _, rest = key.partition(".")
    name, _, setting = rest.rpartition(".")
    if key in known or not _ENTRY.fullmatch(name) or section not in _tables():
        return known.get(key)
    return known.get(f"{section}.{ANY_NAME}.{setting}")


def general_key(key: str) -> str:
    """A setting's key in the list of settings: `sources.wiki.share` is `sources.NAME.share`."""
    section, _, rest = key.partition(".")
    return f"{section}.{ANY_NAME}.{rest.rpartition('.')[2]}" if section in _tables() and "." in rest else key


@cache
def _tables() -> frozenset[str]:
    """Settings of a run whose entries are sections."""
    return frozenset(name for name, hint in hints_of(RunConfig).items() if table_section(hint))


def _walk_types(section: type, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, hint in hints_of(section).items():
        entry = table_section(hint)
        if entry is not None:
            yield from _walk_types(entry, f"{prefix}{name}.{ANY_NAME}.")
        elif dataclasses.is_dataclass(hint):
            yield from _walk_types(hint, f"{prefix}{name}.")  # type: ignore[arg-type]
        else:
            yield prefix + name, hint


_ENTRY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}", re.ASCII)

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
        return UnknownKey(key, f"{key} is now {MOVED[key]}; give that one")
    given, key = key, shown_key(key)  # also keeps the search for the nearest one short
    inside = [name for name in setting_types() if name.startswith(f"{key}.")]
    if inside:
        return UnknownKey(given, f"{key} is a section, not a setting; it holds {', '.join(inside)}")
    return UnknownKey(given, f"{key} is not a setting; nearest: {nearest_settings(key, 1)[0]}")


def unknown_section(key: str) -> ConfigError:
    """The error for a table that is no section of a run; it names the nearest one."""
    given, key, known = key, shown_key(key), sections()
    nearest = max(known, key=lambda name: difflib.SequenceMatcher(None, key, name).ratio())
    return UnknownKey(given, f"{key} is not a section; nearest: {nearest} (there are {', '.join(known)})")


def sections() -> list[str]:
    """Dotted name of every section of a run."""
    names = (name.rpartition(".")[0] for name in setting_types())
    return list(dict.fromkeys(name for name in names if name))


def nearest_settings(key: str, count: int) -> list[str]:
    """The settings that a wrong name most likely meant, best first."""
    key = shown_key(key)
    plain = _plain(key)
    last = key.rpartition(".")[2].replace("-", "_")
    words = Counter(name.rpartition(".")[2] for name in setting_types())

    def likeness(name: str) -> float:
        """Returns how alike a name is."""
        # A right last word in the wrong section is the commonest slip, so it counts as much as the whole key.
        word = name.rpartition(".")[2]
        whole = difflib.SequenceMatcher(None, plain, _plain(name)).ratio()
        initials = "".join(part[0] for part in word.split("_") if part)
        abbreviated = last == initials and len(last) > 1  # lr for learning_rate
        if abbreviated:  # of two words that begin alike (lora_rank), the one that more sections have
            return whole + words[word]
        return whole + difflib.SequenceMatcher(None, last, word).ratio()

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
        elif table_section(hints_of(type(section))[name]):
            for entry, inner in value.items():
                flat |= flatten(inner, f"{prefix}{name}.{entry}.")
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
        elif table_section(hints_of(type(section))[name]):
            plain[name] = {entry: to_dict(inner) for entry, inner in value.items()}
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
    count = table.get("rankings", {}).get("prompts") if isinstance(table.get("rankings"), Mapping) else None
    if isinstance(count, int):
        raise UnknownKey("rankings.prompts", f"rankings.prompts = {count}: the number is now rankings.train_prompts")
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
        elif key in _tables():
            flat |= _entries(key, value)
        elif isinstance(value, Mapping) and any(other.startswith(f"{key}.") for other in known):
            _collect(value, f"{key}.", flat)
        else:
            raise unknown_section(key) if isinstance(value, Mapping) else unknown_setting(key)


def _entries(key: str, table: Any) -> Table:
    """The settings of a table of named sections, as `[sources.NAME]`."""
    flat: Table = {}
    if not isinstance(table, Mapping):
        raise SettingError(key, table, f"must be tables: [{key}.{ANY_NAME}]")
    for name, values in table.items():
        if not isinstance(values, Mapping):
            shown = f"[{key}.{ANY_NAME}]"
            raise ConfigError(f"{shown_key(f'{key}.{name}')} is not a table; settings of a source belong below {shown}")
        if not _ENTRY.fullmatch(name):
            raise ConfigError(f"{key}.{name[:100]!a}: a source's name has 1 to 100 letters, digits, - or _")
        flat[f"{key}.{name}"] = None  # also a table without a setting is there
        for setting, value in values.items():
            inner = f"{key}.{name}.{setting}"
            hint = type_of(inner) if "." not in setting else None
            if hint is None:
                raise unknown_setting(inner)
            flat[inner] = check_value(inner, value, hint)
    return flat


def rebuild(section: Section, changes: Mapping[str, Any], path: str = "") -> Section:
    """A copy of a section with the settings under `path` replaced by `changes` (dotted key -> value).

    Raises:
        ConfigError: a value breaks a rule; the message gives the full key.
    """
    arguments: Table = {}
    for name in hints_of(type(section)):
        key = f"{path}{name}"
        value = getattr(section, name)
        entry = table_section(hints_of(type(section))[name])
        if dataclasses.is_dataclass(value):
            arguments[name] = rebuild(value, changes, f"{key}.")
        elif entry is not None:
            arguments[name] = _rebuild_entries(entry, value, changes, f"{key}.")
        else:
            arguments[name] = changes.get(key, value)
    try:
        return dataclasses.replace(section, **arguments)  # type: ignore[type-var]
    except SettingError as error:
        raise (error.inside(path[:-1]) if path else error) from None


def _rebuild_entries(entry: type, before: Mapping[str, Any], changes: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The named sections of a table: those before with their changes, then new ones in the order of the changes."""
    named = (key.removeprefix(path).partition(".")[0] for key in changes if key.startswith(path))
    entries = {}
    for name in dict.fromkeys((*before, *named)):
        inside = f"{path}{name}."
        if name in before:
            entries[name] = rebuild(before[name], changes, inside)
        else:
            given = {key.removeprefix(inside): value for key, value in changes.items() if key.startswith(inside)}
            entries[name] = _new_entry(entry, given, inside)
    return entries


def _new_entry(entry: type, given: Mapping[str, Any], path: str) -> Any:
    required = [each.name for each in dataclasses.fields(entry) if each.default is each.default_factory]
    lacking = [name for name in required if name not in given]
    if lacking:
        raise ConfigError(f"{path}{lacking[0]} is not set; a source needs {' and '.join(required)}")
    try:
        return entry(**given)
    except SettingError as error:
        raise error.inside(path[:-1]) from None
