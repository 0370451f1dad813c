"""Reads raw documents: text files, one document each, and JSON lines, one document per line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from stategpt.arguments import Errors, one_of, several
from stategpt.data.lines import PACKED_SUFFIXES, Source
from stategpt.data.sources.jsonl import read_json_lines, replaced
from stategpt.errors import CorpusError, StorageError

_LINES = (".jsonl", ".ndjson")
_NOT_READ = {
    ".json": "a JSON file is one value, not one document; write one document a line and name it .jsonl",
    ".parquet": "Parquet is not read; write its text column as .jsonl, one document a line",
    ".arrow": "Arrow is not read; write its text column as .jsonl, one document a line",
    ".xz": "xz is not read; unpack it, or pack it as .gz or .zst",
    ".bz2": "bzip2 is not read; unpack it, or pack it as .gz or .zst",
    ".zip": "archives are not read; unpack it",
    ".tar": "archives are not read; unpack it",
}

DOCUMENT_LIMIT_BYTES = 2**32 - 2
"""Largest file that is read as one document: a tokenizer counts the bytes of a text in 32 bits."""


def read_documents(
    paths: Iterable[str | os.PathLike[str]] | str | os.PathLike[str], *, field: str = "text", errors: Errors = "reject"
) -> Iterator[str]:
    """Documents of files, in order; one file or one line of it at a time is held.

    A file ending in .jsonl or .ndjson holds one document a line, the string under `field`; blank lines are skipped. Any
    other file is one document. Both are unpacked if .gz or .zst follows. A byte-order mark at the start is no text.

    Args:
        paths: one file or several.
        field: key of the text in each JSON object.
        errors: "reject" what is not Unicode, or "replace" it with U+FFFD.

    Raises:
        CorpusError: no file is given, one is missing or unreadable, is empty, is not UTF-8, is in a format that is not
            read (.json, .parquet, archives), or a line is not an object with the field, has a key twice or is longer
            than 64 MiB. The message names file, line and byte offset.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "two.jsonl"
        >>> _ = path.write_text('{"text": "one"}\\n{"text": "two"}\\n')
        >>> list(read_documents(path))
        ['one', 'two']
    """
    one_of("errors", errors, ("reject", "replace"))
    if not isinstance(paths, str | os.PathLike):
        several("paths", paths)
    files = [Path(paths)] if isinstance(paths, str | os.PathLike) else [Path(path) for path in paths]
    return _documents(files, field, errors)


def _documents(files: list[Path], field: str, errors: Errors) -> Iterator[str]:
    if not files:
        raise CorpusError("no files to read documents from; check the folder or pattern")
    for path in files:
        stem, suffix = os.path.splitext(path.name.lower())
        name = stem if suffix in PACKED_SUFFIXES else stem + suffix
        unread = _NOT_READ.get(Path(name).suffix)
        if unread is not None:
            raise CorpusError(f"{path}: {unread}")
        try:
            with Source(path, CorpusError) as source:
                if name.endswith(_LINES):
                    yield from read_json_lines(source, field, errors)
                else:
                    yield _read_whole(source, errors)
        except StorageError as error:
            raise CorpusError(f"{path} cannot be read ({error})") from error


def _read_whole(source: Source, errors: Errors) -> str:
    data = source.read_all(DOCUMENT_LIMIT_BYTES)
    if len(data) > DOCUMENT_LIMIT_BYTES:
        raise CorpusError(f"{source.name} has over {DOCUMENT_LIMIT_BYTES:,} bytes, too many for a document; split it")
    if not data:
        raise CorpusError(f"{source.name} is empty; leave it out")
    if errors == "replace":
        return replaced(data).removeprefix("\ufeff")
    try:
        return data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{source.name} is not UTF-8 at byte {error.start} ({error.reason}); convert the file, leave it out, or "
            'pass errors="replace"'
        ) from error
