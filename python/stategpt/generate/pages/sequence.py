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

    @property
    def table(self) -> array[int]:
        """The pages as int32: the sequence's own array, to be read at once."""
        return self._pages

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

    def _must_be_open(self) -> None:
        if self._closed:
            raise InvalidArgument("the sequence was closed; fork before closing to keep what it held")

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
    if not copies and not more:  # most steps of single tokens
        return
    lengths = [row.length for row, _ in rows]
    if pool.ask_for(len(copies) + _sum(more)):  # others gave up pages: some may be shared no more
        if any(row.closed or row.length != length for (row, _), length in zip(rows, lengths, strict=True)):
            raise OutOfPages("room was made by giving up pages of a sequence of the same step; run fewer at a time")
        copies, more = _needed(rows, pool)
    pool.require(len(copies) + _sum(more))
    for (row, page), copy in zip(copies, pool.copied([page for _, page in copies]), strict=True):
        row._pages[row.length // PAGE_TOKENS] = copy
        pool.release([page])
    taken = pool.take(_sum(more)) if more else []
    for row, count in more:
        row._pages.extend(taken[:count])
        del taken[:count]


def advance_all(rows: Sequence[Row]) -> None:
    """`PagedSequence.advance` for each (sequence, tokens), whose pages `reserve_all` has reserved."""
    for row, tokens in rows:
        row._must_be_open()
        row._length += tokens


def _sum(more: Sequence[Row]) -> int:
    return sum(count for _, count in more)


def _check(rows: Sequence[Row], pool: PagePool) -> None:
    if len({id(row) for row, _ in rows}) != len(rows):
        raise InvalidArgument("a sequence comes twice in one step; fork it, or give its tokens together")
    context = pool.config.context_tokens
    for row, tokens in rows:
        row._must_be_open()
        if row.pool is not pool:
            raise InvalidArgument("the sequences of a step are of two pools; run a step for each")
        if type(tokens) is not int or tokens < 0:
            whole("tokens", tokens)
        if row._length + tokens > context:
            raise ContextOverflow(
                f"{row.length} positions and {tokens} more exceed the context of {context}; "
                "go back, or begin a shorter sequence"
            )


def _needed(rows: Sequence[Row], pool: PagePool) -> tuple[list[tuple[PagedSequence, int]], list[Row]]:
    """Shared last pages that need a copy, with their writers, and how many more pages rows need, where they need some.

    Where all that refer to a shared page write into it, the last one keeps it.
    """
    begun, more = [], []
    for row, tokens in rows:
        length, pages = row._length, row._pages
        if tokens and length % PAGE_TOKENS:
            begun.append((row, pages[length // PAGE_TOKENS]))
        if length + tokens > PAGE_TOKENS * len(pages):
            more.append((row, pages_of(length + tokens) - len(pages)))
    if not begun:
        return [], more
    shared = pool.references([page for _, page in begun]) > 1
    if not shared.any():
        return [], more
    writers = [begun[number] for number in np.flatnonzero(shared).tolist()]
    count = Counter(page for _, page in writers)
    last = {page: row for row, page in writers}
    kept = {page for page in count if int(pool.references([page])[0]) == count[page]}
    return [(row, page) for row, page in writers if page not in kept or row is not last[page]], more
