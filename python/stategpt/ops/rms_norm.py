"""Root-mean-square normalization (Zhang and Sennrich 2019, arXiv 1910.07467): y = x / sqrt(mean(x^2) + eps) * w."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Normalizes the last axis of `x`, then scales by `weight`, which broadcasts over the leading axes. -> x's dtype.

    `weight` is [D], or [heads, D] to norm all heads of a token in one pass, each with its weights.
    float64 is computed in float64, everything else in float32.
    """
    if x.device.type == "cpu":
        if not torch.is_grad_enabled() and not torch.compiler.is_compiling():  # a call of a function costs 20 us
            normed, _ = _normed(x, epsilon)
            return normed.mul_(weight).to(x.dtype)
        return _RMSNorm.apply(x, weight, epsilon)  # type: ignore[no-any-return]
    normed = F.rms_norm(_working(x), (x.shape[-1],), None, epsilon)
    return (normed * weight).to(x.dtype)


def _normed(x: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """x / sqrt(mean(x^2) + eps), and 1 / sqrt(mean(x^2) + eps)."""
    work = _working(x)
    norm = torch.linalg.vector_norm(work, dim=-1, keepdim=True)
    inverse = norm.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
    return work * inverse, inverse


def _working(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


class _RMSNorm(torch.autograd.Function):
    """The same with its gradient written out: torch's CPU path records eight element-wise passes, this one needs three.

    With y = n * w, n = x * r and r = (mean(x^2) + eps)^(-1/2):
        dx = r * (g*w - n * mean(g*w * n))      dw = sum over tokens of g * n
    Forward and backward of [1024, 192] in float32 on 2 cores: 1.1 ms by F.rms_norm, 0.45 ms here.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        """Normalizes and scales; keeps what `backward` needs."""
        normed, inverse = _normed(x, epsilon)
        ctx.save_for_backward(normed, inverse, weight)
        scaled: Tensor = normed * weight
        # No cast that changes nothing: Dynamo of torch 2.11 then hands zeros to `backward`.
        return scaled if scaled.dtype == x.dtype else scaled.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        """Returns the gradients of `x` and `weight`."""
        normed, inverse, weight = ctx.saved_tensors
        gradient = gradients[0].to(normed.dtype)
        weight_gradient = (gradient * normed).view(-1, *weight.shape).sum(0)
        scaled = gradient * weight
        # -mean(scaled * normed) over the last axis
        mean = torch.linalg.vecdot(scaled, normed).div_(-normed.shape[-1]).unsqueeze(-1)
        input_gradient = torch.addcmul(scaled, normed, mean).mul_(inverse)
        return input_gradient.to(gradients[0].dtype), weight_gradient, None
