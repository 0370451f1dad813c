"""Numbers of a step over pages that all layers share, made once.

Legend: R sequences, N new tokens of all of them in one flat stream. B of the sequences get one token; M pages a row of
a table, F prefixes that several of them share.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stategpt.ops import PagePlan, SharedPrefix, TensorLayout
from stategpt.packing.layout import Layout

from .memory import PAGE_TOKENS


class Singles(NamedTuple):
    """Sequences that get one token, as `ops.paged_attention` takes them."""

    token_B: Tensor
    """int64[B]: place of the token in the stream; those that share a prefix are neighbors."""
    page_table_BM: Tensor
    """int32[B, M]: pages behind the shared prefix."""
    lengths_B: Tensor
    """int32[B]: keys in them, the new token's included."""
    prefix: SharedPrefix | None
    """What several of them share."""


class Prompts(NamedTuple):
    """Sequences that begin in this step, so that their keys are all in the stream."""

    token_N: Tensor
    """int64[n]: their tokens' places in the stream."""
    layout: TensorLayout
    """Each is a document."""


class StepPlan:
    """Numbers of a step that all layers share, made once."""

    def __init__(
        self,
        seen_R: NDArray[np.int32],
        tokens_R: NDArray[np.int32],
        reserved: Sequence[array[int]],
        device: torch.device,
    ) -> None:
        self.seen_R, self.tokens_R = seen_R, tokens_R
        """int32[R]: tokens held before, and new ones."""
        self._reserved = reserved
        self.device = device
        self.first_R1 = np.zeros(len(tokens_R) + 1, dtype=np.int32)
        """int32[R + 1]: place of each sequence's first new token in the stream."""
        np.cumsum(tokens_R, out=self.first_R1[1:])
        self.tokens = int(self.first_R1[-1])
        """N."""

    @cached_property
    def tables(self) -> list[NDArray[np.int32]]:
        """Pages of each sequence, new positions included."""
        counts = -(-(self.seen_R + self.tokens_R) // PAGE_TOKENS)
        return [np.array(pages[:count], dtype=np.int32) for pages, count in zip(self._reserved, counts, strict=True)]

    @cached_property
    def _position(self) -> NDArray[np.int64]:
        if self.tokens == len(self.seen_R):  # a token of each
            return self.seen_R.astype(np.int64)
        row_N = np.repeat(np.arange(len(self.seen_R)), self.tokens_R)
        return (self.seen_R - self.first_R1[:-1])[row_N] + np.arange(self.tokens, dtype=np.int64)

    @cached_property
    def position_N(self) -> Tensor:  # noqa: N802 - a shape suffix
        """int64[N]."""
        return torch.from_numpy(self._position).to(self.device)

    @cached_property
    def last_R(self) -> Tensor:  # noqa: N802 - a shape suffix
        """int64[R]."""
        return torch.from_numpy(self.first_R1[1:].astype(np.int64) - 1).to(self.device)

    @cached_property
    def places(self) -> tuple[Tensor, Tensor]:
        """Page and slot of each token, int64[N] both."""
        starts = np.cumsum([0] + [len(table) for table in self.tables[:-1]])
        row_N = np.repeat(np.arange(len(self.tables)), self.tokens_R)
        page_N = np.concatenate(self.tables)[starts[row_N] + self._position // PAGE_TOKENS].astype(np.int64)
        both = torch.from_numpy(np.stack((page_N, self._position % PAGE_TOKENS))).to(self.device)
        return both[0], both[1]

    @cached_property
    def native(self) -> PagePlan:
        """The same numbers for `ops.attend_pages`."""
        return PagePlan(self.first_R1, self.seen_R, self._reserved)  # a table may be longer than needed

    @cached_property
    def singles(self) -> Singles | None:
        """The sequences with one new token, or None."""
        rows = np.flatnonzero(self.tokens_R == 1)
        if not len(rows):
            return None
        depth_R = self._shared_pages(rows)
        groups: dict[bytes, list[int]] = {}
        for row in rows.tolist():
            groups.setdefault(self.tables[row][: depth_R[row]].tobytes(), []).append(row)
        shared = [group for key, group in groups.items() if key and len(group) > 1]
        without = [row for key, group in groups.items() if not key or len(group) == 1 for row in group]
        depth_R[without] = 0
        order = np.array(without + [row for group in shared for row in group])
        prefix = None
        if shared:
            starts = np.cumsum([len(without)] + [len(group) for group in shared])
            firsts = [group[0] for group in shared]
            prefix = SharedPrefix(
                self._table([self.tables[row][: depth_R[row]] for row in firsts]),
                self._int32(PAGE_TOKENS * depth_R[firsts]),
                self._int32(starts),
            )
        own = self._table([self.tables[row][depth_R[row] :] for row in order])
        lengths = self._int32(self.seen_R[order] + 1 - PAGE_TOKENS * depth_R[order])
        return Singles(self._int64(self.first_R1[order]), own, lengths, prefix)

    @cached_property
    def prompts(self) -> Prompts | None:
        """The sequences with several tokens and none before, or None."""
        rows = np.flatnonzero((self.tokens_R > 1) & (self.seen_R == 0))
        if not len(rows):
            return None
        lengths = self.tokens_R[rows].tolist()
        layout = Layout.packed([lengths], sum(lengths))
        return Prompts(self._int64(self._tokens_of(rows)), TensorLayout.of(layout, self.device))

    @cached_property
    def continued(self) -> list[int]:
        """Rows of the sequences with several tokens and some before."""
        return np.flatnonzero((self.tokens_R > 1) & (self.seen_R > 0)).tolist()

    def pages_of_row(self, row: int) -> Tensor:
        """Returns the pages of a sequence as int64 on the device."""
        return self._int64(self.tables[row])

    def _shared_pages(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """For each sequence, how many of its first pages another of `rows` has too; 0 for those not in `rows`."""
        depth_R = np.zeros(len(self.tables), dtype=np.int64)
        users = np.bincount(np.concatenate([self.tables[row] for row in rows]))
        for row in rows:
            alone = np.flatnonzero(users[self.tables[row]] == 1)
            full = self.seen_R[row] // PAGE_TOKENS
            depth_R[row] = min(full, alone[0]) if len(alone) else full
        return depth_R

    def _tokens_of(self, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        return np.concatenate([np.arange(self.first_R1[row], self.first_R1[row + 1]) for row in rows])

    def _table(self, rows: list[NDArray[np.int32]]) -> Tensor:
        table = np.zeros((len(rows), max(map(len, rows))), dtype=np.int32)
        for row, pages in enumerate(rows):
            table[row, : len(pages)] = pages
        return torch.from_numpy(table).to(self.device)

    def _int32(self, numbers: NDArray[np.integer]) -> Tensor:
        return torch.from_numpy(numbers.astype(np.int32)).to(self.device)

    def _int64(self, numbers: NDArray[np.integer]) -> Tensor:
        return torch.from_numpy(numbers.astype(np.int64)).to(self.device)
