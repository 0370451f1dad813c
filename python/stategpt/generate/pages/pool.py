"""A pool of pages that hold keys and values, each with a count of who refers to it.

A page is free, or referred to by sequences and indexes: a fork adds a reference to each page and copies nothing. One
thread at a time may use a pool and what refers to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol
from weakref import WeakSet

import numpy as np
import torch
from numpy.typing import NDArray

from stategpt.arguments import whole
from stategpt.config import GPTConfig
from stategpt.errors import InvalidArgument, OutOfPages
from stategpt.model.fused_step import FusedWeights
from stategpt.model.joined import JoinedWeights

from .memory import PAGE_TOKENS, PageMemory, SlotPages, TransposedPages, page_bytes

Layout = type[PageMemory]


class Holder(Protocol):
    """What refers to pages: a sequence, an index."""

    def held_pages(self) -> NDArray[np.int32]:
        """Returns the pages referred to, one entry for each reference."""
        ...


class PagePool:
    """`pages` pages of 16 positions for a model of shape `config`, on its device.

    `dtype` is the number format of keys and values: what the projections give. The layout is that of the kernels of
    the device, or `layout`.

    Raises:
        InvalidArgument: no pages, or another number format.
        OutOfPages: the system does not give that much memory.
    """

    def __init__(
        self,
        config: GPTConfig,
        *,
        pages: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        layout: Layout | None = None,
    ) -> None:
        count = whole("pages", pages, 1)
        if count >= 2**31:
            raise InvalidArgument(f"pages is {count:,}; page numbers are int32, so at most {2**31 - 1:,}")
        self.config = config
        self.device = torch.device(device)
        chosen = layout or (TransposedPages if self.device.type == "cpu" else SlotPages)
        self.memory = chosen(config, count, dtype, self.device)
        """Where keys and values are."""
        self.joined = [JoinedWeights() for _ in range(config.depth)]
        """Of each layer, the joined projections that keys and values are made with."""
        self.fused = FusedWeights()
        """Weights of the fused step, those that keys and values are made with."""
        self.reclaim: Callable[[int], int] | None = None
        """Called with the number of pages that are missing; frees what it can, and returns how many."""
        self._references = np.zeros(count, dtype=np.int32)
        self._free: list[int] = []  # the last one freed is taken first: its memory is there already
        self._untouched = 0  # pages from here on were never taken
        self._holders: WeakSet[Holder] = WeakSet()

    @property
    def pages(self) -> int:
        """Number of pages, free ones included."""
        return len(self._references)

    @property
    def free_pages(self) -> int:
        """Pages that nobody refers to."""
        return len(self._free) + self.pages - self._untouched

    @property
    def used_pages(self) -> int:
        """Pages that somebody refers to, each counted once."""
        return self.pages - self.free_pages

    @property
    def page_bytes(self) -> int:
        """Bytes of one page."""
        return page_bytes(self.config, self.dtype)

    @property
    def bytes(self) -> int:
        """Bytes of all pages: the most memory that the pool takes."""
        return self.pages * self.page_bytes

    @property
    def used_bytes(self) -> int:
        """Bytes of the pages that somebody refers to."""
        return self.used_pages * self.page_bytes

    @property
    def dtype(self) -> torch.dtype:
        """Number format of keys and values."""
        return self.memory.storage.dtype

    def references(self, pages: Sequence[int] | NDArray[np.int32]) -> NDArray[np.int32]:
        """Returns how many refer to each of the pages."""
        found: NDArray[np.int32] = self._references[np.asarray(pages, dtype=np.int64)]
        return found

    def is_shared(self, page: int) -> bool:
        """Whether several refer to the page."""
        return bool(self._references[page] > 1)

    def ask_for(self, count: int) -> bool:
        """Calls `reclaim` if fewer than `count` pages are free. -> whether it was called."""
        missing = count - self.free_pages
        if missing <= 0 or self.reclaim is None:
            return False
        self.reclaim(missing)
        return True

    def require(self, count: int) -> None:
        """Raises `OutOfPages` if fewer than `count` pages are free."""
        if count > self.free_pages:
            raise OutOfPages(
                f"{count} more pages of {PAGE_TOKENS} positions are needed, and {self.free_pages} of {self.pages} are "
                "free; close sequences, run fewer at a time, or make the pool larger"
            )

    def take(self, count: int) -> list[int]:
        """Takes `count` free pages, each with one reference. Raises `OutOfPages` and takes none if there are fewer."""
        self.ask_for(count)
        self.require(count)
        kept = max(len(self._free) - count, 0)
        taken = self._free[kept:][::-1]
        del self._free[kept:]
        fresh = count - len(taken)
        taken.extend(range(self._untouched, self._untouched + fresh))
        self._untouched += fresh
        self._references[taken] = 1
        return taken

    def retain(self, pages: Sequence[int] | NDArray[np.int32]) -> None:
        """Adds a reference to each of the pages, which must be in use."""
        chosen = np.asarray(pages, dtype=np.int64)
        if len(chosen) and int(self._references[chosen].min()) < 1:
            raise InvalidArgument(f"page {int(chosen[self._references[chosen] < 1][0])} is free; nobody can share it")
        np.add.at(self._references, chosen, 1)

    def release(self, pages: Sequence[int] | NDArray[np.int32]) -> None:
        """Removes a reference from each of the pages; those without any are free again."""
        chosen = np.asarray(pages, dtype=np.int64)
        if len(chosen) and int(self._references[chosen].min()) < 1:
            raise InvalidArgument(f"page {int(chosen[self._references[chosen] < 1][0])} is free already")
        np.subtract.at(self._references, chosen, 1)
        self._free.extend(np.unique(chosen[self._references[chosen] == 0])[::-1].tolist())

    def copied(self, sources: list[int]) -> list[int]:
        """Takes a new page for each of `sources`, with its content; the sources keep their references."""
        if not sources:
            return []
        targets = self.take(len(sources))
        self.memory.copy(sources, targets)
        return targets

    def forget_weights(self) -> None:
        """Forgets what was made of the model's weights, which may have changed."""
        self.joined = [JoinedWeights() for _ in range(self.config.depth)]
        self.fused = FusedWeights()

    def watch(self, holder: Holder) -> None:
        """Counts the pages that `holder` refers to in `check`."""
        self._holders.add(holder)

    def check(self) -> None:
        """Counts all references again, for tests.

        Raises:
            AssertionError: a count is wrong, a page is lost, or something was dropped without closing it.
        """
        counted = np.zeros_like(self._references)
        for holder in list(self._holders):
            np.add.at(counted, holder.held_pages(), 1)
        if len(wrong := np.flatnonzero(counted != self._references)):
            page = int(wrong[0])
            raise AssertionError(
                f"page {page} has {self._references[page]} references, and {counted[page]} are held; "
                f"{len(wrong)} pages like it: something was dropped without close()"
            )
        free = set(self._free)
        if len(free) != len(self._free):
            raise AssertionError("a page is free twice")
        expected = set(np.flatnonzero(counted[: self._untouched] == 0).tolist())
        if free != expected or counted[self._untouched :].any():
            raise AssertionError(f"free pages {sorted(free ^ expected)[:5]} and their counts disagree")

    def __repr__(self) -> str:
        return f"PagePool({self.used_pages:,} of {self.pages:,} pages used, {self.dtype} on {self.device})"
