"""Cross-entropy over a vocabulary: -log softmax(logits)[target], summed."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_PROBABILITY = 1e-30
"""Below this the logarithm of a float32 probability is no longer exact; such rows are computed from their logits."""


def cross_entropy(logits_MV: Tensor, targets_M: Tensor) -> Tensor:
    """Sum over M rows of the cross-entropy in nats; differentiable once. No rows give 0 with a graph. -> scalar.

    Computed in the logits' dtype: cast them to float32 first.
    """
    # Ours looks at the probabilities to choose a path, which a compiled graph cannot do.
    if logits_MV.device.type == "cpu" and not torch.compiler.is_compiling():
        return _CrossEntropy.apply(logits_MV, targets_M)  # type: ignore[no-any-return]
    return F.cross_entropy(logits_MV, targets_M, reduction="sum")


class _CrossEntropy(torch.autograd.Function):
    """The gradient is softmax(logits) - onehot(target), so the probabilities of the forward pass become it in place.

    torch keeps log-probabilities, then fills and reads a second [M, V]: forward and backward of [1024, 4096] in float32
    take 19.7 ms on one core, 9.2 ms here.
    """

    @staticmethod
    def forward(ctx: Any, logits_MV: Tensor, targets_M: Tensor) -> Tensor:
        """Returns the summed negative log-probability of the targets."""
        probabilities_MV = logits_MV.softmax(dim=-1)
        ctx.save_for_backward(probabilities_MV, targets_M)
        log_target_M = probabilities_MV.gather(1, targets_M[:, None]).squeeze(1)
        tiny_M = log_target_M < MIN_PROBABILITY
        log_target_M.log_()
        if bool(tiny_M.any()):
            exact = logits_MV[tiny_M].log_softmax(dim=-1).gather(1, targets_M[tiny_M, None]).squeeze(1)
            log_target_M[tiny_M] = exact
        return -log_target_M.sum()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Returns softmax minus one-hot, times the incoming gradient."""
        gradient_MV, targets_M = ctx.saved_tensors
        gradient_MV[torch.arange(len(targets_M), device=targets_M.device), targets_M] -= 1
        return gradient_MV.mul_(gradients[0]), None
