"""Numbers in 8 bits with one float32 scale a block: block-wise dynamic quantization (Dettmers et al. 2022, 2110.02861).

A block of 256 numbers is divided by its largest magnitude; each quotient becomes the nearest of 256 fixed values, which
are dense in relative terms over seven decades (`dynamic_values`). An outlier costs precision in its own block only.

Legend: N numbers, B = ceil(N / 256) blocks.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from stategpt.config.optimizers import STATE_BLOCK as BLOCK

_DECADES = 7


@cache
def dynamic_values(signed: bool) -> Tensor:
    """The 256 values that a quotient is rounded to, in increasing order: float32[256] from -1 or above 0 to 1.

    Decade k of 7 holds 2^k (signed, for either sign) or 2^(k+1) values, the centers of equal parts of 0.1 .. 1 times
    10^(k - 6); 1 itself, and 0 where signed. Without a sign 1e-7 is in the place of 0: a second moment that is rounded
    to 0 beside a first moment that is not would be an update of 1 / epsilon (Li et al. 2023, arXiv 2309.01507).
    """
    positive: list[float] = []
    for decade in range(_DECADES):
        parts = 2**decade if signed else 2 ** (decade + 1)
        size = 10.0 ** (decade - _DECADES + 1)
        positive += [size * (0.1 + 0.9 * (part + 0.5) / parts) for part in range(parts)]
    negative = [-value for value in reversed(positive)] if signed else []
    return torch.tensor([*negative, 0.0 if signed else 1e-7, *positive, 1.0])


def nearest_codes(quotients: Tensor, signed: bool) -> Tensor:
    """Index of the nearest of `dynamic_values`, the smaller of two as near: the definition, all distances in float64.

    -> uint8, shape of `quotients`. Takes 2 KiB a number; `quantize` finds the same by a table.
    """
    distances = (quotients.double()[..., None] - dynamic_values(signed).double()).abs()
    return distances.argmin(dim=-1).to(torch.uint8)


def quantize(numbers_N: Tensor, signed: bool) -> tuple[Tensor, Tensor]:
    """Rounds float32 numbers to 8 bits. -> uint8[N] codes, float32[B] scales; `signed` False: none is negative."""
    N = len(numbers_N)
    blocks = F.pad(numbers_N, (0, -N % BLOCK)).view(-1, BLOCK)
    scale_B = blocks.abs().amax(dim=1)
    quotients = blocks / torch.where(scale_B > 0, scale_B, 1.0)[:, None]
    return _codes(quotients.view(-1), signed)[:N], scale_B


def dequantize(codes_N: Tensor, scale_B: Tensor, signed: bool) -> Tensor:
    """The numbers that codes and scales say. -> float32[N]."""
    values = dynamic_values(signed).to(codes_N.device)
    numbers = values.index_select(0, codes_N.int())
    whole = len(codes_N) // BLOCK * BLOCK
    numbers[:whole].view(-1, BLOCK).mul_(scale_B[: whole // BLOCK, None])
    numbers[whole:].mul_(scale_B[whole // BLOCK :])  # of a block that is not full there is one scale
    return numbers


def _codes(quotients_N: Tensor, signed: bool) -> Tensor:
    """`nearest_codes` by a table: the upper 16 bits of a number leave two codes, its midpoint decides between them."""
    lower, midpoint = (table.to(quotients_N.device) for table in _tables(signed))
    code_N = lower.index_select(0, (quotients_N.view(torch.int32) >> 16).bitwise_and_(0xFFFF))
    above_N = quotients_N > midpoint.index_select(0, code_N)
    return code_N.add_(above_N).to(torch.uint8)


@cache
def _tables(signed: bool) -> tuple[Tensor, Tensor]:
    """For each upper half of a float32 the code of the smallest number that has it, and the midpoint behind each code.

    A half leaves 2^-8 of a number open and codes are 0.7 % apart or more, so one midpoint at most is in between.
    """
    values = dynamic_values(signed).double()
    exact = (values[1:] + values[:-1]) / 2
    midpoints = exact.float()
    below = torch.nextafter(midpoints, torch.tensor(-torch.inf))
    midpoints = torch.where(midpoints.double() > exact, below, midpoints)  # a float32 is above both or above neither
    halves = torch.arange(1 << 16, dtype=torch.int32)
    negative = halves >= 1 << 15
    smallest = torch.where(negative, (halves << 16) | 0xFFFF, halves << 16).view(torch.float32)
    codes = torch.bucketize(smallest.nan_to_num(0.0), midpoints).int()
    return codes, torch.cat([midpoints, torch.tensor([torch.inf])])
