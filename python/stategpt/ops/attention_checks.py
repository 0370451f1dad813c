"""What both attentions ask of their arguments; each check raises `InvalidArgument` with the value and what to give."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stategpt.errors import InvalidArgument

DTYPES = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
"""What attention takes; the kernels all but the last."""


def check_dtypes(names: str, *tensors: Tensor) -> None:
    """One of `DTYPES`, the same for all; `names` as in "q, k and v"."""
    if tensors[0].dtype not in DTYPES or len({tensor.dtype for tensor in tensors}) > 1:
        raise InvalidArgument(
            f"{names} are {listed(*(tensor.dtype for tensor in tensors))}; "
            "cast them to one of bfloat16, float16, float32, float64"
        )


def check_last_axes(**tensors: Tensor) -> None:
    """Dense."""
    for name, tensor in tensors.items():
        if tensor.stride(-1) != 1 and tensor.shape[-1] > 1:
            raise InvalidArgument(f"{name} has strides {tensor.stride()}; its last axis must be contiguous")


def check_numbers(scale: float | None, window: int | None, softcap: float | None) -> None:
    """In range."""
    if window is not None and (isinstance(window, bool) or not isinstance(window, int) or not 1 <= window < 2**31):
        raise InvalidArgument(f"window is {window!r}; give the number of keys seen, at least 1, or None for all")
    if softcap is not None and not 0.0 < softcap < math.inf:
        raise InvalidArgument(f"softcap is {softcap!r}; give a positive number, or None for no cap")
    if scale is not None and not math.isfinite(scale):
        raise InvalidArgument(f"scale is {scale!r}; give a finite number, or None for 1 / sqrt(D)")


def listed(*values: object) -> str:
    """As in `a, b and c`."""
    return f"{', '.join(map(str, values[:-1]))} and {values[-1]}"


def shape_of(tensor: Tensor) -> list[int]:
    """As people write it."""
    return list(tensor.shape)
