"""Frozen dataclasses to JSON and back: the annotations of a dataclass are the check that its files are read with.

    @dataclass(frozen=True)
    class Point:
        step: Annotated[int, Integer(0, 10**9)]
        kl: Annotated[float, Real(0, 1e9)] | None = None
        by_source: Annotated[Mapping[str, float], Limit(64)] = field(default_factory=dict)

A field with a default may be absent or null in the file and has its default then; unknown fields are ignored. The kinds
of values are those of `stategpt.json_reader`: `Annotated[..., kind]` gives one, and without it a number has any finite
value, a string up to a megabyte (a `Literal` its choices), a mapping up to 64 fields and a tuple up to a million items.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from stategpt.errors import DataError, ForeignArtifact
from stategpt.json_reader import (
    Flag,
    Integer,
    Items,
    Kind,
    MapOf,
    Optional,
    Real,
    Record,
    Text,
    Tuple,
    check_value,
    read_json,
)
from stategpt.visible_text import visible_line

R = TypeVar("R")
FORMAT_VERSION = "format_version"
"""Field of a file that says which version of its format it has."""
_kinds: dict[type, Record] = {}
_SCALARS: dict[Any, Kind] = {str: Text(), bool: Flag(), int: Integer(), float: Real()}


@dataclasses.dataclass(frozen=True)
class Limit:
    """In `Annotated`: how many items a tuple or mapping of a file may have."""

    max_items: int
    max_key_chars: int = 200


def kind_of(record: type) -> Record:
    """The check of a dataclass's JSON object; what it returns is plain JSON with the defaults filled in."""
    if record not in _kinds:
        _kinds[record] = _fields_of(record)
    return _kinds[record]


def _fields_of(record: type) -> Record:
    hints = get_type_hints(record, include_extras=True)
    fields: dict[str, Kind] = {}
    for each in dataclasses.fields(record):
        kind = _kind(hints[each.name])
        if each.default is not dataclasses.MISSING:
            kind = Optional(_required(kind), to_json(each.default))
        elif each.default_factory is not dataclasses.MISSING:
            kind = Optional(_required(kind), to_json(each.default_factory()))
        fields[each.name] = kind
    return Record(fields)


def from_json(record: type[R], value: Any, *, where: str, error: type[DataError] = DataError) -> R:
    """`value` as a `record`.

    Raises:
        error: it is not of the record's kind; the message has `where` and the path inside the value.
    """
    built: R = build(record, check_value(value, kind_of(record), where=where, error=error))
    return built


def to_json(value: Any) -> Any:
    """A record as plain JSON values: dictionaries, lists, strings and numbers; one that is not finite becomes null."""
    if dataclasses.is_dataclass(value):
        return {each.name: to_json(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {name: to_json(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def versioned(record: Any, version: int) -> dict[str, Any]:
    """The JSON object of a file that `read_versioned` reads."""
    return {FORMAT_VERSION: version, **to_json(record)}


def read_versioned(path: str | PathLike[str], record: type[R], version: int) -> R:
    """The record in a file.

    Raises:
        ForeignArtifact: the file has another format version, or none.
        DataError: it is not JSON, or not of the record's kind.
    """
    value = read_json(path)
    found = value.get(FORMAT_VERSION) if isinstance(value, Mapping) else version
    if found != version or type(found) is not int:
        shown = "no format version" if found is None else f"format version {visible_line(str(found))[:40]}"
        folder = visible_line(str(Path(path).parent))
        raise ForeignArtifact(
            f"{visible_line(fspath(path))} has {shown}; this version of stategpt reads version {version}. Read it with "
            f"the version that wrote it, or delete the folder {folder} and run again to measure it again."
        )
    return from_json(record, value, where=fspath(path))


def build(annotation: Any, value: Any) -> Any:
    """Checked JSON as what `annotation` names: records, tuples and mappings of them."""
    if dataclasses.is_dataclass(annotation):
        if value is None:
            return None
        hints = get_type_hints(annotation, include_extras=True)
        return annotation(**{e.name: build(hints[e.name], value[e.name]) for e in dataclasses.fields(annotation)})  # type: ignore[operator]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        reader = next((extra for extra in arguments[1:] if hasattr(extra, "build")), None)
        return reader.build(value) if reader is not None else build(arguments[0], value)
    if value is None or origin in (None, Literal):
        return value
    if origin in (Union, types.UnionType):
        return build(_alternative(arguments), value)
    if origin is tuple:
        each = [arguments[0]] * len(value) if arguments[-1] is ... else arguments
        return tuple(build(kind, item) for kind, item in zip(each, value, strict=True))
    return {name: build(arguments[1], item) for name, item in value.items()}


def _kind(annotation: Any, limit: Limit | None = None) -> Kind:
    if dataclasses.is_dataclass(annotation):
        return kind_of(annotation)  # type: ignore[arg-type]
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        given = next((extra for extra in arguments[1:] if hasattr(extra, "check")), None)
        limits = next((extra for extra in arguments[1:] if isinstance(extra, Limit)), limit)
        return given if given is not None else _kind(arguments[0], limits)
    if origin is Literal:
        return Text(choices=arguments)
    if origin in (Union, types.UnionType):
        return Optional(_kind(_alternative(arguments), limit))
    if origin is tuple and arguments[-1] is ...:
        return Items(_kind(arguments[0]), max_items=limit.max_items if limit else 1 << 20)
    if origin is tuple:
        return Tuple(tuple(_kind(each) for each in arguments))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        limit = limit or Limit(64)
        return MapOf(_kind(arguments[1]), max_items=limit.max_items, max_key_chars=limit.max_key_chars)
    raise TypeError(f"{annotation!r} is not a type that a JSON record can hold")


def _alternative(arguments: Sequence[Any]) -> Any:
    """X of `X | None`."""
    others = [each for each in arguments if each is not type(None)]
    if len(others) != 1:
        raise TypeError(f"a field of a JSON record is of one type, or that or None; got {arguments!r}")
    return others[0]


def _required(kind: Kind) -> Kind:
    return kind.kind if isinstance(kind, Optional) else kind
