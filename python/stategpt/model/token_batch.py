"""Token batches for the model: numpy from the loader, or lists of sequences, to tensors on a device."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stategpt.data import Segment
from stategpt.ops import TensorLayout
from stategpt.packing import Batch, Layout
from stategpt.shown_fields import documented, short_repr


def lay_out_rows(rows: Sequence[Sequence[NDArray[np.generic]]], row_tokens: int, fill: int) -> NDArray[np.int64]:
    """Lays the vectors of each row end to end and fills the rest of the row. -> int64[rows, row_tokens]."""
    laid_out = np.full((len(rows), row_tokens), fill, dtype=np.int64)
    for row, vectors in enumerate(rows):
        start = 0
        for vector in vectors:
            laid_out[row, start : start + len(vector)] = vector
            start += len(vector)
    return laid_out


def round_up(tokens: int, multiple: int = 8) -> int:
    """Rounds a row's width up: fewer different shapes, for each of which the CPU's matmul caches a plan."""
    return -(-tokens // multiple) * multiple


def stream_tensors(tokens: NDArray[np.integer], layout: Layout, device: torch.device) -> tuple[Tensor, TensorLayout]:
    """Copies a stream of ids and its layout to `device`, as the model takes them: int64[N] and `TensorLayout`."""
    return torch.from_numpy(tokens.astype(np.int64, copy=False)).to(device), TensorLayout.of(layout, device)


@documented
@dataclass(frozen=True)
class TokenBatch:
    """One micro-batch as the model takes it: a flat stream of N = rows x row_tokens tokens."""

    tokens_N: Tensor
    """int64 input ids."""
    layout: TensorLayout
    """Which token sees which."""
    target_index_M: Tensor
    """int64 positions in the stream whose prediction is trained."""
    targets_M: Tensor
    """int64 ids to predict there."""

    __repr__ = short_repr

    @property
    def target_count(self) -> int:
        """Targets in this micro-batch: its weight in the optimizer step."""
        return self.targets_M.numel()

    @classmethod
    def of(cls, batch: Batch, device: torch.device) -> TokenBatch:
        """A loader's batch on `device`."""
        return cls._of(batch.tokens, batch.layout, batch.targets, batch.loss_mask, device)

    @classmethod
    def packed(cls, segments: Sequence[Segment], pad: int, work: Work, device: torch.device) -> TokenBatch:
        """Segments end to end in rows, as `pack_rows` says; each sees only itself."""
        rows, row_tokens = pack_rows([len(segment) for segment in segments], work)
        in_rows = [[segments[member] for member in members] for members in rows]
        tokens = lay_out_rows([[segment.tokens for segment in row] for row in in_rows], row_tokens, pad)
        targets = lay_out_rows([[segment.targets for segment in row] for row in in_rows], row_tokens, pad)
        mask = lay_out_rows([[segment.loss_mask for segment in row] for row in in_rows], row_tokens, False) == 1
        layout = Layout.packed([[len(segment) for segment in row] for row in in_rows], row_tokens)
        return cls._of(tokens.reshape(-1), layout, targets.reshape(-1), mask.reshape(-1), device)

    @classmethod
    def _of(
        cls,
        tokens: NDArray[np.integer],
        layout: Layout,
        targets: NDArray[np.integer],
        loss_mask: NDArray[np.bool_],
        device: torch.device,
    ) -> TokenBatch:
        index = np.flatnonzero(loss_mask)
        tokens_N, on_device = stream_tensors(tokens, layout, device)
        index_M, targets_M = (torch.from_numpy(x.astype(np.int64)).to(device) for x in (index, targets[index]))
        return cls(tokens_N, on_device, index_M, targets_M)


@documented
@dataclass(frozen=True)
class PaddedSequences:
    """Sequences of different length as right-padded rows: sequence i begins at `i * row_tokens`."""

    tokens: NDArray[np.int64]
    """int64[rows x row_tokens], right-padded rows as one stream."""
    layout: Layout
    """What each token sees; a pad sees only itself."""
    row_tokens: int
    """Length of a row, pads included."""

    __repr__ = short_repr

    def tensors(self, device: torch.device) -> tuple[Tensor, TensorLayout]:
        """Copies tokens and layout to `device`."""
        return stream_tensors(self.tokens, self.layout, device)

    def starts(self) -> NDArray[np.int64]:
        """Stream position of each sequence's first token."""
        return np.arange(len(self.tokens) // self.row_tokens, dtype=np.int64) * self.row_tokens


def pad_sequences(sequences: Sequence[NDArray[np.integer]], pad: int, multiple: int = 8) -> PaddedSequences:
    """Pads `sequences` to rows of the longest one's length, rounded up to `multiple`; every pad sees only itself."""
    lengths = [len(sequence) for sequence in sequences]
    row_tokens = round_up(max(lengths), multiple)
    tokens = lay_out_rows([[sequence] for sequence in sequences], row_tokens, pad)
    return PaddedSequences(tokens.reshape(-1), Layout.padded(lengths, row_tokens), row_tokens)


Work = Callable[[int, int], float]
"""What a model has to do for so many tokens in rows of so many: any unit, only compared."""

_ROW_WIDTHS = (4, 5, 6, 7, 8)
"""Row widths that are tried, in quarters of the longest sequence: wider rows leave less over, attention costs more."""


def pack_rows(lengths: Sequence[int], work: Work, multiple: int = 8) -> tuple[list[list[int]], int]:
    """Sequences laid end to end in rows of one width: (the sequences of each row by index, the width).

    Each sequence stands in one row. The width is that of the least `work(tokens, width)`, padding included, among the
    longest sequence's length, twice that and three between them, each rounded up to `multiple`.
    """
    longest = max(lengths)
    widths = sorted({-(-longest * quarters // (4 * multiple)) * multiple for quarters in _ROW_WIDTHS})
    packings = [(best_fit(lengths, width), width) for width in widths]
    return min(packings, key=lambda packing: work(len(packing[0]) * packing[1], packing[1]))


def best_fit(lengths: Sequence[int], row_tokens: int) -> list[list[int]]:
    """Indices of the sequences in each row of at most `row_tokens`: longest first, each where the least room is left.

    Best-fit decreasing, as `data.pack` does for shards; ties go to the earlier sequence and the earlier row.
    """
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (tokens left, row), sorted
    for member in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        place = bisect_left(room, (lengths[member], 0))
        left, row = room.pop(place) if place < len(room) else (row_tokens, len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append(member)
        insort(room, (left - lengths[member], row))
    return rows
