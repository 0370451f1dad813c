"""The last pass of a curation that asks for it: paragraphs that another kept document has are cut out.

It comes after every step that removes documents, so that the document that keeps a paragraph is itself kept.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from stategpt.data.curation.paragraphs import without_duplicate_paragraphs
from stategpt.data.curation.receipts import Receipts
from stategpt.data.curation.spool import DocumentWriter, read_documents
from stategpt.data.records import Document


@dataclass(frozen=True)
class _Spooled:
    """Documents in a file, which can be read again and again."""

    path: Path

    def __iter__(self) -> Iterator[Document]:
        """From the first on."""
        return read_documents(self.path)


def cut_paragraphs(
    stream: Iterable[tuple[Document, bool]], folder: Path, receipts: Receipts
) -> Iterator[tuple[Document, bool]]:
    """The documents without duplicate paragraphs, with whether their text was changed; one with nothing left goes.

    Args:
        stream: documents with whether their text was changed before.
        folder: existing folder for temporary files, which are gone when the last document has been taken.
        receipts: what is cut out of documents that stay is counted there, and those that go are recorded.

    Raises:
        OutOfSpace, StorageError: temporary files cannot be written, or were damaged.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix="paragraphs-") as work:
        spooled, edited = _Spooled(Path(work) / "documents.jsonl"), bytearray()
        with DocumentWriter(spooled.path) as writer:
            for document, was_edited in stream:
                writer.write(document)
                edited.append(was_edited)
        for mark, cut in zip(edited, without_duplicate_paragraphs(spooled, folder=work), strict=True):
            if cut.removed is not None:
                receipts.remove(cut.document, cut.removed)
                continue
            counts = receipts.of(cut.document)
            counts.paragraphs_removed += cut.paragraphs
            counts.paragraph_characters_removed += cut.characters
            yield cut.document, bool(mark or cut.paragraphs)
