"""Token batches for the model: numpy from the loader, or lists of sequences, to tensors on a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stategpt.data import Batch, Layout
from stategpt.ops import TensorLayout
from stategpt.shown_fields import documented, short_repr


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
    def of_rows(
        cls, rows: PaddedSequences, targets: NDArray[np.integer], loss_mask: NDArray[np.bool_], device: torch.device
    ) -> TokenBatch:
        """Padded rows with targets and mask of the same stream."""
        return cls._of(rows.tokens, rows.layout, targets, loss_mask, device)

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
        return cls(
            tokens_N=_ids(tokens, device),
            layout=TensorLayout.of(layout, device),
            target_index_M=torch.from_numpy(index).to(device),
            targets_M=_ids(targets[index], device),
        )


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

    def starts(self) -> NDArray[np.int64]:
        """Stream position of each sequence's first token."""
        return np.arange(len(self.tokens) // self.row_tokens, dtype=np.int64) * self.row_tokens


def pad_sequences(sequences: Sequence[NDArray[np.integer]], pad: int, multiple: int = 8) -> PaddedSequences:
    """Lays `sequences` out as rows of the longest one's length, rounded up to `multiple`; every pad sees only itself.

    Rounding keeps the number of different shapes small, which the CPU's matmul plan caches like.
    """
    lengths = [len(sequence) for sequence in sequences]
    row_tokens = -(-max(lengths) // multiple) * multiple
    tokens = np.full((len(sequences), row_tokens), pad, dtype=np.int64)
    for row, sequence in enumerate(sequences):
        tokens[row, : len(sequence)] = sequence
    return PaddedSequences(tokens.reshape(-1), Layout.padded(lengths, row_tokens), row_tokens)


def _ids(ids: NDArray[np.integer], device: torch.device) -> Tensor:
    return torch.from_numpy(ids.astype(np.int64)).to(device)
