"""Checks of arguments that both attentions share; each raises `InvalidArgument` with the value and what to give."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from stategpt.errors import InvalidArgument

DTYPES = (torch.bfloat16, torch.float16, torch.float32, torch.float64)
"""What attention takes; the kernels all but the last."""


def check_operands(
    tensors: Mapping[str, Tensor],
    scale: float | None,
    window: int | None,
    softcap: float | None,
    **devices: torch.device,
) -> None:
    """Refuses different dtypes, different devices, strided last axes, and numbers out of range.

    `devices` are those of further arguments by name.
    """
    dtypes = [tensor.dtype for tensor in tensors.values()]
    if dtypes[0] not in DTYPES or len(set(dtypes)) > 1:
        raise InvalidArgument(
            f"{listed(*tensors)} are {listed(*dtypes)}; cast them to one of bfloat16, float16, float32, float64"
        )
    places = {name: tensor.device for name, tensor in tensors.items()} | devices
    if len(set(places.values())) > 1:
        raise InvalidArgument(f"{listed(*places)} are on {listed(*places.values())}; move them to one device")
    check_last_axes(**tensors)
    check_numbers(scale, window, softcap)


def check_last_axes(**tensors: Tensor) -> None:
    """Refuses a last axis that is not contiguous."""
    for name, tensor in tensors.items():
        if tensor.stride(-1) != 1 and tensor.shape[-1] > 1:
            raise InvalidArgument(f"{name} has strides {tensor.stride()}; its last axis must be contiguous")


def check_numbers(scale: float | None, window: int | None, softcap: float | None) -> None:
    """Refuses a window, softcap or scale out of its range."""
    if window is not None and (isinstance(window, bool) or not isinstance(window, int) or not 1 <= window < 2**31):
        raise InvalidArgument(f"window is {window!r}; give the number of keys seen, at least 1, or None for all")
    if softcap is not None and not 0.0 < softcap < math.inf:
        raise InvalidArgument(f"softcap is {softcap!r}; give a positive number, or None for no cap")
    if scale is not None and not math.isfinite(scale):
        raise InvalidArgument(f"scale is {scale!r}; give a finite number, or None for 1 / sqrt(D)")


def listed(*values: object) -> str:
    """Joins values as in `a, b and c`."""
    return f"{', '.join(map(str, values[:-1]))} and {values[-1]}"


def shape_of(tensor: Tensor) -> list[int]:
    """Returns the shape as a list, as messages show it."""
    return list(tensor.shape)
