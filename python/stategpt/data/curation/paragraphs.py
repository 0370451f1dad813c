"""Paragraphs that occur in several documents: the first one stays, the others are cut out.

A paragraph ends at a blank line. Short ones (headings, list items) are left alone: they are equal by chance.
"""

from __future__ import annotations

import dataclasses
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from os import PathLike
from typing import NamedTuple

from stategpt.arguments import several, whole
from stategpt.data.curation.duplicates import MEMORY_BYTES, DuplicateFinder
from stategpt.data.curation.removed import Removed
from stategpt.data.records import Document
from stategpt.errors import InvalidArgument

DUPLICATE_PARAGRAPHS = "duplicate_paragraphs"
MIN_CHARACTERS = 100
"""Shorter paragraphs stay, however often they occur."""
_BLANK_LINES = re.compile(r"(\n[ \t\r]*\n\s*)")


class Cut(NamedTuple):
    """A document after its duplicate paragraphs were cut out."""

    document: Document
    """With what is left; as it was where nothing is."""
    removed: Removed | None
    """Why the document goes, where nothing is left."""
    paragraphs: int = 0
    """Paragraphs that were cut out of a document that stays."""
    characters: int = 0
    """Characters of those, with the blank lines after them."""


def without_duplicate_paragraphs(
    documents: Iterable[Document],
    *,
    min_characters: int = MIN_CHARACTERS,
    priority: Sequence[str] = (),
    folder: str | PathLike[str] | None = None,
    memory_bytes: int = MEMORY_BYTES,
    threads: int | None = None,
) -> Iterator[Cut]:
    """Each document without the paragraphs that another one, or itself, has before; why it is removed if none is left.

    Which document counts as the one before is decided as for whole documents (`duplicates`): by priority of the source,
    then source, file, line and byte offset; of documents without a place the first of the input. A document that is
    removed comes as it was. Reads `documents` three times, the last two side by side.

    Args:
        documents: a list, or another iterable that begins again each time.
        min_characters: shorter paragraphs stay, however often they occur.
        priority, folder, memory_bytes, threads: as in `DuplicateFinder`.

    Raises:
        InvalidArgument: `documents` is an iterator, or a setting is out of range.
        DataError: a text holds a lone surrogate, or a later reading differs from the first.
        OutOfSpace, StorageError: temporary files cannot be written, or were damaged.
    """
    several("documents", documents)
    if iter(documents) is documents:
        raise InvalidArgument(
            f"documents is an iterator ({type(documents).__name__}), which can be read once; three passes are needed. "
            "Give a list, or an object whose __iter__ begins again."
        )
    least = whole("min_characters", min_characters, 1)
    finder = DuplicateFinder(priority=priority, folder=folder, memory_bytes=memory_bytes, threads=threads)
    return _edited(documents, finder, least)


def _edited(documents: Iterable[Document], finder: DuplicateFinder, least: int) -> Iterator[Cut]:
    numbers = array("Q")
    finder.add(_paragraphs(documents, least, numbers))
    finder.compare()
    decided = finder.decide(_paragraphs(documents, least), numbers)
    for document in documents:
        parts = _BLANK_LINES.split(document.text)
        long = [at for at in range(0, len(parts), 2) if _is_long(parts[at], least)]
        twins = [removed for _, removed in islice(decided, len(long))]
        yield _cut(document, parts, {at: twin for at, twin in zip(long, twins, strict=True) if twin is not None})
    # Also checks that the readings were equally long.
    next(decided, None)


def _cut(document: Document, parts: Sequence[str], gone: dict[int, Removed]) -> Cut:
    """The document without the parts `gone`, with their twins; `parts` are paragraphs and blank lines in turn."""
    if not gone:
        return Cut(document, None)
    kept = [at for at in range(0, len(parts), 2) if at not in gone]
    if any(parts[at].strip() for at in kept):
        # A paragraph goes with the blank lines after it; the last one that stays ends as the document did.
        text = "".join(parts[at] + "".join(parts[at + 1 : at + 2]) for at in kept[:-1])
        text += parts[kept[-1]]
        left = dataclasses.replace(document, text=text)
        return Cut(left, None, len(gone), len(document.text) - len(text))
    first = next(iter(gone.values()))
    evidence = f"every paragraph, {len(gone)}, occurs before; the first is {first.evidence}"
    return Cut(document, Removed(DUPLICATE_PARAGRAPHS, evidence))


def _paragraphs(documents: Iterable[Document], least: int, numbers: array[int] | None = None) -> Iterator[Document]:
    """The long paragraphs as documents; the number of each one's document is appended to `numbers`."""
    for number, document in enumerate(documents):
        for part in _BLANK_LINES.split(document.text)[::2]:
            if _is_long(part, least):
                if numbers is not None:
                    numbers.append(number)
                yield Document(part.strip(), document.source, where=document.where)


def _is_long(paragraph: str, least: int) -> bool:
    return len(paragraph.strip()) >= least
