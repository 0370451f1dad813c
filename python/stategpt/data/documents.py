"""Raw documents: what a data set is written from, and readers of text and JSON-lines files."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt

from stategpt.errors import CorpusError, InvalidArgument, UnknownToken

_LINES = (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz")


@dataclass(frozen=True, eq=False, slots=True)
class Document:
    """A document that is already token ids, stored as it is.

    Raises `InvalidArgument` for ids that are not a vector of whole numbers and `UnknownToken` for one that no
    vocabulary has; whether it is in the tokenizer's is checked when it is written.
    """

    ids: npt.NDArray[np.uint32]
    """uint32[n]: d1 ... dn, without the end of text, which the packer puts around them."""
    mask: npt.NDArray[np.uint8] | None = None
    """uint8[n + 1] of 0 and 1: which targets are trained, d1 ... dn and the final end of text. None: all."""
    doc_id: int | None = None
    """Identity of the document, e.g. of its source. All documents of a data set have one, or none has."""

    def __post_init__(self) -> None:
        ids = np.asarray(self.ids)
        if ids.ndim != 1 or not (np.issubdtype(ids.dtype, np.integer) or ids.size == 0):
            raise InvalidArgument(
                f"a document's ids are {ids.dtype}{list(ids.shape)}; they must be a vector of integers"
            )
        if ids.size and (ids.min() < 0 or ids.max() > np.iinfo(np.uint32).max):
            raise UnknownToken(f"a document holds ids from {ids.min()} to {ids.max()}; ids are 0 or more, below 2^32")
        object.__setattr__(self, "ids", np.ascontiguousarray(ids, dtype=np.uint32))
        if self.mask is not None:
            mask = np.asarray(self.mask)
            if mask.shape != (ids.size + 1,) or not np.isin(mask, (0, 1)).all():
                raise InvalidArgument(
                    f"a document of {ids.size} ids has a mask {mask.dtype}{list(mask.shape)}; it must hold "
                    f"{ids.size + 1} entries of 0 or 1, one for each id and one for the final end of text"
                )
            object.__setattr__(self, "mask", np.ascontiguousarray(mask, dtype=np.uint8))


def read_documents(
    paths: Iterable[str | os.PathLike[str]] | str | os.PathLike[str], *, field: str = "text"
) -> Iterator[str]:
    """Documents of files, in order; one file and one line of it at a time is held.

    A file ending in .jsonl or .ndjson (also .gz) holds one document a line, the string under `field`; blank lines are
    skipped. Any other file is one document (.gz unpacked).

    Raises:
        CorpusError: no file is given, one is missing or unreadable, is empty, is not UTF-8, or a line is not an object
            with the field. The message names file, line and byte offset.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "two.jsonl"
        >>> _ = path.write_text('{"text": "one"}\\n{"text": "two"}\\n')
        >>> list(read_documents(path))
        ['one', 'two']
    """
    files = [Path(paths)] if isinstance(paths, str | os.PathLike) else [Path(path) for path in paths]
    if not files:
        raise CorpusError("no files to read documents from; check the folder or pattern")
    for path in files:
        yield from _read_lines(path, field) if path.name.endswith(_LINES) else _read_whole(path)


def _open(path: Path) -> BinaryIO:
    if path.suffix == ".zst":
        raise CorpusError(f"{path}: zstandard is not read; unpack it, or pack it as .gz")
    try:
        # gzip.open closes the file beneath it; a BinaryIO either way.
        return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else open(path, "rb")
    except OSError as error:
        raise CorpusError(f"{path} cannot be read ({error.strerror}); check the path and its permissions") from error


def _read_whole(path: Path) -> Iterator[str]:
    with _open(path) as file:
        try:
            data = file.read()
        except (OSError, EOFError, zlib.error) as error:
            raise CorpusError(f"{path} cannot be read ({error})") from error
    if not data:
        raise CorpusError(f"{path} is empty; leave it out")
    yield _decode(data, str(path), 0)


def _read_lines(path: Path, field: str) -> Iterator[str]:
    number, offset, found = 0, 0, False
    with _open(path) as file:
        while True:
            number += 1
            try:
                line = file.readline()
            except (OSError, EOFError, zlib.error) as error:
                raise CorpusError(f"{path}:{number} cannot be read ({error})") from error
            if not line:
                break
            if line.strip():
                found = True
                yield _text_of(line, f"{path}:{number}", offset, field)
            offset += len(line)
    if not found:
        raise CorpusError(f"{path} holds no documents; leave it out")


def _text_of(line: bytes, where: str, offset: int, field: str) -> str:
    try:
        record = json.loads(_decode(line, where, offset))
    except (json.JSONDecodeError, RecursionError) as error:
        raise CorpusError(f"{where} (byte {offset}) is not JSON: {error}. Fix or remove the line.") from error
    if not isinstance(record, dict) or not isinstance(record.get(field), str):
        found = f"keys {sorted(record)}" if isinstance(record, dict) else type(record).__name__
        raise CorpusError(f'{where} (byte {offset}) has no string under "{field}" ({found}); name the field that has')
    text: str = record[field]
    return text


def _decode(data: bytes, where: str, offset: int) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{where} is not UTF-8 at byte {offset + error.start} ({error.reason}); convert the file or leave it out"
        ) from error
