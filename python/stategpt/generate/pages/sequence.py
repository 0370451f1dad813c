"""A sequence of positions in pages: grows, forks, goes back.

Slots of a page that are beyond the length of a sequence mean nothing to it. So sequences share a partly filled last
page until one of them has something to write: then it gets a copy.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stategpt.arguments import whole
from stategpt.errors import ContextOverflow, InvalidArgument, OutOfPages

from .memory import PAGE_TOKENS
from .pool import PagePool


class PagedSequence:
    """`length` positions whose keys and values are in pages of `pool`; empty, or the beginning that `pages` hold.

    Close it, or use it in a `with` block: its pages are free when nobody else refers to them.

    Raises:
        InvalidArgument: `pages` are not as many as `length` needs, or not in use.
    """

    def __init__(self, pool: PagePool, pages: Sequence[int] = (), length: int = 0) -> None:
        length = whole("length", length)
        if len(pages) != pages_of(length):
            raise InvalidArgument(
                f"{length} positions are in {pages_of(length)} pages of {PAGE_TOKENS}, not in {len(pages)}"
            )
        pool.retain(pages)
        self.pool = pool
        self._pages = array("i", pages)
        self._length = length
        self._closed = False
        pool.watch(self)

    @property
    def pages(self) -> list[int]:
        """Page of positions 16 i .. 16 i + 15, for each i; the last ones may be reserved only."""
        return self._pages.tolist()

    @property
    def length(self) -> int:
        """Positions whose keys and values are held."""
        return self._length

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def held_pages(self) -> NDArray[np.int32]:
        """Returns the pages as int32, a copy."""
        return np.array(self._pages, dtype=np.int32)

    def fork(self) -> PagedSequence:
        """Returns another sequence with the same positions; no key is copied."""
        self._must_be_open()
        return PagedSequence(self.pool, self._pages[: pages_of(self._length)], self._length)

    def reserve(self, tokens: int) -> None:
        """Sees that the next `tokens` positions have pages that no other sequence sees.

        A last page that is partly filled and shared is copied.

        Raises:
            ContextOverflow: the model's context is shorter.
            OutOfPages: the pool has too few free pages. As after every error, nothing was changed.
        """
        reserve_all([(self, tokens)])

    def truncate(self, length: int) -> None:
        """Goes back to the first `length` positions; pages behind them are free unless others refer to them.

        With the present length it gives back what was reserved only. Raises `InvalidArgument` for a longer one.
        """
        self._must_be_open()
        if (length := whole("length", length)) > self._length:
            raise InvalidArgument(f"length is {length}, and the sequence has {self._length}; it can only shrink")
        kept = pages_of(length)
        self.pool.release(self._pages[kept:])
        del self._pages[kept:]
        self._length = length

    def advance(self, tokens: int) -> None:
        """Counts `tokens` positions as held, whose keys and values were written into reserved pages."""
        self._must_be_open()
        if (length := self._length + whole("tokens", tokens)) > PAGE_TOKENS * len(self._pages):
            raise InvalidArgument(f"{tokens} more positions were not reserved: {len(self._pages)} pages are")
        self._length = length

    def close(self) -> None:
        """Gives up the pages; a second time it does nothing."""
        if not self._closed:
            self._closed = True
            self.pool.release(self._pages)
            self._pages, self._length = array("i"), 0

    def writable(self, tokens: int) -> bool:
        """Whether the next `tokens` positions are reserved, in pages that no other sequence sees."""
        first, end = self._length // PAGE_TOKENS, pages_of(self._length + tokens)
        if end > len(self._pages):
            return False
        return tokens == 0 or bool((self.pool.references(self._pages[first:end]) == 1).all())

    def _must_be_open(self) -> None:
        if self._closed:
            raise InvalidArgument("the sequence was closed; fork before closing to keep what it held")

    def _shared_last(self, tokens: int) -> int | None:
        """The partly filled last page, if `tokens` more would be written into it and others refer to it."""
        if tokens == 0 or self._length % PAGE_TOKENS == 0:
            return None
        page = self._pages[self._length // PAGE_TOKENS]
        return page if self.pool.is_shared(page) else None

    def __enter__(self) -> PagedSequence:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{self._length} positions in {len(self._pages)} pages"
        return f"PagedSequence({state})"


Row = tuple[PagedSequence, int]
"""A sequence, and the number of tokens that it gets in a step."""


def pages_of(positions: int) -> int:
    """Returns how many pages hold that many positions."""
    return -(-positions // PAGE_TOKENS)


def reserve_all(rows: Sequence[Row]) -> None:
    """Reserves for several sequences of one pool, all or nothing: `PagedSequence.reserve` for each (sequence, tokens).

    Raises:
        ContextOverflow, OutOfPages: as `reserve`.
        InvalidArgument: a closed sequence, one that comes twice, or sequences of two pools.
    """
    if not rows:
        return
    pool = rows[0][0].pool
    _check(rows, pool)
    copies, more = _needed(rows, pool)
    lengths = [row.length for row, _ in rows]
    if pool.ask_for(len(copies) + sum(more)):  # others gave up pages: some may be shared no more
        if any(row.closed or row.length != length for (row, _), length in zip(rows, lengths, strict=True)):
            raise OutOfPages("room was made by giving up pages of a sequence of the same step; run fewer at a time")
        copies, more = _needed(rows, pool)
    pool.require(len(copies) + sum(more))
    for (row, page), copy in zip(copies, pool.copied([page for _, page in copies]), strict=True):
        row._pages[row.length // PAGE_TOKENS] = copy
        pool.release([page])
    taken = pool.take(sum(more)) if any(more) else []
    for (row, _), count in zip(rows, more, strict=True):
        row._pages.extend(taken[:count])
        del taken[:count]


def _check(rows: Sequence[Row], pool: PagePool) -> None:
    if len({id(row) for row, _ in rows}) != len(rows):
        raise InvalidArgument("a sequence comes twice in one step; fork it, or give its tokens together")
    context = pool.config.context_tokens
    for row, tokens in rows:
        row._must_be_open()
        if row.pool is not pool:
            raise InvalidArgument("the sequences of a step are of two pools; run a step for each")
        if row.length + whole("tokens", tokens) > context:
            raise ContextOverflow(
                f"{row.length} positions and {tokens} more exceed the context of {context}; "
                "go back, or begin a shorter sequence"
            )


def _needed(rows: Sequence[Row], pool: PagePool) -> tuple[list[tuple[PagedSequence, int]], list[int]]:
    """Shared last pages that need a copy, with their writers, and how many more pages each row needs.

    Where all that refer to a shared page write into it, the last one keeps it.
    """
    writers = [(row, page) for row, tokens in rows if (page := row._shared_last(tokens)) is not None]
    more = [max(pages_of(row.length + tokens) - len(row._pages), 0) for row, tokens in rows]
    count = Counter(page for _, page in writers)
    last = {page: row for row, page in writers}
    kept = {page for page in count if int(pool.references([page])[0]) == count[page]}
    return [(row, page) for row, page in writers if page not in kept or row is not last[page]], more
