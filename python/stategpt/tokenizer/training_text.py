"""Training text of a tokenizer: texts, files, or a table of pieces that were counted elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TypeAlias

from stategpt import _native
from stategpt.errors import InvalidArgument

TrainingSource: TypeAlias = Iterable[str | os.PathLike[str]] | Mapping[str, int] | Mapping[bytes, int]
TrainingProgress: TypeAlias = Callable[[str, int, int], object]
"""Called a few times a second with the phase, the units done, and the total (0 if unknown).

Phases: "counting" (bytes of text), then "merging" (merges; fewer than the total if no pair is left).
"""

# Documents are handed to the counter in batches of about this many characters, so that their text need not be held.
_BATCH_CHARACTERS = 1 << 24
_BATCH_PIECES = 1 << 16


def feed(
    trainer: _native.BpeTrainer, source: TrainingSource, *, replace: bool, progress: TrainingProgress | None
) -> None:
    """Counts a source: the pieces of texts and files, or a table of counted pieces as it is.

    Args:
        replace: what is not UTF-8 in a file becomes U+FFFD, in place of an error.
    """
    if isinstance(source, Mapping):
        _feed_table(trainer, source)
        return
    for batch in _batches(source):
        if not isinstance(batch, list):
            trainer.feed_file(os.fspath(batch), replace, progress)
            continue
        counted_bytes = trainer.feed(batch)
        if progress is not None and batch:
            progress("counting", counted_bytes, 0)


def expected_bytes(source: TrainingSource) -> int:
    """Bytes of text there will be, where that is known beforehand: of a list of files; else 0."""
    if not isinstance(source, list | tuple) or not all(isinstance(item, os.PathLike) for item in source):
        return 0
    try:
        return sum(os.path.getsize(path) for path in source)
    except OSError:  # training names the file
        return 0


def _feed_table(trainer: _native.BpeTrainer, table: Mapping[str, int] | Mapping[bytes, int]) -> None:
    entries = _entries(table)
    while batch := list(islice(entries, _BATCH_PIECES)):
        trainer.feed_counts(batch)


def _entries(table: Mapping[str, int] | Mapping[bytes, int]) -> Iterator[tuple[bytes, int]]:
    """The pieces as bytes, with their counts, checked."""
    for piece, count in table.items():
        if not isinstance(piece, str | bytes) or not isinstance(count, int) or not 0 <= count < 2**63:
            raise InvalidArgument(
                f"the table has {piece!r}: {count!r}; pass pieces (str or bytes) with counts from 0 to 2**63 - 1"
            )
        try:
            yield piece.encode() if isinstance(piece, str) else piece, count
        except UnicodeEncodeError as error:
            raise InvalidArgument(
                f"the piece {piece!r} is not valid Unicode ({error}); drop lone surrogates, or pass its bytes"
            ) from error


def _batches(source: Iterable[str | os.PathLike[str]]) -> Iterator[list[str] | os.PathLike[str]]:
    """The source as lists of texts, and files one by one."""
    if isinstance(source, str | bytes | os.PathLike):
        raise InvalidArgument(f"source is one {type(source).__name__}; pass a list: [text, ...] or [Path(file), ...]")
    texts: list[str] = []
    characters = 0
    for place, item in enumerate(source):
        if isinstance(item, os.PathLike):
            yield item
            continue
        if place == 0 and isinstance(item, str) and len(item) < 256 and os.path.isfile(item):
            raise InvalidArgument(
                f"document 0 is {item!r}, the name of a file; pass Path({item!r}) to train on its text"
            )
        texts.append(item)
        characters += len(item) if isinstance(item, str) else 0
        if characters >= _BATCH_CHARACTERS:
            yield texts
            texts, characters = [], 0
    yield texts
