"""Records of files: JSON lines, JSON arrays, Parquet and CSV, streamed, each with its place.

One reader for documents, conversations and rankings. `.jsonl` and `.ndjson` hold one object a line, `.json` one array
of objects (or one object a line, as some programs name such files); .gz and .zst may follow. A Parquet file is read row
by row; the place of a row is its number, from 1. `read_records` alone reads `.csv` and `.tsv` (`csv_rows`): such a file
among documents is one document.

A record that cannot be read is a `Rejection` in the order of the file, with one of these codes:

    line_too_long    a line or element of more than 64 MiB
    not_utf8         not UTF-8
    byte_order_mark  a byte-order mark that is not at the start of the file
    invalid_json     not JSON, or half a character (a lone surrogate) in a text
    duplicate_key    an object has a key twice
    wrong_type       another type than was expected
    missing_field    a field is missing, or null
    cut_off          the file ends within the record
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any, NamedTuple, NoReturn

from stategpt import _native
from stategpt.data.lines import (
    MAX_LINE_BYTES,
    BadLine,
    Line,
    Source,
    json_type,
    read_lines,
    replaced,
    unpacked_suffix,
)
from stategpt.data.records import Place
from stategpt.data.rejections import Rejection
from stategpt.data.sources.csv_rows import SUFFIXES as CSV_SUFFIXES
from stategpt.data.sources.csv_rows import read_csv
from stategpt.data.sources.parquet_rows import read_rows
from stategpt.errors import CorpusError, StorageError

LINES, ARRAY, PARQUET = "jsonl", "json", "parquet"
FORMAT_OF = {".jsonl": LINES, ".ndjson": LINES, ".json": ARRAY, ".parquet": PARQUET}
"""Format of records by the suffix of a file."""

_START_BYTES = 1 << 16

StrPath = str | os.PathLike[str]


class Fields(NamedTuple):
    """Some fields of a record.

    Attributes:
        where: its place.
        values: the text under the first key, then the texts or whole numbers (as digits) under the others.
        is_replaced: whether a part that is not Unicode was replaced.
    """

    where: Place
    values: tuple[str, ...]
    is_replaced: bool = False


def record_format(path: StrPath) -> str:
    """`jsonl`, `json` or `parquet`, by the file's name; "" for files that hold no records."""
    suffix, is_packed = unpacked_suffix(PurePath(path).name)
    found = FORMAT_OF.get(suffix, "")
    return "" if is_packed and found == PARQUET else found


def read_records(
    path: StrPath, *, format: str = "", name: str = ""
) -> Iterator[tuple[Place, dict[str, Any] | Rejection]]:
    """The records of a file in order, each with its place: a dictionary, or why it cannot be used.

    Blank lines are skipped. Memory: a record and a few MiB.

    Args:
        path: the file.
        format: jsonl, json or parquet; by default by the file's name.
        name: name of the file in places; by default its path.

    Raises:
        CorpusError: the file cannot be read, is damaged or unpacks to too much; a `.json` that is neither an array nor
            lines of objects; a CSV file whose first row does not name its columns; a name that says no format.
        MissingExtra: it is Parquet, and pyarrow is not installed.
    """
    suffix, _ = unpacked_suffix(PurePath(path).name)
    if not format and suffix in CSV_SUFFIXES:
        with opened(path) as source:
            yield from read_csv(source, suffix, name or os.fspath(path))
        return
    form, name = format or record_format(path), name or os.fspath(path)
    if form == PARQUET:
        yield from read_rows(path, name)
        return
    is_array = _is_array(path, form)
    with opened(path, elements=is_array) as source:
        for line in read_lines(source):
            if line.is_blank and not is_array:
                continue
            where = Place(name, line.number, line.byte_offset)
            try:
                yield where, _object(line)
            except BadLine as bad:
                yield where, Rejection(where, bad.code, bad.message)


def read_fields(
    path: StrPath, keys: Sequence[str], *, replace_invalid: bool = False, format: str = "", name: str = ""
) -> Iterator[Fields | Rejection]:
    """Fields of the records of a file in order, `keys[0]` being that of the text; faster than `read_records`.

    The text must be a string, and the others strings or whole numbers. A record without one of the fields is a
    `Rejection`. With `replace_invalid`, what is not Unicode becomes U+FFFD.

    Raises:
        CorpusError: as `read_records`; a column of a Parquet file that is missing or of another type.
    """
    form, name = format or record_format(path), name or os.fspath(path)
    wanted = list(dict.fromkeys(keys))
    place_of = [wanted.index(key) for key in keys]
    if form == PARQUET:
        for where, row in read_rows(path, name, wanted):
            yield row if isinstance(row, Rejection) else _checked(where, row, keys, replace_invalid)
        return
    is_array = _is_array(path, form)
    with opened(path, elements=is_array) as source:
        while batch := source.native.next_records(MAX_LINE_BYTES, wanted):
            for number, byte_offset, values, fields in batch:
                where = Place(name, number, byte_offset)
                if values is not None:
                    yield Fields(where, tuple(values[place] for place in place_of))
                elif fields is not None:
                    line = Line._make(fields)
                    if is_array or not line.is_blank:
                        yield _slowly(where, line, keys, replace_invalid)


