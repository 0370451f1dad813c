"""Documents in files of JSON lines: between two passes, so that memory does not grow with the corpus, and published."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stategpt.data.lines import MAX_LINE_BYTES, BadLine, Source, read_lines
from stategpt.data.records import Document, Place
from stategpt.errors import CorpusError, CorruptArtifact
from stategpt.json_reader import Integer, MapOf, Optional, Record, Text, check_value

PLACE_KIND = Record({"file": Text(), "line": Integer(1), "byte_offset": Integer(0)}, closed=True)
_DOCUMENT = Record(
    {
        "source": Optional(Text(), ""),
        "text": Text(max_chars=2**32),
        "group": Optional(Text(), ""),
        "where": Optional(PLACE_KIND),
        "meta": Optional(MapOf()),
    },
    closed=True,
)


class DocumentWriter:
    """Writes documents to `path`, one line each. A context manager."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, path.open("wb")

    def write(self, document: Document) -> None:
        """Appends a document.

        Raises:
            CorpusError: as JSON it is longer than a line of JSON may be.
        """
        line = json.dumps(_row(document), ensure_ascii=False).encode()
        if len(line) > MAX_LINE_BYTES:
            place = document.where or f"a document of {document.source}"
            raise CorpusError(f"{place} takes {len(line):,} bytes, more than {MAX_LINE_BYTES:,}; split the document")
        self._file.write(line + b"\n")

    def __enter__(self) -> DocumentWriter:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the file."""
        self._file.close()


def read_documents(path: Path) -> Iterator[Document]:
    """The documents in a file that `DocumentWriter` wrote, in order.

    Raises:
        CorruptArtifact: a line is no document.
    """
    for row in read_rows(path, _DOCUMENT):
        yield Document(row["text"], row["source"], row["group"], place(row["where"]), row["meta"] or {})


def read_rows(path: Path, kind: Record) -> Iterator[Mapping[str, Any]]:
    """The JSON objects of a file's lines, checked. Raises CorruptArtifact."""
    with Source(path, CorruptArtifact) as source:
        for line in read_lines(source):
            where = f"{path}:{line.number} (byte {line.byte_offset})"
            try:
                row = line.json_object()
            except BadLine as bad:
                raise CorruptArtifact(f"{where}: {bad.message}. Restore the file from a copy.") from None
            yield check_value(row, kind, where=where, error=CorruptArtifact)


def place(row: Mapping[str, Any] | None) -> Place | None:
    """The place in a row."""
    return Place(**row) if row else None


def place_row(where: Place | None) -> dict[str, Any]:
    """A place as JSON; nothing for none."""
    return {"where": dataclasses.asdict(where)} if where else {}


def _row(document: Document) -> dict[str, Any]:
    meta = {"meta": dict(document.meta)} if document.meta else {}
    given = {"source": document.source, "group": document.group, "text": document.text}
    return {**given, **place_row(document.where), **meta}
