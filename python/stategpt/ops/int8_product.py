"""Products of a few vectors with matrices of 8-bit codes on a CPU, for decoding.

The native product reads codes, not weights, from memory, and sums in float32 in a fixed order (`rust/matvec`): the
result of a vector does not depend on the others, on the number of threads, or on matrices multiplied in the same call.

Legend: N vectors, W width, O rows of all matrices together.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stategpt._native import Int8Matrices

from .int8 import Int8

FEW = 16
"""Vectors up to which it is used; with more, a matrix product with the dequantized weights is faster."""


def suits(x: Tensor) -> bool:
    """Whether `x` [..., W] is a few vectors on a CPU that need no gradient."""
    few = x.device.type == "cpu" and x.dtype != torch.float64 and 0 < x.numel() <= FEW * x.shape[-1]
    return few and not (torch.is_grad_enabled() and x.requires_grad) and not torch.compiler.is_compiling()


class Int8Product:
    """The product with matrices of one width; a view of their memory, made again when they were moved or replaced."""

    def __init__(self) -> None:
        self._of: tuple[Int8, ...] = ()
        self._matrices: Int8Matrices | None = None

    def __call__(self, x: Tensor, matrices: Sequence[Int8]) -> Tensor:
        """[..., W] -> [..., O], in x's number format (under autocast in its), rounded once from float32."""
        native = self._matrices
        if native is None or len(matrices) != len(self._of) or any(map(_differ, matrices, self._of)):
            self._of = tuple(matrices)
            native = self._matrices = Int8Matrices([(codes.numpy(), scales.numpy()) for codes, scales in matrices])
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        vectors = x.detach() if x.requires_grad else x
        if dtype != torch.float32:
            vectors = vectors.to(dtype).float()
        if x.dim() != 2 or not vectors.is_contiguous():
            vectors = vectors.reshape(-1, x.shape[-1]).contiguous()
        product = torch.from_numpy(native.multiply(vectors.numpy(), torch.get_num_threads()))
        if x.dim() != 2:
            product = product.view(*x.shape[:-1], -1)
        return product if dtype == torch.float32 else product.to(dtype)

    def __reduce__(self) -> tuple[type[Int8Product], tuple[()]]:
        """A copy of a layer has other memory: its product starts empty."""
        return Int8Product, ()


def _differ(a: Int8, b: Int8) -> bool:
    return a.codes is not b.codes or a.scales is not b.scales