def gather_field(
    path: StrPath, key: str, texts: _native.Texts, enough_bytes: int, *, replace_invalid: bool = False
) -> Iterator[Rejection | None]:
    """Appends the strings under `key` of the records of a file to `texts`, as `read_fields` would give them.

    Yields None when there are about `enough_bytes`, and the caller empties `texts`. A record that cannot be used is
    yielded as a `Rejection`; `texts` then holds those before it.

    Raises as `read_fields`.
    """
    form, name = record_format(path), os.fspath(path)
    if form == PARQUET:
        for found in read_fields(path, (key,), replace_invalid=replace_invalid):
            yield from _gathered(found, texts, enough_bytes)
        return
    is_array, is_ended = _is_array(path, form), False
    with opened(path, elements=is_array) as source:
        while not is_ended:
            is_ended, left = source.native.gather_texts(key, MAX_LINE_BYTES, enough_bytes, texts)
            if left is not None:
                line = Line._make(left)
                if is_array or not line.is_blank:
                    where = Place(name, line.number, line.byte_offset)
                    yield from _gathered(_slowly(where, line, (key,), replace_invalid), texts, enough_bytes)
            elif not is_ended:
                yield None


def _gathered(found: Fields | Rejection, texts: _native.Texts, enough_bytes: int) -> Iterator[Rejection | None]:
    if isinstance(found, Rejection):
        yield found
        return
    texts.append(found.values[0])
    if texts.has(enough_bytes):
        yield None


@contextmanager
def opened(path: StrPath, *, elements: bool = False) -> Iterator[Source]:
    """The file as a `Source`, where every failure is a CorpusError."""
    try:
        with Source(path, CorpusError, elements=elements) as source:
            yield source
    except StorageError as error:
        raise CorpusError(f"{os.fspath(path)} cannot be read ({error})") from error


def _is_array(path: StrPath, form: str) -> bool:
    """Whether a JSON file holds one array.

    Raises:
        CorpusError: it says it is JSON, and holds neither an array nor lines of objects.
    """
    if form == LINES:
        return False
    if form != ARRAY:
        known = ", ".join(sorted((*FORMAT_OF, *CSV_SUFFIXES)))
        raise CorpusError(f"{os.fspath(path)}: the name says no format of records ({known}); give the format")
    with opened(path) as source:
        start = source.read(_START_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()
    if start:
        is_array = start.startswith(b"[")
        if is_array or not start.startswith(b"{"):
            return is_array or _refuse_json(path)
    with opened(path) as source:  # a list may be one line of many gigabytes; an object is a line or a few
        first = next((line for line in read_lines(source) if not line.is_blank), None)
    if first is None or first.content.lstrip()[:1] == b"[":
        return first is not None
    try:
        first.json_object()
    except BadLine:
        _refuse_json(path)
    return False


def _refuse_json(path: StrPath) -> NoReturn:
    raise CorpusError(
        f"{os.fspath(path)}: a JSON file of records is a list of objects, or one object a line; this one is "
        "neither. If the records are under a key of one object, write that list to a file."
    )


def _object(line: Line) -> dict[str, Any]:
    """The object on a line. Raises BadLine; `cut_off` for one at which the file ends."""
    try:
        return line.json_object()
    except BadLine as bad:
        if line.is_ended or bad.code not in ("invalid_json", "not_utf8"):
            raise
        raise BadLine("cut_off", f"the file ends within the record ({bad.message}); write it again") from None


def _slowly(where: Place, line: Line, keys: Sequence[str], replace_invalid: bool) -> Fields | Rejection:
    """The fields of a line that the compiled reader leaves, or why it has none."""
    is_replaced = False
    if replace_invalid and line.size == len(line.content):
        content = replaced(line.content).encode()
        is_replaced = content != line.content
        line = line._replace(content=content, size=len(content))
    try:
        record = _object(line)
    except BadLine as bad:
        return Rejection(where, bad.code, bad.message)
    found = _checked(where, record, keys, replace_invalid)
    return found._replace(is_replaced=True) if is_replaced and isinstance(found, Fields) else found


def _checked(where: Place, record: dict[str, Any], keys: Sequence[str], replace_invalid: bool) -> Fields | Rejection:
    """The fields of a record, if they have the right types."""
    values: list[str] = []
    is_replaced = False
    for place, key in enumerate(keys):
        value = record.get(key)
        if value is None:
            names = ", ".join(ascii(name) for name in sorted(map(str, record))[:8])
            found = "it is null" if key in record else f"its keys are {names:.200}"
            message = f'there is no string under "{key}" ({found}); name the field that has it'
            return Rejection(where, "missing_field", message)
        if place and type(value) is int:
            value = str(value)
        if not isinstance(value, str):
            message = f'there is no string under "{key}" ({json_type(value)}); name the field that has it'
            return Rejection(where, "wrong_type", message)
        clean = replaced(value)
        if clean != value:
            if not replace_invalid:
                first = next(at for at, (a, b) in enumerate(zip(value, clean, strict=True)) if a != b)
                message = f"{key} has the lone surrogate U+{ord(value[first]):04X} at character {first}"
                return Rejection(where, "invalid_json", message)
            is_replaced = True
        values.append(clean)
    return Fields(where, tuple(values), is_replaced)
