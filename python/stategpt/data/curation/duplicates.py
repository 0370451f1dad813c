"""Exact and near-duplicates of documents: of each cluster one document is kept, the others name it.

**Exact**: equal texts (XXH3 of 128 bits). **Near**: texts whose sets of shingles, 5 words in a row, have an estimated
Jaccard similarity of at least `threshold`. Words are lower-case runs of letters and digits: case, white space and
punctuation do not count. A text of fewer than 5 words has shingles of 5 characters; one without a word has no twin.

A MinHash signature of 128 components estimates the similarity with a standard deviation of sqrt(s (1 - s) / 128), 0.035
at 0.8 (Broder 1997; drawn as in Fast Similarity Sketching, Dahlgaard, Knudsen and Thorup 2017). Documents that agree in
one of 20 bands of 6 components are compared: with a probability of 1 - (1 - s^6)^20, which is 0.998 at a similarity of
0.8, 0.92 at 0.7, 0.27 at 0.5 and 0.01 at 0.3 (`NearDuplicates.probability`). Clusters are connected: A and C may be in
one because B is similar to both.

Kept is the document of the most preferred source (`priority`), then the first by name of source, file, line and byte
offset, then the one whose text has the smaller hash. Order of input, threads, memory and batches do not matter, and a
second run on what was kept removes nothing, as long as no key was shared by over 1,000 different documents
(`DuplicateCounts.skipped_pairs`).

Memory: `memory_bytes` for sorting, 4 bytes per document, 8 per cluster, and the names of sources and files. Disk: 56
bytes per document and another 20 (exact) or 780 (near) in temporary files without a name, which the system removes when
the finder is gone, also after a crash.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TypeAlias

from stategpt import _native
from stategpt.arguments import instance, real, several, thread_count, whole
from stategpt.data.curation.removed import Removed
from stategpt.data.records import Document, Place
from stategpt.errors import DataError, InvalidArgument
from stategpt.shown_fields import documented

EXACT_DUPLICATE, NEAR_DUPLICATE = "exact_duplicate", "near_duplicate"
MEMORY_BYTES = 256 << 20
COMPONENTS = 128
_BATCH_DOCUMENTS, _BATCH_CHARACTERS = 4096, 4 << 20
_REMOVED_AT_ONCE = 4096
_TwinFields: TypeAlias = tuple[int, str, str, int, int, int]


@documented
@dataclass(frozen=True, slots=True)
class NearDuplicates:
    """What near-duplicates are, and how they are looked for."""

    threshold: float = 0.8
    """Estimated Jaccard similarity from which two documents are near-duplicates."""
    bands: int = 20
    """Bands of a signature; documents that agree in one are compared."""
    rows: int = 6
    """Components of a band; bands x rows is at most 128."""

    def __post_init__(self) -> None:
        whole("bands", self.bands, 1)
        whole("rows", self.rows, 1)
        real("threshold", self.threshold)
        self.probability(self.threshold)

    def probability(self, jaccard: float) -> float:
        """The S-curve: the probability that two documents of this similarity are compared.

        Raises:
            InvalidArgument: a setting is out of range.
        """
        return _native.near_duplicate_probability(self.bands, self.rows, self.threshold, jaccard)


@documented
@dataclass(frozen=True, slots=True)
class DuplicateCounts:
    """What a comparison found."""

    documents: int
    """Documents compared."""
    clusters: int
    """Clusters of two or more."""
    removed: int
    """Documents that a twin is kept for."""
    compared_pairs: int
    """Pairs of signatures that were compared."""
    near_pairs: int
    """Of those, pairs at the threshold or above."""
    skipped_pairs: int
    """Pairs that were not compared, where over 1,000 documents with different signatures agree in one band."""


class DuplicateFinder:
    """Finds duplicates among documents that are read once: `add` them, `compare`, then `removed`."""

    def __init__(
        self,
        near: NearDuplicates | None = None,
        *,
        priority: Sequence[str] = (),
        folder: str | PathLike[str] | None = None,
        memory_bytes: int = MEMORY_BYTES,
        threads: int | None = None,
    ) -> None:
        """Begins a search.

        Args:
            near: settings of near-duplicates; None finds equal texts.
            priority: names of sources, most preferred first; the others follow by name.
            folder: existing folder for temporary files; None is the system's, which may be in memory (tmpfs).
            memory_bytes: memory for sorting.
            threads: threads that prepare texts; None uses all available cores.

        Raises:
            InvalidArgument: a setting is out of range.
            OutOfSpace, StorageError: no temporary file can be made.
        """
        several("priority", priority)
        self._near, self._threads = near, threads_of(threads)
        bands = None if near is None else (near.bands, near.rows, near.threshold)
        place = tempfile.gettempdir() if folder is None else os.fspath(folder)
        self._finder = _native.DuplicateFinder(place, whole("memory_bytes", memory_bytes, 1), list(priority), bands)

    def add(self, documents: Iterable[Document]) -> None:
        """Adds documents; they are numbered from 0 in the order in which they are added.

        Raises:
            DataError: a text holds a lone surrogate.
            OutOfSpace, StorageError: temporary files cannot be written.
        """
        for batch in batches(documents):
            texts = [document.text for document in batch]
            try:
                self._finder.add(texts, [_place_fields(document) for document in batch], self._threads)
            except UnicodeEncodeError as error:
                raise surrogate_error(batch, error) from None

    def compare(self) -> DuplicateCounts:
        """Compares all documents that were added. A signal such as Ctrl-C ends it.

        Raises:
            OutOfSpace, StorageError: temporary files cannot be written, or were damaged.
        """
        return DuplicateCounts(*self._finder.compare())

    def removed(self, numbers: Sequence[int] | None = None) -> Iterator[tuple[int, Removed]]:
        """Number of each document that a twin is kept for, ascending, with the twin and the similarity.

        Args:
            numbers: the numbers that documents have for the caller, in the order in which they were added.

        Raises:
            InvalidArgument: `compare` was not called.
            StorageError: temporary files were damaged.
        """
        start = 0
        while found := self._finder.removed(start, _REMOVED_AT_ONCE):
            for number, twin in found:
                yield number if numbers is None else numbers[number], self._removed(twin, numbers)
            start = found[-1][0] + 1

    def decide(
        self, documents: Iterable[Document], numbers: Sequence[int] | None = None
    ) -> Iterator[tuple[Document, Removed | None]]:
        """The documents, in the order in which they were added, each with why it is removed or None.

        Args:
            documents: those that were added.
            numbers: as in `removed`.

        Raises:
            InvalidArgument: `compare` was not called.
            DataError: they are not those that were added.
            StorageError: temporary files were damaged.
        """
        for batch in batches(documents):
            try:
                twins = self._finder.decide([document.text for document in batch])
            except UnicodeEncodeError as error:
                raise surrogate_error(batch, error) from None
            for document, twin in zip(batch, twins, strict=True):
                yield document, None if twin is None else self._removed(twin, numbers)
        self._finder.finish()

    @property
    def memory_bytes(self) -> int:
        """Bytes held in memory now."""
        return self._finder.memory_bytes

    @property
    def disk_bytes(self) -> int:
        """Bytes of temporary files now."""
        return self._finder.disk_bytes

    def _removed(self, twin: _TwinFields, numbers: Sequence[int] | None = None) -> Removed:
        added, source, file, line, byte_offset, equal = twin
        number = added if numbers is None else numbers[added]
        kept = str(Place(file, line, byte_offset)) if file else f"document {number}"
        named = f"{kept} of source {source}" if source else kept
        if self._near is None:
            return Removed(EXACT_DUPLICATE, f"equal to {named}")
        return Removed(NEAR_DUPLICATE, f"estimated Jaccard similarity {equal / COMPONENTS:.3f} with {named}")


def exact_duplicates(
    documents: Iterable[Document],
    *,
    priority: Sequence[str] = (),
    folder: str | PathLike[str] | None = None,
    memory_bytes: int = MEMORY_BYTES,
    threads: int | None = None,
) -> Iterator[tuple[Document, Removed | None]]:
    """Each document with None, or with the equal document that is kept. Reads `documents` twice.

    Args:
        documents: a list, or another iterable that begins again each time; for an iterator use `DuplicateFinder`.
        priority, folder, memory_bytes, threads: as in `DuplicateFinder`.

    Raises:
        InvalidArgument: `documents` is an iterator, or a setting is out of range.
        DataError: a text holds a lone surrogate, or the second reading differs from the first.
        OutOfSpace, StorageError: temporary files cannot be written, or were damaged.
    """
    finder = DuplicateFinder(priority=priority, folder=folder, memory_bytes=memory_bytes, threads=threads)
    return _both_passes(finder, documents)


def near_duplicates(
    documents: Iterable[Document],
    near: NearDuplicates | None = None,
    *,
    priority: Sequence[str] = (),
    folder: str | PathLike[str] | None = None,
    memory_bytes: int = MEMORY_BYTES,
    threads: int | None = None,
) -> Iterator[tuple[Document, Removed | None]]:
    """Each document with None, or with the similar document that is kept. Reads `documents` twice.

    Equal texts are near-duplicates too, unless they have no word.

    Args:
        documents: as in `exact_duplicates`.
        near: threshold and bands; None means the defaults.
        priority, folder, memory_bytes, threads: as in `DuplicateFinder`.

    Raises:
        As `exact_duplicates`.
    """
    finder = DuplicateFinder(
        near or NearDuplicates(), priority=priority, folder=folder, memory_bytes=memory_bytes, threads=threads
    )
    return _both_passes(finder, documents)


def _both_passes(finder: DuplicateFinder, documents: Iterable[Document]) -> Iterator[tuple[Document, Removed | None]]:
    several("documents", documents)
    if iter(documents) is documents:
        raise InvalidArgument(
            f"documents is an iterator ({type(documents).__name__}), which can be read once; two passes are needed. "
            "Give a list, or use DuplicateFinder: add(documents), compare(), removed()."
        )
    return _passes(finder, documents)


def _passes(finder: DuplicateFinder, documents: Iterable[Document]) -> Iterator[tuple[Document, Removed | None]]:
    finder.add(documents)
    finder.compare()
    yield from finder.decide(documents)


def batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Lists of documents of a bounded number of characters; a document longer than that is alone in its batch.

    Raises:
        InvalidArgument: something is not a Document.
    """
    batch: list[Document] = []
    characters = 0
    for document in documents:
        instance("document", document, Document, "Give Document records.")
        if batch and (len(batch) == _BATCH_DOCUMENTS or characters + len(document.text) > _BATCH_CHARACTERS):
            yield batch
            batch, characters = [], 0
        batch.append(document)
        characters += len(document.text)
    if batch:
        yield batch


def threads_of(threads: int | None) -> int:
    """Checks a number of threads; None is that of the cores this process may use."""
    return thread_count(threads) or len(os.sched_getaffinity(0))


def surrogate_error(batch: Sequence[Document], error: UnicodeEncodeError) -> DataError:
    """The error of the document whose text UTF-8 cannot encode."""
    wrong = next((document for document in batch if document.text == error.object), batch[0])
    named = wrong.where or f"a document of source {wrong.source!r}"
    return DataError(f"{named} holds a lone surrogate at character {error.start}; reject or replace it when reading")


def _place_fields(document: Document) -> tuple[str, str, int, int]:
    where = document.where
    if where is None:
        return (document.source, "", 1, 0)
    return (document.source, where.file, where.line, where.byte_offset)
