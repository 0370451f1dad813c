"""A product with a matrix that is kept in low precision and never trained.

Legend: N tokens, W input width, O output width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

Dequantize = Callable[[torch.dtype], Tensor]
"""The matrix in a number format: [O, W]."""


def frozen_linear(x_NW: Tensor, dequantize: Dequantize, bias_O: Tensor | None = None) -> Tensor:
    """Multiplies by the matrix that `dequantize` makes, and adds a bias. -> [N, O] in x's number format.

    The gradient is that of `F.linear` with the same matrix, for the input and the bias. The matrix is made again for
    it: one layer's at a time is in memory, not that of every layer from the forward pass to the backward pass.
    """
    if torch.is_autocast_enabled(x_NW.device.type):
        x_NW = x_NW.to(torch.get_autocast_dtype(x_NW.device.type))
    if torch.is_grad_enabled() and x_NW.requires_grad:
        product = _FrozenLinear.apply(x_NW, dequantize)
    else:
        product = F.linear(x_NW, dequantize(x_NW.dtype))
    return product if bias_O is None else product + bias_O.to(product.dtype)  # type: ignore[no-any-return]


class _FrozenLinear(torch.autograd.Function):
    """Keeps the function that makes the matrix, where `F.linear` keeps the matrix."""

    @staticmethod
    def forward(ctx: Any, x_NW: Tensor, dequantize: Dequantize) -> Tensor:
        """Multiplies by the matrix."""
        ctx.dequantize = dequantize
        return F.linear(x_NW, dequantize(x_NW.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Returns the gradient of the input."""
        return gradients[0] @ ctx.dequantize(gradients[0].dtype), None
