"""Logs of one JSON object a line, appended to and never rewritten: metrics, labels."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any

from stategpt import _native
from stategpt.artifacts.fingerprint import Json, json_text
from stategpt.errors import DataError, MissingFile
from stategpt.json_reader import Kind, MapOf, check_value, parse_json
from stategpt.visible_text import visible_line

LOG_LIMIT_BYTES = 1 << 30
"""A log larger than this is refused: a million steps take a quarter of it."""
OBJECT = MapOf()
"""A record with any fields."""


def append_line(path: str | PathLike[str], record: Mapping[str, Json], *, durable: bool = False) -> None:
    """Appends `record` as one line; a last line that a crash tore is removed first.

    Args:
        durable: fsync before returning, so that the line survives a power loss. A kill never loses a returned line.

    Raises:
        OutOfSpace, StorageError: the line could not be written; the file has its old content.
        InvalidArgument: `record` is not JSON (NaN, infinity, another type); the message says where.
    """
    _native.append_line(path, json_text(record), durable)


def read_lines(path: str | PathLike[str], kind: Kind = OBJECT) -> list[dict[str, Any]]:
    """Every record of a log; [] if there is no file. A last line without a newline was torn by a crash: it is left out.

    Args:
        kind: what each record must be.

    Raises:
        DataError: a whole line is not a JSON object, or not of `kind`; the message names the file and line.
        StorageError: the path is a folder, FIFO or device, or cannot be read.
    """
    name = fspath(path)
    where = visible_line(name)
    try:
        file = _native.TextFile(name, DataError, LOG_LIMIT_BYTES, 1)
    except MissingFile:
        return []
    records = []
    while batch := file.next_lines(LOG_LIMIT_BYTES):
        for number, byte_offset, content, size, is_ended in batch:
            if byte_offset + size > LOG_LIMIT_BYTES:
                raise DataError(f"{where} is larger than {LOG_LIMIT_BYTES:,} bytes, the limit for such a file.")
            if is_ended:
                records.append(_record(content, kind, f"{where}:{number}"))
    return records


def _record(line: bytes, kind: Kind, where: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = check_value(parse_json(line, where=where), kind, where=where)
    except DataError as error:
        raise DataError(f"{error} Remove or repair that line.") from error
    return found
