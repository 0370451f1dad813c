"""Batches as torch tensors. The one file of `data` that asks for torch, and only when it is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from stategpt.extras import require

if TYPE_CHECKING:
    import torch

    from stategpt.ops import TensorLayout

    from .packed import Batch

    Device: TypeAlias = torch.device | str


@dataclass(frozen=True, eq=False, slots=True)
class BatchTensors:
    """A batch of N = R x T tokens on one device, as a model and a loss take it.

    Attributes:
        tokens: int64[N], input ids.
        targets: int64[N], the id that follows each input within its document.
        loss_mask: bool[N], is the target trained?
        layout: who sees whom; `model(batch.tokens, batch.layout)`.
        target_count: trained targets: the weight of the batch in a mean over tokens.
    """

    tokens: torch.Tensor
    targets: torch.Tensor
    loss_mask: torch.Tensor
    layout: TensorLayout
    target_count: int

    def __repr__(self) -> str:
        """BatchTensors(tokens, trained, device)"""
        return f"BatchTensors({self.tokens.numel():,} tokens, {self.target_count:,} trained, {self.tokens.device})"


def batch_tensors(batch: Batch, device: Device) -> BatchTensors:
    """`batch` on `device`. Raises MissingExtra where torch is not installed."""
    require("torch", "Batch.torch")
    import torch

    from stategpt.ops import TensorLayout

    ids = np.stack([batch.tokens, batch.targets]).astype(np.int64)
    tokens, targets = torch.from_numpy(ids).to(device)
    loss_mask = torch.from_numpy(batch.loss_mask).to(device)
    return BatchTensors(tokens, targets, loss_mask, TensorLayout.of(batch.layout, device), batch.target_count)
