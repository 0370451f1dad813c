"""Documents of a published corpus, read from its files when they are used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

import numpy as np
import numpy.typing as npt

from stategpt import _native
from stategpt.data.corpus_rows import DOCUMENT, checked_row, document_of, read_rows
from stategpt.data.lines import MAX_LINE_BYTES, Line, Source
from stategpt.data.records import Document
from stategpt.data.splitting import SIDES, Side
from stategpt.data.text_source import iterated
from stategpt.errors import CorruptArtifact
from stategpt.files import open_regular

Item = TypeVar("Item", covariant=True)
_BLOCK_BYTES = 1 << 20


class StoredView(Sequence[Item], Generic[Item]):
    """Records of a file of a corpus, in order. Iterating streams them; an index reads one.

    The first use of an index finds where the lines of the file start: 8 bytes of memory a record.
    """

    def __init__(self, path: Path, source: str, count: int, item_of: Callable[[Document], Item]) -> None:
        self._path, self._source, self._count, self._item_of = path, source, count, item_of
        self._starts: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """Records, as the corpus counted them when it was written."""
        return self._count

    def __iter__(self) -> Iterator[Item]:
        """The records in order, a MiB of the file in memory."""
        return self._streamed()

    def _streamed(self) -> Iterator[Item]:
        for row in read_rows(self._path, DOCUMENT):
            yield self._item_of(document_of(row, self._source))

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        """One record by its number, or a list of some."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(self._count))]
        number = index + self._count if index < 0 else index
        if not 0 <= number < self._count:
            raise IndexError(f"record {index} of {self._count}")
        return self._item_of(self._record(number))

    def __eq__(self, other: object) -> bool:
        """Equal records in the same order, wherever they are."""
        if not isinstance(other, Sequence) or isinstance(other, str | bytes):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """`<5,700 records of corpus/documents/code/train.jsonl>`."""
        return f"<{self._count:,} records of {self._path}>"

    def _record(self, number: int) -> Document:
        if self._starts is None:
            self._starts = _line_starts(self._path, self._count)
        start, end = (int(self._starts[place]) for place in (number, number + 1))
        with open_regular(self._path) as file:
            file.seek(start)
            content = file.read(end - start)
        line = Line(number + 1, start, content.removesuffix(b"\n"), len(content.removesuffix(b"\n")))
        where = f"{self._path}:{line.number} (byte {start})"
        return document_of(checked_row(line.json_object, DOCUMENT, where), self._source)


class _StoredTexts(StoredView[str]):
    """Texts, which are read without the rest of a document: all of a corpus goes through here, several times."""

    def _streamed(self) -> Iterator[str]:
        return iterated(self.gather_texts)

    def gather_texts(self, texts: _native.Texts, enough_bytes: int) -> Iterator[str | None]:
        """As `TextSource.gather_texts`."""
        is_ended = False
        with Source(self._path, CorruptArtifact) as source:
            while not is_ended:
                is_ended, left = source.native.gather_texts("text", MAX_LINE_BYTES, enough_bytes, texts)
                if left is not None:
                    line = Line._make(left)
                    where = f"{self._path}:{line.number} (byte {line.byte_offset})"
                    try:
                        row = checked_row(line.json_object, DOCUMENT, where)
                    except CorruptArtifact:
                        yield None  # the texts before it
                        raise
                    texts.append(str(row["text"]))
                elif not is_ended:
                    yield None


class StoredDocuments:
    """The documents of one source of a published corpus, by side; the same interface as `SplitDocuments`.

    Args:
        folder: that of the source, with a file for each side.
        source: name of the source.
        counts: documents and bytes of each side.
    """

    def __init__(self, folder: Path, source: str, counts: dict[Side, dict[str, int]]) -> None:
        self.source, self.counts = source, counts
        self._folder = folder
        self._views = {side: self._view(side, _itself) for side in SIDES}

    @property
    def train(self) -> Sequence[Document]:
        """What models and the tokenizer learn from."""
        return self._views["train"]

    @property
    def validation(self) -> Sequence[Document]:
        """What settings are chosen by."""
        return self._views["validation"]

    @property
    def test(self) -> Sequence[Document]:
        """What only measurements read."""
        return self._views["test"]

    def of(self, side: Side) -> Sequence[Document]:
        """The documents of one side, in order."""
        return self._views[side]

    def texts(self, side: Side) -> Sequence[str]:
        """The texts of one side, in order."""
        path, count = self._folder / f"{side}.jsonl", self.counts[side]["documents"]
        return _StoredTexts(path, self.source, count, lambda document: document.text)

    def __eq__(self, other: object) -> bool:
        """Equal documents on each side, in memory or not."""
        of: Any = getattr(other, "of", None)
        return of is not None and all(self.of(side) == of(side) for side in SIDES)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """`StoredDocuments('notes', train=90, validation=4, test=6)`."""
        shown = ", ".join(f"{side}={len(self.of(side)):,}" for side in SIDES)
        return f"StoredDocuments({self.source!r}, {shown})"

    def _view(self, side: Side, item_of: Callable[[Document], Item]) -> StoredView[Item]:
        return StoredView(self._folder / f"{side}.jsonl", self.source, self.counts[side]["documents"], item_of)


def _itself(document: Document) -> Document:
    return document


def _line_starts(path: Path, count: int) -> npt.NDArray[np.int64]:
    """Byte at which each of `count` lines starts, and that after the last."""
    starts = np.zeros(count + 1, np.int64)
    found = position = 0
    with open_regular(path) as file:
        while block := file.read(_BLOCK_BYTES):
            ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + position + 1
            if found + len(ends) > count:
                break
            starts[found + 1 : found + 1 + len(ends)] = ends
            found += len(ends)
            position += len(block)
    if found != count or position != starts[-1]:
        raise CorruptArtifact(f"{path} does not have the {count:,} lines that statistics.json counts. Restore a copy.")
    return starts
