"""Files of records that a command computes something of: every record is checked before the first is computed.

A record that cannot be used stops the command before it has done anything, with the place of each; or, where the user
asks for that, it is left out and its error is written among the results.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from stategpt.data.lines import BadLine, json_type, require_unicode
from stategpt.data.records import Place
from stategpt.data.rejections import SHOWN_REJECTIONS, Rejection
from stategpt.data.sources.records import read_records
from stategpt.errors import ContextOverflow, CorpusError, StategptError
from stategpt.visible_text import visible_line

T = TypeVar("T")
Id = str | int | None
"""What a record calls itself."""


@dataclass(frozen=True)
class Item(Generic[T]):
    """A record that can be used."""

    where: Place
    id: Id
    value: T


@dataclass
class Checked:
    """What a file holds."""

    lines: array[int] = field(default_factory=lambda: array("Q"))
    """Line of each record that can be used, in order; 8 bytes each."""
    rejected: list[tuple[Rejection, Id]] = field(default_factory=list)
    """Records that cannot be used, in order."""


class RecordFile(Generic[T]):
    """The records of `path` (JSON lines, JSON, CSV or Parquet) as `make` reads them, streamed.

    `make` raises `BadLine` or `StategptError` for a record that cannot be used.
    """

    def __init__(self, path: str | os.PathLike[str], make: Callable[[dict[str, Any]], T]) -> None:
        self.path, self._make = os.fspath(path), make

    def items(self, checked: Checked) -> Iterator[Item[T]]:
        """Yields the records that `check` found.

        Raises:
            CorpusError: the file has others now.
        """
        lines = iter(checked.lines)
        for item, _ in self._read():
            if isinstance(item, Item):
                if item.where.line != next(lines, None):
                    break
                yield item
        else:
            if next(lines, None) is None:
                return
        raise CorpusError(f"{visible_line(self.path)} has changed since it was checked; run the command again")

    def check(self, *, skip_bad: bool) -> Checked:
        """Reads everything once.

        Raises:
            CorpusError: the file cannot be read or holds nothing that can be used; without `skip_bad` also a record
                that cannot be used: the message has the place of the first ten.
        """
        found = Checked()
        for item, name in self._read():
            if isinstance(item, Item):
                found.lines.append(item.where.line)
            else:
                found.rejected.append((item, name))
        if found.rejected and not (skip_bad and found.lines):
            shown = "".join(f"\n  {rejection}" for rejection, _ in found.rejected[:SHOWN_REJECTIONS])
            count = len(found.rejected)
            raise CorpusError(
                f"{count:,} of {count + len(found.lines):,} records of {visible_line(self.path)} cannot be used, and "
                f"nothing was computed. Correct them, or leave them out by --skip-bad. The first:{shown}"
            )
        if not found.lines:
            raise CorpusError(f"{visible_line(self.path)} holds no records")
        return found

    def _read(self) -> Iterator[tuple[Item[T] | Rejection, Id]]:
        for where, record in read_records(self.path):
            if isinstance(record, Rejection):
                yield record, None
                continue
            name: Id = None
            try:
                name = _id(record)
                yield Item(where, name, self._make(record)), name
            except BadLine as bad:
                yield Rejection(where, bad.code, bad.message), name
            except StategptError as error:
                code = "too_long" if isinstance(error, ContextOverflow) else "unusable"
                yield Rejection(where, code, str(error)), name


def text_field(record: dict[str, Any], name: str) -> str:
    """The string under `name`. Raises `BadLine`."""
    value = record.get(name)
    if value is None:
        raise BadLine("missing_field", f"{name} is missing or null, expected a string")
    if not isinstance(value, str):
        raise BadLine("wrong_type", f"{name} is {json_type(value)}, expected a string")
    return require_unicode(value, name)


def failure_of(rejection: Rejection, name: Id) -> dict[str, Any]:
    """What is written for a record that was left out."""
    return {
        **({} if name is None else {"id": name}),
        "line": rejection.where.line,
        "error": {"code": rejection.code, "message": rejection.message},
    }


def _id(record: dict[str, Any]) -> Id:
    value = record.get("id")
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if not isinstance(value, str):
        raise BadLine("wrong_type", f"id is {json_type(value)}, expected a string or a whole number")
    return require_unicode(value, "id")
