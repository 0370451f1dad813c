"""Strides as kernels take them."""

from math import prod
from typing import Any


def leading_strides(x: Any) -> tuple[int, ...]:
    """Those of all axes of a tensor but the last; an axis of one entry has the stride of a contiguous tensor.

    Nothing is read by it, so torch lets it be anything, but Triton compiles a separate kernel for a stride of 1 and
    for one that 16 does not divide.
    """
    return tuple(x.stride(i) if x.shape[i] > 1 else prod(x.shape[i + 1 :]) for i in range(x.ndim - 1))
