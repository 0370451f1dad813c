"""Rotary positions (Su et al. 2021, arXiv 2104.09864), pairs laid out as in GPT-NeoX and Hugging Face.

Pair i of a head is (x[i], x[i + D/2]); at position p it turns by the angle p * theta^(-2i/D).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def rotary_frequencies(head_dim: int, theta: float, device: torch.device) -> Tensor:
    """Angle that each pair turns by from one position to the next: float32[D/2], computed on the CPU for any device."""
    pair = torch.arange(0, head_dim, 2, dtype=torch.float32, device="cpu")
    return (1.0 / theta ** (pair / head_dim)).to(device)


def rotary_angles(position_N: Tensor, frequency_P: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the angles at `position_N` (int64): float32[N, D/2] each.

    Computed for the tokens at hand: a table of all positions would take memory by the context that a file claims.
    """
    angle = position_N[:, None].float() * frequency_P
    return angle.cos(), angle.sin()


def rotate(x_NHD: Tensor, cos_NP: Tensor, sin_NP: Tensor) -> Tensor:
    """Turns each pair of each head of token n by its angle; P = D/2. -> x's dtype."""
    if torch.compiler.is_compiling():  # which fuses the plain formula, and cannot write into half of an output
        a, b = x_NHD.chunk(2, dim=-1)
        cos, sin = cos_NP.unsqueeze(1), sin_NP.unsqueeze(1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1).to(x_NHD.dtype)
    if not torch.is_grad_enabled():
        return _turn(x_NHD, cos_NP.unsqueeze(1), sin_NP.unsqueeze(1), 1.0)
    return _Rotate.apply(x_NHD, cos_NP.unsqueeze(1), sin_NP.unsqueeze(1))  # type: ignore[no-any-return]


def _turn(x_NHD: Tensor, cos_N1P: Tensor, sin_N1P: Tensor, direction: float) -> Tensor:
    """(a cos - b sin, b cos + a sin), written into one output: no rotated copy, no concatenation."""
    dtype = torch.promote_types(x_NHD.dtype, cos_N1P.dtype)
    turned = torch.empty_like(x_NHD, dtype=dtype, memory_format=torch.contiguous_format)
    a, b = x_NHD.to(dtype).chunk(2, dim=-1)
    first, second = turned.chunk(2, dim=-1)
    torch.mul(a, cos_N1P, out=first).addcmul_(b, sin_N1P, value=-direction)
    torch.mul(b, cos_N1P, out=second).addcmul_(a, sin_N1P, value=direction)
    return turned if turned.dtype == x_NHD.dtype else turned.to(x_NHD.dtype)  # see `_RMSNorm.forward`


class _Rotate(torch.autograd.Function):
    """The gradient of a rotation is the rotation back; nothing but the tables is kept for it."""

    @staticmethod
    def forward(ctx: Any, x_NHD: Tensor, cos_N1P: Tensor, sin_N1P: Tensor) -> Tensor:
        """Rotates by the angles."""
        ctx.save_for_backward(cos_N1P, sin_N1P)
        return _turn(x_NHD, cos_N1P, sin_N1P, 1.0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Rotates the gradient back."""
        cos_N1P, sin_N1P = ctx.saved_tensors
        return _turn(gradients[0], cos_N1P, sin_N1P, -1.0), None, None
