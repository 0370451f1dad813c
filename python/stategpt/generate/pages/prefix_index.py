"""An index of known prefixes: token ids, a page of 16 at a time, to the pages that hold their keys and values.

A tree with a node for each page; the children of a node are found by the ids of the next page. Python's dict hashes
them (with a secret that every process draws), but what is equal is decided by the ids: two prefixes are never taken for
one another. Each scope has a tree by itself, so one user's prompts cannot be found, or timed, by another.

Every loop is linear in the length of a prompt and none recurses.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from stategpt.arguments import Ids, whole
from stategpt.errors import InvalidArgument
from stategpt.shown_fields import documented

from .memory import PAGE_TOKENS
from .pool import PagePool
from .sequence import PagedSequence


@documented
@dataclass
class PrefixCounters:
    """What an index did since it was made."""

    lookups: int = 0
    """Calls of `match`."""
    asked_tokens: int = 0
    """Tokens of their prompts."""
    found_tokens: int = 0
    """Tokens of them that were found."""
    inserted_pages: int = 0
    """Pages that were taken in."""
    evicted_pages: int = 0
    """Pages that were given up, to make room."""


class _Node:
    """One page of ids, behind those of its parents."""

    __slots__ = ("children", "ids", "page", "parent", "used")

    def __init__(self, parent: _Node | None, ids: bytes, page: int, used: int) -> None:
        self.parent, self.ids, self.page, self.used = parent, ids, page, used
        self.children: dict[bytes, _Node] = {}


class _Root(_Node):
    """Beginning of all prefixes of a scope, without a page."""

    __slots__ = ("scope",)

    def __init__(self, scope: Hashable) -> None:
        super().__init__(None, b"", -1, 0)
        self.scope = scope


class PrefixIndex:
    """Pages of `pool` by the token ids that they hold, at most `limit` of them (None: as many as the pool has).

    It refers to its pages, so they outlive the sequences that made them. When it is full, or the pool is, those that
    were not used for the longest time and that nobody else refers to are given up, the ends of prefixes first.
    """

    def __init__(self, pool: PagePool, limit: int | None = None) -> None:
        self.pool = pool
        self.limit = pool.pages if limit is None else whole("limit", limit)
        """Most pages that it refers to."""
        self.counters = PrefixCounters()
        """What it did so far."""
        self._roots: dict[Hashable, _Root] = {}
        self._held: set[int] = set()
        self._clock = 0
        self._leaves: list[tuple[int, int, _Node]] = []  # a heap by time of use; entries out of date are passed over
        self._serial = 0
        pool.watch(self)
        pool.reclaim = self.evict

    @property
    def pages(self) -> int:
        """Pages that it refers to."""
        return len(self._held)

    def match(self, ids: Sequence[int] | Ids, scope: Hashable = "") -> tuple[list[int], int]:
        """Finds the longest known beginning of `ids`. -> pages, and how many tokens they hold of it.

        At most len(ids) - 1 tokens, so that one is left to compute logits of; of a prompt that is known as a whole the
        last page is then filled up to its last slot but one. The pages are not yet referred to: `open` does that too.
        """
        tokens = _checked(ids)
        node, found = self._walk(tokens, scope)
        pages: list[int] = []
        while node is not None and node.parent is not None:
            pages.append(node.page)
            node = node.parent
        pages.reverse()
        held = min(found * PAGE_TOKENS, max(len(tokens) - 1, 0))
        self.counters.lookups += 1
        self.counters.asked_tokens += len(tokens)
        self.counters.found_tokens += held
        return pages, held

    def open(self, ids: Sequence[int] | Ids, scope: Hashable = "") -> PagedSequence:
        """Returns a sequence that holds the longest known beginning of `ids`, see `match`."""
        return PagedSequence(self.pool, *self.match(ids, scope))

    def insert(self, ids: Sequence[int] | Ids, pages: Sequence[int], scope: Hashable = "") -> int:
        """Takes in the whole pages of a prefix: `pages[i]` holds positions 16 i .. 16 i + 15 of `ids`. -> new pages.

        What is known keeps the page that it has. When there is no room, a part or nothing is taken in, and nothing from
        a page on that the index has already, of another scope.
        Raises `InvalidArgument` when pages are missing.
        """
        tokens = _checked(ids)
        whole_pages = len(tokens) // PAGE_TOKENS
        if len(pages) < whole_pages:
            raise InvalidArgument(f"{len(tokens)} ids fill {whole_pages} pages, and {len(pages)} are given")
        node, known = self._walk(tokens, scope)
        missing = whole_pages - known
        if missing > self.limit - self.pages:
            self._evict(missing - (self.limit - self.pages), self._clock)  # never what was just found
        new = _before(self._held, pages[known : known + min(missing, self.limit - self.pages)])
        if not new:
            return 0
        self.pool.retain(new)
        if node is None or isinstance(node, _Root):  # one that just lost its last prefix is entered again
            root = node if isinstance(node, _Root) else _Root(scope)
            self._roots[scope], node = root, root
        text = tokens.tobytes()
        for number, page in enumerate(new, known):
            child = _Node(node, _page_of(text, number), page, self._clock)
            node.children[child.ids] = child
            node = child
        self._held.update(new)
        self.counters.inserted_pages += len(new)
        self._offer(node)
        return len(new)

    def evict(self, pages: int) -> int:
        """Gives up `pages` pages that nobody else refers to, or all such. -> how many are free now."""
        self._clock += 1
        return self._evict(pages, self._clock)

    def _evict(self, pages: int, before: int) -> int:
        """The same, of those that were last used before a time."""
        freed: list[int] = []
        while len(freed) < pages and self._leaves and self._leaves[0][0] < before:
            used, _, node = heapq.heappop(self._leaves)
            if not _current(node, used):
                continue
            if int(self.pool.references([node.page])[0]) > 1:  # in use now, so it was not used long ago
                node.used = self._clock
                self._offer(node)
                continue
            freed.append(node.page)
            self._remove(node)
        self.pool.release(freed)
        self.counters.evicted_pages += len(freed)
        return len(freed)

    def clear(self) -> None:
        """Gives up all pages, those that others refer to as well."""
        self.pool.release([node.page for node in self._nodes()])
        self._roots, self._leaves, self._held = {}, [], set()

    def held_pages(self) -> NDArray[np.int32]:
        """Returns the pages that it refers to, counted from the tree."""
        return np.array([node.page for node in self._nodes()], dtype=np.int32)

    def _walk(self, tokens: Ids, scope: Hashable) -> tuple[_Node | None, int]:
        """The last known node of the whole pages of `tokens` and its depth; everything on the way was used now."""
        self._clock += 1
        node: _Node | None = self._roots.get(scope)
        text, found = tokens.tobytes(), 0
        if node is None:
            return None, 0
        node.used = self._clock
        for number in range(len(tokens) // PAGE_TOKENS):
            child = node.children.get(_page_of(text, number))
            if child is None:
                break
            node, found = child, number + 1
            node.used = self._clock
        if not node.children and node.parent is not None:
            self._offer(node)
        return node, found

    def _offer(self, leaf: _Node) -> None:
        """Enters a leaf for eviction, at its time of use."""
        self._serial += 1
        heapq.heappush(self._leaves, (leaf.used, self._serial, leaf))
        if len(self._leaves) > 64 + 2 * len(self._held):
            current = {id(node): (used, serial, node) for used, serial, node in self._leaves if _current(node, used)}
            self._leaves = list(current.values())
            heapq.heapify(self._leaves)

    def _remove(self, leaf: _Node) -> None:
        parent = leaf.parent
        assert parent is not None  # roots are never offered
        del parent.children[leaf.ids]
        leaf.parent = None
        self._held.remove(leaf.page)
        if parent.children:
            return
        if isinstance(parent, _Root):
            del self._roots[parent.scope]
        else:
            self._offer(parent)

    def _nodes(self) -> Iterator[_Node]:
        waiting = [child for root in self._roots.values() for child in root.children.values()]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(node.children.values())

    def __repr__(self) -> str:
        return f"PrefixIndex({self.pages:,} of {self.limit:,} pages, {len(self._roots):,} scopes)"


def _current(node: _Node, used: int) -> bool:
    return node.parent is not None and not node.children and node.used == used


def _before(held: set[int], pages: Sequence[int]) -> list[int]:
    """The pages up to the first that is held."""
    return [int(page) for page in takewhile(lambda page: page not in held, pages)]


def _page_of(text: bytes, number: int) -> bytes:
    size = 4 * PAGE_TOKENS
    return text[number * size : (number + 1) * size]


def _checked(ids: Sequence[int] | Ids) -> Ids:
    """The ids as uint32. Raises `InvalidArgument` for what is no id."""
    given = np.asarray(ids)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise InvalidArgument(f"ids are {given.dtype} of shape {list(given.shape)}; give one list of whole numbers")
    if given.size and (int(given.min()) < 0 or int(given.max()) >= 2**32):
        raise InvalidArgument(f"ids are from {int(given.min())} to {int(given.max())}; they are 0 to 2^32 - 1")
    return given.astype(np.uint32)
