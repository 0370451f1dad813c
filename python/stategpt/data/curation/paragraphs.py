"""Paragraphs that occur in several documents: the first one stays, the others are cut out.

A paragraph ends at a blank line. Short ones (headings, list items) are left alone: they are equal by chance.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from os import PathLike

from stategpt.arguments import several, whole
from stategpt.data.curation.duplicates import MEMORY_BYTES, DuplicateFinder
from stategpt.data.curation.removed import Removed
from stategpt.data.records import Document
from stategpt.errors import InvalidArgument

DUPLICATE_PARAGRAPHS = "duplicate_paragraphs"
_BLANK_LINES = re.compile(r"(\n[ \t\r]*\n\s*)")


def without_duplicate_paragraphs(
    documents: Iterable[Document],
    *,
    min_characters: int = 100,
    priority: Sequence[str] = (),
    folder: str | PathLike[str] | None = None,
    memory_bytes: int = MEMORY_BYTES,
    threads: int | None = None,
) -> Iterator[tuple[Document, Removed | None]]:
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


def _edited(
    documents: Iterable[Document], finder: DuplicateFinder, least: int
) -> Iterator[tuple[Document, Removed | None]]:
    finder.add(_paragraphs(documents, least))
    finder.compare()
    decided = finder.decide(_paragraphs(documents, least))
    for document in documents:
        parts = _BLANK_LINES.split(document.text)
        long = [at for at in range(0, len(parts), 2) if _is_long(parts[at], least)]
        twins = [removed for _, removed in islice(decided, len(long))]
        gone = {at: twin for at, twin in zip(long, twins, strict=True) if twin is not None}
        kept = [at for at in range(0, len(parts), 2) if at not in gone]
        if not gone:
            yield document, None
        elif any(parts[at].strip() for at in kept):
            # A paragraph goes with the blank lines after it; the last one that stays ends as the document did.
            text = "".join(parts[at] + "".join(parts[at + 1 : at + 2]) for at in kept[:-1])
            yield dataclasses.replace(document, text=text + parts[kept[-1]]), None
        else:
            first = next(iter(gone.values()))
            evidence = f"every paragraph, {len(gone)}, occurs before; the first is {first.evidence}"
            yield document, Removed(DUPLICATE_PARAGRAPHS, evidence)
    # Also checks that the readings were equally long.
    next(decided, None)


def _paragraphs(documents: Iterable[Document], least: int) -> Iterator[Document]:
    for document in documents:
        for part in _BLANK_LINES.split(document.text)[::2]:
            if _is_long(part, least):
                yield Document(part.strip(), document.source, where=document.where)


def _is_long(paragraph: str, least: int) -> bool:
    return len(paragraph.strip()) >= least
