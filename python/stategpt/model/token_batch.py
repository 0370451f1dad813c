"""Token batches for the model: batches of the loader, or lists of sequences, as tensors on a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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


def stream_tensors(
    tokens: NDArray[np.integer], layout: Layout, device: torch.device | str
) -> tuple[Tensor, TensorLayout]:
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
    def of(cls, batch: Batch, device: torch.device | str = "cpu") -> TokenBatch:
        """Copies a loader's batch to `device`."""
        index = np.flatnonzero(batch.loss_mask)
        tokens_N, layout = stream_tensors(batch.tokens, batch.layout, device)
        index_M, targets_M = (torch.from_numpy(x.astype(np.int64)).to(device) for x in (index, batch.targets[index]))
        return cls(tokens_N, layout, index_M, targets_M)


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
