"""Documents with their sources in a file: between two passes, so that memory does not grow, and published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stategpt.data.corpus_rows import DOCUMENT, document_of, document_row, encoded, read_rows
from stategpt.data.records import Document
from stategpt.json_reader import Optional, Record, Text

_DOCUMENT = Record({"source": Optional(Text(), ""), **DOCUMENT.fields}, closed=True)


class DocumentWriter:
    """Writes documents to `path`, one line each. A context manager."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write(self, document: Document) -> None:
        """Appends a document.

        Raises:
            CorpusError: as JSON it is longer than a line of JSON may be.
        """
        row = {"source": document.source, **document_row(document)}
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
    for row in read_rows(path, _DOCUMENT):
        yield document_of(row, row["source"])
