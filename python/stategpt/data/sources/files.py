"""Documents of the user's files: one source of a run, read, checked and counted.

Codes of rejected documents, apart from those of records (`records.py`) and of PDFs (`readers/pdf.py`):

    empty_text    no character but white space
    not_text      NUL bytes: a binary file
    too_long      more than 32 MiB of UTF-8
    not_regular   a FIFO, socket or device
    cut_off       the file ends within a character or record
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from stategpt.config.sources import GROUPS, SourceConfig
from stategpt.data.groups import text_digest
from stategpt.data.records import Document, Place
from stategpt.data.rejections import Rejection, Tally
from stategpt.data.sources.globs import files_of, shown_name
from stategpt.data.sources.limits import problem_of
from stategpt.data.sources.readers import Reader, Wanted, reader_named, reader_of
from stategpt.data.sources.records import Fields
from stategpt.errors import ConfigError, CorpusError

CODES = {
    "byte_order_mark": "a byte-order mark that is not at the start of the file",
    "cut_off": "the file ends within a character or record",
    "duplicate_key": "an object has a key twice",
    "empty_text": "no character but white space",
    "encrypted": "a PDF that needs a password",
    "invalid_json": "not JSON, or half a character in a text",
    "invalid_pdf": "not a PDF file, or a damaged one",
    "line_too_long": "a line or record of more than 64 MiB",
    "missing_field": "a field is missing, or null",
    "no_text_layer": "a PDF of pictures, such as a scan",
    "not_regular": "a FIFO, socket or device",
    "not_text": "NUL bytes: a binary file",
    "not_utf8": "not UTF-8",
    "too_deep": "a page with more than a thousand elements within each other",
    "too_long": "a document of more than 32 MiB",
    "wrong_type": "another type than was expected",
}
"""Why a document is rejected, by code."""

_ID = "id"


def read_source(
    name: str,
    config: SourceConfig,
    base: str | os.PathLike[str],
    tally: Tally,
    *,
    exclude: Iterable[str | os.PathLike[str]] = (),
    files: Iterable[Path] | None = None,
    on_file: Callable[[Path], None] | None = None,
) -> Iterator[Document]:
    """The documents of a source in order of files; `tally` counts every one that is kept or rejected.

    Memory: a document and a few MiB. `Document.group` is what `config.group` says; by default a digest of the text, so
    that equal documents are on one side of the split.

    Args:
        name: of the source.
        config: its settings.
        base: folder that its paths are relative to.
        tally: counts documents as they are read.
        exclude: folders whose files are no input.
        files: the files, where the caller has already listed them.
        on_file: called with each file before it is read.

    Raises:
        ConfigError: an unknown format; a field as `id` or `group` in a format without fields.
        CorpusError: no file matches; one cannot be read, is damaged, or lacks a column; the message names the file.
        MissingExtra: the format needs a package that is not installed.
    """
    key = f"sources.{name}"
    fixed = reader_named(config.format, f"{key}.format") if config.format else None
    listed = files_of(config.paths, base, exclude, f"{key}.paths") if files is None else files
    others = tuple(filter(None, (config.id, "" if config.group in GROUPS else config.group)))
    wanted = Wanted(config.text, others, config.invalid_text == "replace")
    for path in listed:
        if on_file:
            on_file(path)
        shown = shown_name(path, base)
        reader = fixed or reader_of(path)
        _require_fields(reader, config, key, shown)
        try:
            for found in _documents_of(reader, path, shown, wanted):
                document = _kept(name, config, shown, found, tally)
                if document is not None:
                    yield document
        except CorpusError as error:
            raise CorpusError(f"{key}: {error}") from error


def _documents_of(reader: Reader, path: Path, shown: str, wanted: Wanted) -> Iterator[Fields | Rejection]:
    """What the reader finds in a file; a FIFO or device among the files of a folder is one rejection."""
    if path.exists() and not path.is_file():
        yield Rejection(Place(shown), "not_regular", "not a regular file; leave it out")
        return
    yield from reader.read(path, shown, wanted)


def _kept(name: str, config: SourceConfig, shown: str, found: Fields | Rejection, tally: Tally) -> Document | None:
    """The document, counted; None for a rejected one."""
    if isinstance(found, Fields):
        found = problem_of(found.where, found.values[0]) or found
    if isinstance(found, Rejection):
        tally.reject(found)
        return None
    tally.keep()
    tally.replaced += found.is_replaced
    meta = {_ID: found.values[1]} if config.id else {}
    return Document(found.values[0], name, _group(config, shown, found), found.where, meta)


def _group(config: SourceConfig, shown: str, found: Fields) -> str:
    if config.group == "document":
        return text_digest(found.values[0])
    if config.group == "file":
        return shown
    if config.group == "folder":
        return os.path.dirname(shown) or "."
    return found.values[-1]


def _require_fields(reader: Any, config: SourceConfig, key: str, shown: str) -> None:
    """Checks that `id` and `group` name fields that the format has."""
    if reader.FIELDS is None:
        return
    for setting in ("id", "group"):
        field = getattr(config, setting)
        is_field = bool(field) and (setting == "id" or field not in GROUPS)
        if is_field and field not in reader.FIELDS:
            has = f"its fields are {', '.join(reader.FIELDS)}" if reader.FIELDS else "it has no fields"
            values = "; use document, file or folder" if setting == "group" else "; leave it out"
            kind = reader.__name__.rpartition(".")[2]
            raise ConfigError(f"{key}.{setting} = {field!r} is a field, and {shown} is read as {kind}: {has}{values}")
