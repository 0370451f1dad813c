"""Readers of raw documents: text files and JSON lines."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from stategpt.arguments import Errors, one_of, several
from stategpt.data.lines import PACKED_SUFFIXES, BadLine, Line, Source, json_type, read_lines, require_unicode
from stategpt.errors import CorpusError, StorageError

_LINES = (".jsonl", ".ndjson")
_NOT_READ = {
    ".json": "a JSON file is one value, not one document; write one document a line and name it .jsonl",
    ".parquet": "Parquet is not read; write its text column as .jsonl, one document a line",
    ".arrow": "Arrow is not read; write its text column as .jsonl, one document a line",
    ".xz": "xz is not read; unpack it, or pack it as .gz",
    ".bz2": "bzip2 is not read; unpack it, or pack it as .gz",
    ".zip": "archives are not read; unpack it",
    ".tar": "archives are not read; unpack it",
}

DOCUMENT_LIMIT_BYTES = 2**32 - 2
"""Largest file that is read as one document: a tokenizer counts the bytes of a text in 32 bits."""

_SURROGATES = re.compile("[\ud800-\udfff]")


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


def replaced(text: str | bytes) -> str:
    """`text` with U+FFFD for what is not Unicode: bytes that are not UTF-8, lone surrogates."""
    return text.decode(errors="replace") if isinstance(text, bytes) else _SURROGATES.sub("\ufffd", text)


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
                    yield from _read_lines(source, field, errors)
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


def _read_lines(source: Source, field: str, errors: Errors) -> Iterator[str]:
    found = False
    for line in read_lines(source):
        if line.is_blank:
            continue
        found = True
        try:
            text = _text_of(line, field, errors)
        except BadLine as bad:
            place = f"{source.name}:{line.number} (byte {line.byte_offset})"
            raise CorpusError(f"{place}: {bad.message}. Fix or remove the line.") from None
        yield text
    if not found:
        raise CorpusError(f"{source.name} holds no documents; leave it out")


def _text_of(line: Line, field: str, errors: Errors) -> str:
    if errors == "replace":
        content = replaced(line.content).encode()
        line = Line(line.number, line.byte_offset, content, len(content) + line.size - len(line.content))
    record = line.json_object()
    text = record.get(field)
    if not isinstance(text, str):
        keys = ", ".join(ascii(key) for key in sorted(record)[:8])
        found = json_type(text) if field in record else f"its keys are {keys:.200}"
        raise BadLine("missing_field", f'there is no string under "{field}" ({found}); name the field that has it')
    return replaced(text) if errors == "replace" else require_unicode(text, field)
