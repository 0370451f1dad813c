"""Reads and writes a run as TOML, and changes it by dotted keys. `load(write(dump(run)))` is `run`.

A file need not hold every setting: what it leaves out has the value of the default job, and `model.depth` turns the
dial (see `config.dial`). A resolved file, as a run folder has it, holds all of them and is taken as it stands.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from stategpt.config.checks import SettingError, require_storable
from stategpt.config.dial import derive
from stategpt.config.paths import rooted_settings
from stategpt.config.presence import stages_of
from stategpt.config.run import RunConfig
from stategpt.config.schema import (
    Table,
    flatten,
    flatten_table,
    hints_of,
    rebuild,
    table_section,
    to_dict,
    type_of,
    unknown_setting,
)
from stategpt.config.start import START_SETTINGS, refuse_other_shape, start_architecture, start_settings
from stategpt.config.toml_text import LIMIT_BYTES, line_of, parse_toml
from stategpt.config.values import check_value, parse_value
from stategpt.errors import ConfigError, MissingFile, StorageError
from stategpt.files import read_bytes
from stategpt.shown_fields import field_docs, short_repr
from stategpt.visible_text import visible_line

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclasses.dataclass(frozen=True)
class Resolved:
    """A run after its changes.

    Attributes:
        run: all settings.
        given: the requested changes, dotted key -> value.
        derived: the settings that follow from them, dotted key -> value.
    """

    run: RunConfig
    given: Mapping[str, Any]
    derived: Mapping[str, Any]

    __repr__ = short_repr


def load(path: str | Path) -> RunConfig:
    """Reads a run from a TOML file. Relative paths in it are relative to its folder.

    Without a `name` the run has that of the file: `small.toml` gives `small`.

    Raises:
        ConfigError: no such file, no regular file, too large, not TOML, an unknown key (names the nearest), a wrong
            type or a broken rule.
    """
    where = visible_line(str(path))
    try:
        text = read_bytes(path, LIMIT_BYTES, ConfigError).decode()
        table = {"name": _NOT_IN_NAMES.sub("-", Path(path).stem)[:100], **parse_toml(text)}
        return from_dict(table, Path(path).absolute().parent)
    except MissingFile:
        raise ConfigError(
            f"{where} does not exist. Check the path, or write one to start from: "
            "`stategpt plan tiny_cpu --toml > my.toml`"
        ) from None
    except StorageError as error:
        raise ConfigError(f"{where} cannot be read as a run: {error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where} is not UTF-8 at byte {error.start} ({error.reason}); save it as UTF-8") from error
    except SettingError as error:
        line = line_of(text, error.key)
        raise ConfigError(f"{where}:{line}: {error}" if line else f"{where}: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def from_dict(table: Mapping[str, Any], base: Path | None = None) -> RunConfig:
    """A run from nested plain values, as `to_dict` gives them; settings left out have their defaults.

    Relative paths of files are relative to `base` where it is given. Without `stages` those run whose sections are
    there (`config.presence`).
    """
    given = flatten_table(table)
    if base is not None:
        given = rooted_settings(given, base)
    given.setdefault("stages", stages_of(table))
    return _resolve(RunConfig(), given, base).run


def override(run: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """A copy of `run` with settings replaced: dotted key -> value, or its text as typed on a command line.

    >>> from stategpt.config import RunConfig
    >>> override(RunConfig(), {"rl.beta": "0.04"}).rl.beta
    0.04

    Raises:
        ConfigError: an unknown key (names the nearest), a value of the wrong type, or a broken rule.
    """
    return resolve(run, changes).run


def resolve(run: RunConfig, changes: Mapping[str, Any]) -> Resolved:
    """As `override`, and says which settings followed from the given ones."""
    given: Table = {}
    for key, value in changes.items():
        owner, _, entry = key.rpartition(".")
        hint, table_hint = type_of(key), type_of(owner)
        if hint is not None:
            given[key] = _value(key, value, hint)
        elif get_origin(table_hint) is Mapping:
            table = given.setdefault(owner, dict(flatten(run)[owner]))
            table[entry] = _value(key, value, get_args(table_hint)[1])
        else:
            raise unknown_setting(key)
    return _resolve(run, given)


def _resolve(run: RunConfig, given: Table, base: Path | None = None) -> Resolved:
    for key, value in given.items():
        require_storable(key, value)
    derived = {**_of_start(run, given), **derive(run, given)}
    resolved = _with_architecture(rebuild(run, {**derived, **given}), base)
    return Resolved(run=resolved, given=given, derived=derived)


def _with_architecture(run: RunConfig, base: Path | None) -> RunConfig:
    """The run whose model computes what its start model does; `base` is the folder of the run's file."""
    if not run.start.model:
        return run
    architecture = start_architecture(run.start.model, run.model, base)
    return dataclasses.replace(run, model=dataclasses.replace(run.model, architecture=architecture))


def _of_start(run: RunConfig, given: Table) -> Table:
    """Shape and vocabulary of the model that the run starts from; none without one.

    A resolved run keeps them, so its folder can be read where the model is no longer.
    """
    model = given.get("start.model", run.start.model)
    if not model or all(key in given for key in START_SETTINGS):
        return {}
    fixed = start_settings(model)
    refuse_other_shape(given, fixed)
    return fixed


def _value(key: str, value: Any, hint: Any) -> Any:
    return parse_value(key, value, hint) if isinstance(value, str) else check_value(key, value, hint)


def dump(run: RunConfig) -> str:
    """Every setting of a run as TOML, each with its meaning beside it."""
    lines = ["# A run of stategpt, every setting resolved.", *_section_lines(run, to_dict(run), "")]
    return "\n".join(lines) + "\n"


def _section_lines(section: Any, plain: Table, path: str) -> Iterator[str]:
    docs = field_docs(type(section))
    hints = hints_of(type(section))
    inner = [name for name in hints if dataclasses.is_dataclass(getattr(section, name)) or table_section(hints[name])]
    for name, value in plain.items():
        if name not in inner:
            meaning = f"  # {docs[name]}" if name in docs else ""
            yield f"{name} = {format_value(value)}{meaning}"
    for name in inner:
        value = getattr(section, name)
        tables = {name: value} if not isinstance(value, Mapping) else {f"{name}.{key}": value[key] for key in value}
        for full, table in tables.items():
            yield from ("", f"[{path}{full}]")
            yield from _section_lines(table, to_dict(table), f"{path}{full}.")


def format_value(value: Any) -> str:
    """A plain value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML escapes DEL, JSON does not
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(name)} = {format_value(item)}" for name, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(format_value(item) for item in value) + "]"
    return repr(value)


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else format_value(name)
