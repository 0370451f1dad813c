"""Weights in 8 bits: one scale for each output row, symmetric, w = scale * code with codes of -127 .. 127.

Legend: O output rows, W input width, M rows of the input.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

LARGEST = 127
"""-128 is left out: codes are symmetric, so no row needs an offset."""


class Int8(NamedTuple):
    """A matrix of O rows and W columns in 8.0 bits a number and 32 a row."""

    codes: Tensor
    """int8[O, W]."""
    scales: Tensor
    """float32[O]: largest absolute weight of the row / 127; 0 for a row of zeros."""


def to_int8(weight_OW: Tensor) -> Int8:
    """Quantizes a matrix: each weight becomes the nearest code of its row, at most half a scale away."""
    work = weight_OW.detach().float()
    scales_O = work.abs().amax(dim=1) / LARGEST
    # A scale that underflows to 0 would divide by it.
    codes = (work / scales_O.clamp_min(torch.finfo(torch.float32).tiny)[:, None]).round()
    return Int8(codes.clamp_(-LARGEST, LARGEST).to(torch.int8), scales_O)


def from_int8(quantized: Int8, dtype: torch.dtype = torch.float32) -> Tensor:
    """Computes scale * code in float32, then rounds it to `dtype`. -> [O, W]."""
    return (quantized.codes.float() * quantized.scales[:, None]).to(dtype)
