"""Weights in 4 bits: NF4 with double quantization (Dettmers et al. 2023, QLoRA, arXiv 2305.14314).

The 16 codes are the quantiles of a normal distribution, scaled to -1 .. 1, and exactly 0 is one of them. A block of 64
weights has one scale, its largest absolute weight. Scales are quantized, too: their mean is subtracted, and blocks of
256 of them become int8 with one float32 scale. Bits a weight: 4 + 8/64 + 32/(64 * 256) = 4.127.

Weights are taken row by row as one flat sequence, as in the paper; the last blocks are filled up with zeros.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 64
"""Weights that share a scale."""
SCALE_BLOCK = 256
"""Scales that share a scale."""
LARGEST = 127

CODES = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)
"""NF4's values, as the paper's appendix E lists them."""


class NF4(NamedTuple):
    """N weights in 4-bit codes, B = ceil(N / 64) block scales in 8 bits."""

    codes: Tensor
    """uint8[ceil(N / 64) * 32]: weight 2i in the high four bits of byte i, weight 2i + 1 in the low ones."""
    scales: Tensor
    """int8[ceil(B / 256) * 256]: block scales less their mean, in units of their `steps`."""
    steps: Tensor
    """float32[ceil(B / 256)]."""
    mean: Tensor
    """float32[]: mean of the block scales."""


def to_nf4(weight: Tensor) -> NF4:
    """Quantizes a tensor: each weight becomes the nearest code of its block."""
    flat = weight.detach().float().flatten()
    blocks_B64 = F.pad(flat, (0, -flat.numel() % BLOCK)).view(-1, BLOCK)
    largest_B = blocks_B64.abs().amax(dim=1)
    table = torch.tensor(CODES, device=weight.device)
    scaled_B64 = blocks_B64 / largest_B.clamp_min(torch.finfo(torch.float32).tiny)[:, None]
    nearest = torch.bucketize(scaled_B64, (table[1:] + table[:-1]) / 2, out_int32=True).to(torch.uint8)
    pairs = nearest.view(-1, 2)
    return NF4((pairs[:, 0] << 4) | pairs[:, 1], *_to_int8_scales(largest_B))


def _to_int8_scales(largest_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    mean = largest_B.mean()
    groups_G256 = F.pad(largest_B - mean, (0, -largest_B.numel() % SCALE_BLOCK)).view(-1, SCALE_BLOCK)
    steps_G = groups_G256.abs().amax(dim=1) / LARGEST
    scales = (groups_G256 / steps_G.clamp_min(torch.finfo(torch.float32).tiny)[:, None]).round()
    return scales.clamp_(-LARGEST, LARGEST).to(torch.int8).flatten(), steps_G, mean


def block_scales(quantized: NF4) -> Tensor:
    """Computes the scale of every block. -> float32[B]."""
    groups_G256 = quantized.scales.view(-1, SCALE_BLOCK).float() * quantized.steps[:, None] + quantized.mean
    return groups_G256.flatten()[: quantized.codes.numel() * 2 // BLOCK]


def from_nf4(quantized: NF4, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """Computes scale * code in float32, then rounds it to `dtype`. -> `shape`.

    A table of all bytes gives two weights at a time: half as many look-ups as with a table of the 16 codes.
    """
    table = torch.tensor(CODES, device=quantized.codes.device)
    pairs_256x2 = torch.stack((table.repeat_interleave(16), table.repeat(16)), dim=1)
    values_B64 = pairs_256x2[quantized.codes.int()].view(-1, BLOCK)
    weights = values_B64.mul_(block_scales(quantized)[:, None]).view(-1)
    return weights[: prod(shape)].view(shape).to(dtype)
