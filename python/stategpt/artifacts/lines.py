"""Logs of one JSON object a line, appended to and never rewritten: metrics, labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from stategpt import _native
from stategpt.artifacts.fingerprint import Json, json_text
from stategpt.errors import DataError


def append_line(path: str | PathLike[str], record: Mapping[str, Json], *, durable: bool = False) -> None:
    """Appends `record` as one line; a last line that a crash tore is removed first.

    Args:
        durable: fsync before returning, so that the line survives a power loss. A kill never loses a returned line.

    Raises:
        OutOfSpace, StorageError: the line could not be written; the file has its old content.
        InvalidArgument: `record` is not JSON (NaN, infinity, another type); the message says where.
    """
    _native.append_line(path, json_text(record), durable)


def read_lines(path: str | PathLike[str]) -> list[dict[str, Any]]:
    """Every record of a log; [] if there is no file. A last line without a newline was torn by a crash: it is left out.

    Raises:
        DataError: a whole line is not a JSON object; the message names the file and line.
    """
    path = Path(path)
    if not path.exists():
        return []
    *whole, _torn = path.read_bytes().split(b"\n")
    return [_record(line, path, number) for number, line in enumerate(whole, start=1)]


def _record(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise DataError(f"{path}:{number}: not JSON ({error}); remove or repair that line") from error
    if not isinstance(record, dict):
        raise DataError(f"{path}:{number}: {line[:60]!r} is not an object; remove or repair that line")
    return record
