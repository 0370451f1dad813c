"""Texts of files that need not become Python objects: read, decoded and handed on in batches by the compiled reader.

`write_shards` asks a source to gather; an iteration gives strings. Both see the same texts in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

from stategpt import _native

ITERATED_BYTES = 1 << 20
"""Bytes of text that are gathered at a time for a caller who iterates."""


@runtime_checkable
class TextSource(Protocol):
    """What gives texts in batches."""

    def gather_texts(self, texts: _native.Texts, enough_bytes: int) -> Iterator[str | None]:
        """Appends the texts that follow to `texts`, and yields when there are about `enough_bytes`, and where an error
        comes next. The caller empties `texts` each time, and at the end; a text that is yielded comes after them.
        """


def iterated(gather: Callable[[_native.Texts, int], Iterator[str | None]]) -> Iterator[str]:
    """One by one what `gather`, the method of a source, gives in batches."""
    texts = _native.Texts()
    for text in gather(texts, ITERATED_BYTES):
        yield from texts.take()
        if text is not None:
            yield text
    yield from texts.take()
