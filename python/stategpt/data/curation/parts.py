"""Parts: what a pass left of some documents, the records of those that it removed, and its counts.

A part is a folder of the work (`Work`):

    documents.jsonl      the documents that are left, each with a mark where its text was changed
    removed.jsonl.zst    records of the removed ones
    summary.json         counts of this pass (`CurationSummary`)
    last                 an empty file where the input ended with this part
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from stategpt.data.curation.receipts import Receipts
from stategpt.data.curation.spool import DocumentWriter, Marked, read_marked
from stategpt.data.curation.summary import CurationSummary, read_summary, write_summary
from stategpt.data.records import Document
from stategpt.data.rejections import Tally

PART_CHARACTERS = 256 << 20
"""Characters of the input after which a part ends: what is done again after an interruption."""
_DOCUMENTS, _REMOVED, _LAST = "documents.jsonl", "removed.jsonl.zst", "last"


@dataclass(frozen=True)
class Part:
    """A part that is done."""

    folder: Path

    def documents(self) -> Iterator[Marked]:
        """The documents that are left, in order. Raises CorruptArtifact: a line is no document."""
        return read_marked(self.folder / _DOCUMENTS)

    @property
    def removed(self) -> Path:
        """The file of records of the removed documents."""
        return self.folder / _REMOVED

    @cached_property
    def summary(self) -> CurationSummary:
        """What this pass counted; a document is counted as `kept` when the curation is published."""
        return read_summary(self.folder)

    @property
    def is_last(self) -> bool:
        """Whether the input ended with this part."""
        return (self.folder / _LAST).exists()


class Input:
    """The documents of an iterator, cut into parts by their characters; some may be passed over."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self._documents, self._taken = iter(documents), 0
        self.is_over = False

    def part_from(self, start: int) -> Iterator[Document]:
        """The documents from number `start` on, as many as a part has."""
        characters = 0
        for document in self._documents:
            self._taken += 1
            if self._taken > start:
                characters += len(document.text)
                yield document
            if characters >= PART_CHARACTERS:
                return
        self.is_over = True


def write_part(
    folder: Path,
    left: Callable[[Receipts], Iterator[Marked]],
    ended: Callable[[], bool] = lambda: False,
    tallies: Mapping[str, Tally] | None = None,
) -> None:
    """Fills the folder of a part.

    Args:
        folder: empty.
        left: yields the documents that are left, and gives the others to the receipts.
        ended: asked afterwards: whether the input is at its end.
        tallies: counts of the reader of the input, complete at its end.
    """
    with Receipts(folder / _REMOVED) as receipts, DocumentWriter(folder / _DOCUMENTS) as writer:
        for document, edited in left(receipts):
            writer.write(document, edited=edited)
    if ended():
        (folder / _LAST).touch()
        receipts.inputs.update(tallies or {})
    write_summary(receipts.summary(), folder)


def documents_of(parts: Iterable[Part]) -> Iterator[Marked]:
    """The documents of several parts, in order."""
    for part in parts:
        yield from part.documents()


def left_of(parts: Sequence[Part]) -> int:
    """How many documents are left after passes over all of the input: those that came in but for the removed ones."""
    return sum(part.summary.documents - sum(part.summary.removed.values()) for part in parts)
