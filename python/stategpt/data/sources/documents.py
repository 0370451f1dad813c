"""Texts of files, for scripts: text files, one document each, and JSON lines, JSON arrays or Parquet with a field.

`read_documents` gives texts and stops at the first fault; `text`, `jsonl`, `parquet`, `warc`, `html` and `pdf` give
`Document`s, and count what they reject in a `Tally`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from stategpt import _native
from stategpt.arguments import Errors, one_of, several
from stategpt.config.sources import SourceConfig
from stategpt.data.lines import Source, replaced, unpacked_suffix
from stategpt.data.records import Document
from stategpt.data.rejections import Tally
from stategpt.data.sources.files import read_source
from stategpt.data.sources.records import gather_field, opened, record_format
from stategpt.data.text_source import iterated
from stategpt.errors import CorpusError, InvalidArgument

_NOT_READ = {
    ".arrow": "Arrow is not read; write its text column as .jsonl, one document a line",
    ".xz": "xz is not read; unpack it, or pack it as .gz or .zst",
    ".bz2": "bzip2 is not read; unpack it, or pack it as .gz or .zst",
    ".zip": "archives are not read; unpack it",
    ".tar": "archives are not read; unpack it",
}
DOCUMENT_LIMIT_BYTES = 2**32 - 2
"""Largest file that is read as one document: a tokenizer counts the bytes of a text in 32 bits."""

StrPath = str | os.PathLike[str]


def read_documents(
    paths: Iterable[StrPath] | StrPath, *, field: str = "text", errors: Errors = "reject"
) -> Iterator[str]:
    """Documents of files, in order; one file, or one record of it, is held at a time.

    A file ending in .jsonl or .ndjson holds one document a line, the string under `field`; blank lines are skipped. A
    .json file is a list of such objects, a .parquet file has them as rows. Any other file is one document. All but
    Parquet are unpacked if .gz or .zst follows. A byte-order mark at the start is no text.

    Args:
        paths: one file or several.
        field: key of the text in each record.
        errors: "reject" what is not Unicode, or "replace" it with U+FFFD.

    Raises:
        CorpusError: no file is given, one is missing or unreadable, is empty, is not UTF-8, is in a format that is not
            read (archives), or a record is not an object with the field, has a key twice or is longer than 64 MiB. The
            message names file, line and byte offset.

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
    return FileTexts(files, field, errors)


class FileTexts(Iterator[str]):
    """The texts of files, one by one or, for `write_shards`, in batches."""

    def __init__(self, files: list[Path], field: str, errors: Errors) -> None:
        """Takes the arguments of `read_documents`, checked; nothing is read yet."""
        self._files, self._field, self._errors = files, field, errors
        self._each: Iterator[str] | None = None

    def __iter__(self) -> Iterator[str]:
        """The texts that are left, always by the same iterator."""
        if self._each is None:
            self._each = iterated(self._gather)
        return self._each

    def __next__(self) -> str:
        """The next text."""
        return next(iter(self))

    def gather_texts(self, texts: _native.Texts, enough_bytes: int) -> Iterator[str | None]:
        """As `TextSource.gather_texts`; of what was begun one by one, the rest is yielded."""
        if self._each is not None:
            return self._each
        self._each = iter(())
        return self._gather(texts, enough_bytes)

    def _gather(self, texts: _native.Texts, enough_bytes: int) -> Iterator[str | None]:
        if not self._files:
            raise CorpusError("no files to read documents from; check the folder or pattern")
        for path in self._files:
            _refuse_unread(path)
            if record_format(path):
                yield from self._gather_records(path, texts, enough_bytes)
            else:
                with opened(path) as source:
                    text = _read_whole(source, self._errors)
                if len(text) >= enough_bytes:
                    yield text
                else:
                    texts.append(text)
                    if texts.has(enough_bytes):
                        yield None

    def _gather_records(self, path: Path, texts: _native.Texts, enough_bytes: int) -> Iterator[None]:
        found, before = False, len(texts)
        rejections = gather_field(path, self._field, texts, enough_bytes, replace_invalid=self._errors == "replace")
        for rejection in rejections:
            found = True
            yield None
            if rejection is not None:
                raise CorpusError(f"{rejection.where}: {rejection.message}. Fix or remove the record.")
        if not found and len(texts) == before:
            raise CorpusError(f"{path} holds no documents; leave it out")


