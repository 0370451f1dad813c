"""Documents with their sources in a file: between two passes, so that memory does not grow, and published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from stategpt.data.corpus_rows import DOCUMENT, document_of, document_row, encoded, read_rows
from stategpt.data.records import Document
from stategpt.json_reader import Flag, Optional, Record, Text

Marked: TypeAlias = tuple[Document, bool]
"""A document, and whether its text was changed."""
_DOCUMENT = Record({"source": Optional(Text(), ""), "edited": Optional(Flag(), False), **DOCUMENT.fields}, closed=True)


class DocumentWriter:
    """Writes documents to `path`, one line each. A context manager."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write(self, document: Document, *, edited: bool = False) -> None:
        """Appends a document, with a mark where its text was changed.

        Raises:
            CorpusError: as JSON it is longer than a line of JSON may be.
        """
        mark = {"edited": True} if edited else {}
        row = {"source": document.source, **mark, **document_row(document)}
        self._file.write(encoded(row, document.where or f"a document of {document.source}"))

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
    for document, _ in read_marked(path):
        yield document


def read_marked(path: Path) -> Iterator[Marked]:
    """The documents in a file that `DocumentWriter` wrote, with their marks. Raises as `read_documents`."""
    for row in read_rows(path, _DOCUMENT):
        yield document_of(row, row["source"]), row["edited"]
