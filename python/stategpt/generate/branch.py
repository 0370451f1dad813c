"""A sequence of token ids, and what of it is computed: a prompt, one of its samples, a session.

The ids are always there; their keys and values may be given up and computed again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from stategpt.arguments import Ids

from .pages import PagedSequence, PagePool


class Branch:
    """`prompt`, then `generated`; the keys and values of the first `sequence.length` of them are in pages."""

    __slots__ = ("__weakref__", "accounted", "computed", "generated", "hidden_W", "prompt", "sequence")

    def __init__(self, prompt: Ids, sequence: PagedSequence) -> None:
        self.prompt = prompt
        self.generated: list[int] = []
        self.sequence = sequence
        self.hidden_W: Tensor | None = None
        """Hidden state of the last id, when everything is computed: the next token is drawn from it."""
        self.accounted = sequence.length
        """Ids that were counted as computed, reused or drawn."""
        self.computed = sequence.length
        """Ids that were computed before, whether or not their pages were kept."""

    @classmethod
    def of_known(cls, prompt: Ids, pool: PagePool, pages: Sequence[int], length: int) -> Branch:
        """A branch whose first `length` ids are in `pages`."""
        return cls(prompt, PagedSequence(pool, pages, length))

    def __len__(self) -> int:
        return len(self.prompt) + len(self.generated)

    @property
    def pending(self) -> int:
        """Ids without keys and values."""
        return len(self.prompt) + len(self.generated) - self.sequence.length

    def tokens(self, first: int, end: int) -> list[int]:
        """Returns the ids of positions first .. end - 1."""
        inside = first - len(self.prompt)
        if inside >= 0:
            return self.generated[inside : end - len(self.prompt)]
        found: list[int] = self.prompt[first:end].tolist()
        if end > len(self.prompt):
            found += self.generated[: end - len(self.prompt)]
        return found

    def ids(self) -> Ids:
        """Returns all ids."""
        return np.concatenate([self.prompt, np.array(self.generated, dtype=np.uint32)])

    def fork(self) -> Branch:
        """Returns a copy that shares the pages."""
        other = Branch(self.prompt, self.sequence.fork())
        other.generated = list(self.generated)
        other.hidden_W = self.hidden_W
        other.accounted, other.computed = self.accounted, self.computed
        return other

    def append(self, ids: Ids) -> None:
        """Adds ids that are not yet computed."""
        self.prompt, self.generated = np.concatenate([self.ids(), ids]), []
        self.hidden_W = None

    def truncate(self, length: int) -> None:
        """Goes back to the first `length` ids."""
        if length < len(self):
            self.prompt, self.generated = self.ids()[:length], []
            self.accounted, self.computed = min(self.accounted, length), min(self.computed, length)
            self.hidden_W = None
        if self.sequence.length > length:
            self.sequence.truncate(length)

    def needs_last(self) -> None:
        """Makes the last id pending where its hidden state is not known."""
        if self.hidden_W is None and self.pending == 0 and len(self):
            self.sequence.truncate(len(self) - 1)

    def release(self) -> None:
        """Gives up the pages; the ids stay, to be computed again."""
        self.move(self.sequence.pool)

    def move(self, pool: PagePool) -> None:
        """Gives up the pages for an empty sequence of another pool."""
        self.computed = max(self.computed, self.sequence.length)
        self.sequence.close()
        self.sequence = PagedSequence(pool)
        self.hidden_W = None

    def close(self) -> None:
        """Gives up the pages for good."""
        self.sequence.close()
        self.hidden_W = None