def _refuse_unread(path: Path) -> None:
    suffix, is_packed = unpacked_suffix(path.name)
    unread = _NOT_READ.get(suffix)
    if is_packed and suffix == ".parquet":
        unread = "a Parquet file is packed inside, not as a whole; unpack it"
    if unread is not None:
        raise CorpusError(f"{path}: {unread}")


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


def read_files(
    format: str,
    paths: Iterable[StrPath] | StrPath,
    *,
    tally: Tally | None = None,
    source: str = "",
    **settings: Any,
) -> Iterator[Document]:
    """Documents of files, folders or patterns, relative to the working folder, in one format.

    Args:
        format: text, jsonl, json, parquet, html, warc or pdf: a module of `data/sources/readers`.
        paths: one or several.
        tally: counts what is kept and rejected; without it the first rejected document is an error.
        source: name of the source that the documents belong to.
        settings: those of `SourceConfig`: text, id, group, invalid_text.

    Raises:
        CorpusError: as `read_source`; without a tally also for a document that is rejected.
        InvalidArgument: a setting that does not exist.
    """
    several_paths = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    try:
        config = SourceConfig(tuple(os.fspath(path) for path in several_paths), 1.0, format, **settings)
    except TypeError as error:
        raise InvalidArgument(f"{error}; the settings are those of SourceConfig") from None
    strict = tally is None
    counted = Tally() if tally is None else tally
    for document in read_source(source or format, config, Path.cwd(), counted):
        if strict and counted.first:
            break
        yield document
    if strict and counted.first:
        raise CorpusError(
            f"{counted.first[0]}. Pass tally=sg.data.Tally() to count rejected documents and go past them."
        )


def text(paths: Iterable[StrPath] | StrPath, *, tally: Tally | None = None, **settings: Any) -> Iterator[Document]:
    """Text and Markdown files, one document each; see `readers/text.py`. Arguments and errors: `read_files`."""
    return read_files("text", paths, tally=tally, **settings)


def jsonl(paths: Iterable[StrPath] | StrPath, *, tally: Tally | None = None, **settings: Any) -> Iterator[Document]:
    """Files of JSON lines, one document a line. Arguments and errors: `read_files`."""
    return read_files("jsonl", paths, tally=tally, **settings)


def json(paths: Iterable[StrPath] | StrPath, *, tally: Tally | None = None, **settings: Any) -> Iterator[Document]:
    """Files that hold a JSON list, one document an element. Arguments and errors: `read_files`."""
    return read_files("json", paths, tally=tally, **settings)


def parquet(paths: Iterable[StrPath] | StrPath, *, tally: Tally | None = None, **settings: Any) -> Iterator[Document]:
    """Parquet files, one document a row. Needs the extra `data`. Arguments and errors: `read_files`."""
    return read_files("parquet", paths, tally=tally, **settings)


def html(paths: Iterable[StrPath] | StrPath, *, tally: Tally | None = None, **settings: Any) -> Iterator[Document]:
    """HTML pages, the main text of each. Needs the extra `web`. Arguments and errors: `read_files`."""
    return read_files("html", paths, tally=tally, **settings)


def warc(paths: Iterable[StrPath] | StrPath, *, tally: Tally | None = None, **settings: Any) -> Iterator[Document]:
    """WARC archives, the text of each page. Needs the extra `web`. Arguments and errors: `read_files`."""
    return read_files("warc", paths, tally=tally, **settings)


def pdf(paths: Iterable[StrPath] | StrPath, *, tally: Tally | None = None, **settings: Any) -> Iterator[Document]:
    """The text layer of PDF files, one document each. Needs the extra `pdf`. Arguments and errors: `read_files`."""
    return read_files("pdf", paths, tally=tally, **settings)
