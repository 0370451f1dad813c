"""Reads JSON from files that may be damaged or hostile: a parser with limits, and a table-driven check of types.

    STATE = Record({"step": Integer(0), "tokens": Integer(0), "note": Optional(Text())})
    fields = read_record(path, STATE, error=CorruptArtifact)

Every fault is raised as the error class that the caller names, with the file and the path inside it
(`$.shards[3].rows`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike, fspath
from typing import Any, NoReturn, Protocol

from stategpt.errors import DataError, StategptError
from stategpt.files import TEXT_LIMIT_BYTES, read_bytes

_SHOWN_CHARS = 60


class Kind(Protocol):
    """What a value must be; `check` returns the value (with defaults filled in) or raises `Mismatch`."""

    def check(self, value: Any, where: str) -> Any:
        """`value` as this kind; `where` is its path from the top, `$` for the whole."""
        ...


class Mismatch(Exception):
    """A value that is not of its kind."""


@dataclass(frozen=True)
class Integer:
    """A whole number of `minimum` .. `maximum`; true and false are not numbers."""

    minimum: int = -(2**63)
    maximum: int = 2**63 - 1

    def check(self, value: Any, where: str) -> int:
        """See `Kind`."""
        if type(value) is not int:
            _mismatch(where, value, "a whole number")
        if not self.minimum <= value <= self.maximum:
            _mismatch(where, value, f"{self.minimum} to {self.maximum}")
        return value


@dataclass(frozen=True)
class Real:
    """A finite number of `minimum` .. `maximum`, whole or not."""

    minimum: float = -math.inf
    maximum: float = math.inf

    def check(self, value: Any, where: str) -> float:
        """See `Kind`."""
        if type(value) not in (int, float):
            _mismatch(where, value, "a number")
        try:
            number = float(value)
        except OverflowError:
            _mismatch(where, value, "a number that fits 64 bits")
        if not math.isfinite(number) or not self.minimum <= number <= self.maximum:
            _mismatch(where, value, f"a finite number of {self.minimum} to {self.maximum}")
        return number


@dataclass(frozen=True)
class Text:
    """A string of at most `max_chars` characters; one of `choices` where there are any."""

    choices: tuple[str, ...] = ()
    max_chars: int = 1 << 20

    def check(self, value: Any, where: str) -> str:
        """See `Kind`."""
        if type(value) is not str:
            _mismatch(where, value, "a string")
        if len(value) > self.max_chars:
            _mismatch(where, value, f"a string of at most {self.max_chars} characters")
        if self.choices and value not in self.choices:
            _mismatch(where, value, f"one of {', '.join(self.choices)}")
        return value


@dataclass(frozen=True)
class Flag:
    """true or false."""

    def check(self, value: Any, where: str) -> bool:
        """See `Kind`."""
        if type(value) is not bool:
            _mismatch(where, value, "true or false")
        return value


@dataclass(frozen=True)
class Anything:
    """Any JSON value."""

    def check(self, value: Any, where: str) -> Any:
        """See `Kind`."""
        return value


@dataclass(frozen=True)
class Optional:
    """`kind`, or null, or absent; absent and null give `default`."""

    kind: Kind
    default: Any = None

    def check(self, value: Any, where: str) -> Any:
        """See `Kind`."""
        return self.default if value is None else self.kind.check(value, where)


@dataclass(frozen=True)
class OneOf:
    """The first of several kinds that fits."""

    kinds: tuple[Kind, ...]

    def check(self, value: Any, where: str) -> Any:
        """See `Kind`."""
        expected = []
        for kind in self.kinds:
            try:
                return kind.check(value, where)
            except Mismatch as mismatch:
                expected.append(str(mismatch))
        raise Mismatch("; or ".join(expected))


@dataclass(frozen=True)
class Items:
    """An array of `kind`, `min_items` .. `max_items` long."""

    kind: Kind = field(default_factory=Anything)
    min_items: int = 0
    max_items: int = 1 << 24

    def check(self, value: Any, where: str) -> list[Any]:
        """See `Kind`."""
        if type(value) is not list:
            _mismatch(where, value, "an array")
        if not self.min_items <= len(value) <= self.max_items:
            raise Mismatch(f"{where} has {len(value)} items; expected {self.min_items} to {self.max_items}")
        return [self.kind.check(item, f"{where}[{number}]") for number, item in enumerate(value)]


@dataclass(frozen=True)
class Tuple:
    """An array of exactly these kinds, in this order."""

    kinds: tuple[Kind, ...]

    def check(self, value: Any, where: str) -> list[Any]:
        """See `Kind`."""
        if type(value) is not list or len(value) != len(self.kinds):
            _mismatch(where, value, f"an array of {len(self.kinds)} items")
        pairs = zip(self.kinds, value, strict=True)
        return [kind.check(item, f"{where}[{number}]") for number, (kind, item) in enumerate(pairs)]


@dataclass(frozen=True)
class MapOf:
    """An object of at most `max_items` fields of any name, at most `max_key_chars` long; all values are of `kind`."""

    kind: Kind = field(default_factory=Anything)
    max_items: int = 1 << 24
    max_key_chars: int = 1 << 20

    def check(self, value: Any, where: str) -> dict[str, Any]:
        """See `Kind`."""
        if type(value) is not dict:
            _mismatch(where, value, "an object")
        if len(value) > self.max_items:
            raise Mismatch(f"{where} has {len(value)} fields; expected at most {self.max_items}")
        if longest := next((key for key in value if len(key) > self.max_key_chars), None):
            raise Mismatch(f"{where} has the field {_shown(longest)}; expected at most {self.max_key_chars} characters")
        return {key: self.kind.check(item, f"{where}.{_shown(key)}") for key, item in value.items()}


@dataclass(frozen=True)
class Record:
    """An object with these fields; a field is absent only where its kind is `Optional`.

    Other keys are kept as they are, or refused where `closed`.
    """

    fields: Mapping[str, Kind]
    closed: bool = False

    def check(self, value: Any, where: str) -> dict[str, Any]:
        """See `Kind`."""
        if type(value) is not dict:
            _mismatch(where, value, "an object")
        unknown = sorted(value.keys() - self.fields.keys())
        if self.closed and unknown:
            raise Mismatch(f"{where} has the unknown field {_shown(unknown[0])}; known are {', '.join(self.fields)}")
        checked = dict(value)
        for name, kind in self.fields.items():
            if name not in value and not isinstance(kind, Optional):
                raise Mismatch(f"{where} lacks the field {name}")
            checked[name] = kind.check(value.get(name), f"{where}.{name}")
        return checked


def read_json(
    path: str | PathLike[str],
    *,
    error: type[StategptError] = DataError,
    limit_bytes: int = TEXT_LIMIT_BYTES,
) -> Any:
    """The JSON value in a regular file.

    Raises:
        MissingFile, StorageError: as `stategpt.files.open_regular`.
        error: too large, not UTF-8, not JSON, nested too deeply, a key twice in one object, NaN or an infinity.
    """
    return parse_json(read_bytes(path, limit_bytes, error), where=fspath(path), error=error)


def parse_json(content: bytes | str, *, where: str, error: type[StategptError] = DataError) -> Any:
    """The JSON value in `content`; `where` names its file (and line). Raises `error` as `read_json` does."""
    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
        if text.startswith("\ufeff"):
            raise ValueError("it begins with a byte-order mark; save it as UTF-8 without one")
        return decode_json(text)
    except RecursionError:
        raise error(f"{where} is nested too deeply to be read.") from None
    except ValueError as failure:  # json.JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise error(f"{where} is not valid JSON: {_shown_message(failure)}.") from None


class DuplicateKey(ValueError):
    """An object has one key twice; the message names it."""


def decode_json(text: str) -> Any:
    """The JSON value in `text`, without the limits and the place that `parse_json` adds.

    Raises:
        DuplicateKey: an object has a key twice.
        ValueError: other text that is not JSON; where it is one line, the message has the column and no line.
        RecursionError: it is nested too deeply.
    """
    try:
        # A byte-order mark has a message of json.loads, which makes a decoder for each call.
        return json.loads(text) if text.startswith("\ufeff") else _DECODER.decode(text)
    except json.JSONDecodeError as failure:
        if "\n" in text:
            raise
        raise ValueError(f"{failure.msg} at column {failure.colno}") from None


def read_record(
    path: str | PathLike[str],
    kind: Kind,
    *,
    error: type[StategptError] = DataError,
    limit_bytes: int = TEXT_LIMIT_BYTES,
) -> Any:
    """The JSON value of a file, checked against `kind`. Raises as `read_json` and `check_value`."""
    return check_value(read_json(path, error=error, limit_bytes=limit_bytes), kind, where=fspath(path), error=error)


def check_value(value: Any, kind: Kind, *, where: str, error: type[StategptError] = DataError) -> Any:
    """`value` if it is of `kind`, with the defaults of absent optional fields.

    Raises:
        error: the message has `where`, the path inside the value, what was found and what was expected.
    """
    try:
        return kind.check(value, "$")
    except Mismatch as mismatch:
        raise error(f"{where}: {mismatch}.") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise DuplicateKey(f"the key {_shown(key)} appears twice in one object")
            seen.add(key)
    return found


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)


def _mismatch(where: str, value: Any, expected: str) -> NoReturn:
    raise Mismatch(f"{where} is {_shown(value)}; expected {expected}")


def _shown(value: Any) -> str:
    """A value in a message: escaped and short."""
    if type(value) is int and value.bit_length() > 128:  # str() of an int of over 4,300 digits raises
        return f"a whole number of {value.bit_length()} bits"
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'an array'} of {len(value)} items"
    text = ascii(value[: _SHOWN_CHARS + 1] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


def _shown_message(failure: ValueError) -> str:
    text = str(failure)
    return ascii(text)[1:-1] if not text.isascii() else text[:300]
