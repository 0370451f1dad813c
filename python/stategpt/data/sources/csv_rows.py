"""Rows of CSV and TSV files as records: the first row has the names of the columns, every value is a text.

Quoting is RFC 4180's: a field in double quotes may hold separators, line breaks and doubled quotes. A `.csv` file whose
first row has semicolons and no comma is separated by semicolons, as spreadsheets of many languages write it; `.tsv` has
tabs. Blank lines are passed over. Memory: one row, which may have as many bytes as a line (`lines.MAX_LINE_BYTES`).

A row that cannot be read is a `Rejection` with one of the codes of `sources.records`, or

    invalid_csv      text behind a closing quote, or more fields than the first row has
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any

from stategpt.data.lines import MAX_LINE_BYTES, BadLine, Line, Source, csv_reader, decoded, read_lines
from stategpt.data.records import Place
from stategpt.data.rejections import Rejection
from stategpt.errors import CorpusError

SUFFIXES = (".csv", ".tsv")
_SEPARATORS = {".csv": ",", ".tsv": "\t"}


def read_csv(source: Source, suffix: str, name: str) -> Iterator[tuple[Place, dict[str, Any] | Rejection]]:
    """The rows of an open file, each with the place at which it begins.

    Args:
        source: the file.
        suffix: one of `SUFFIXES`, which says what separates fields.
        name: its name in places.

    Raises:
        CorpusError: the first row is missing or malformed, or names a column twice or not at all.
    """
    rows = _Rows(source, name, _SEPARATORS[suffix])
    columns: list[str] | None = None
    for where, row in rows:
        if columns is None:
            columns = _columns(where, row)
        elif isinstance(row, BadLine):
            yield where, Rejection(where, row.code, row.message)
        else:
            yield where, _record(where, row, columns)


def _columns(where: Place, row: list[str] | BadLine) -> list[str]:
    if isinstance(row, BadLine):
        raise CorpusError(f"{where}: {row.code}: {row.message}; the first row of a CSV file names its columns")
    names = [name.strip() for name in row]
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if not all(names) or twice is not None:
        what = "a column without a name" if twice is None or not twice else f"the column {twice!a:.60} twice"
        raise CorpusError(f"{where}: the first row has {what}; it names each column once, as in text,label")
    return names


def _record(where: Place, row: list[str], columns: list[str]) -> dict[str, Any] | Rejection:
    if len(row) > len(columns):
        message = f"the row has {len(row)} fields and the first row {len(columns)}; quote fields that hold a separator"
        return Rejection(where, "invalid_csv", message)
    if len(row) < len(columns):
        message = f"the row has {len(row)} fields of {len(columns)}; {columns[len(row)]!a:.60} is missing"
        return Rejection(where, "missing_field", message)
    return dict(zip(columns, row, strict=True))


class _Rows:
    """The rows of a file; one that cannot be read is the reason."""

    def __init__(self, source: Source, name: str, separator: str) -> None:
        self._lines, self._name, self._separator = read_lines(source), name, separator
        self._begun: Line | None = None
        self._bytes = 0

    def __iter__(self) -> Iterator[tuple[Place, list[str] | BadLine]]:
        first = next(self._lines, None)
        if first is None:
            return
        if self._separator == "," and b"," not in first.content and b";" in first.content:
            self._separator = ";"
        pending: list[Line] = [first]
        texts = self._texts(pending)
        reader = csv_reader(texts, self._separator)
        while True:
            self._begun, self._bytes = None, 0
            found: list[str] | BadLine
            try:
                found = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                found = self._wrong(error)
            except BadLine as bad:  # csv was reading it: its reader has ended
                yield self._where(), bad
                texts = self._texts(pending)
                reader = csv_reader(texts, self._separator)
                continue
            if found or isinstance(found, BadLine):
                yield self._where(), found

    def _texts(self, pending: list[Line]) -> Iterator[str]:
        """Lines with their ends, as csv wants them: a quoted field may take several."""
        while True:
            line = pending.pop() if pending else next(self._lines, None)
            if line is None:
                return
            self._begun = self._begun or line
            self._bytes += line.size
            if self._bytes > MAX_LINE_BYTES:
                raise BadLine(
                    "line_too_long", f"the row has more than {MAX_LINE_BYTES:,} bytes; is a quote not closed?"
                )
            yield decoded(line.content) + "\n"

    def _wrong(self, error: csv.Error) -> BadLine:
        if "unexpected end of data" in str(error):
            return BadLine("cut_off", "the file ends within a quoted field; write it again")
        return BadLine("invalid_csv", f"{error}; a quote within a quoted field is written twice")

    def _where(self) -> Place:
        assert self._begun is not None  # a row has a line
        return Place(self._name, self._begun.number, self._begun.byte_offset)
