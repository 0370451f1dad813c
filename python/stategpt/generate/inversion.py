"""Takes the token at a uniform number: inversion of the cumulative distribution, in float64.

Legend: M rows, V vocabulary, B blocks of C neighboring tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_BLOCKWISE_TOKENS, _BLOCK = 2048, 128
"""With at least this many tokens, sums of blocks of neighbors are searched first. Not a matter of the number of rows:
a row's arithmetic is the same in any batch."""


def invert(log_probs_MV: Tensor, uniform_M: Tensor) -> Tensor:
    """Returns the first token whose cumulative probability exceeds the row's uniform number. -> int64[M].

    Summed in float64, where V roundings move a boundary by less than 1e-12.
    """
    probability_MV = log_probs_MV.exp()
    if probability_MV.shape[1] < _BLOCKWISE_TOKENS:
        return _invert_sums(probability_MV.cumsum(dim=-1, dtype=torch.float64), uniform_M)
    # First among the sums of blocks, then inside the block: V float64 numbers a row are neither written nor read.
    if padding := -probability_MV.shape[1] % _BLOCK:
        probability_MV = F.pad(probability_MV, (0, padding))
    blocks_MBC = probability_MV.view(len(uniform_M), -1, _BLOCK)
    cumulated_MB = blocks_MBC.sum(dim=-1, dtype=torch.float64).cumsum(dim=-1)
    block_M = _invert_sums(cumulated_MB, uniform_M)
    inside_MC = blocks_MBC[torch.arange(len(block_M), device=block_M.device), block_M]
    inside_MC = inside_MC.cumsum(dim=-1, dtype=torch.float64)
    total_M = inside_MC[:, -1]
    before_M = cumulated_MB.gather(1, block_M[:, None])[:, 0] - total_M
    share_M = (uniform_M * cumulated_MB[:, -1] - before_M) / total_M
    return block_M * _BLOCK + _invert_sums(inside_MC, share_M.clamp(0, 1))


def row_sums(values_MV: Tensor) -> Tensor:
    """Sums of the rows in float64, added in the same order whatever the number of rows and threads. -> float64[M].

    (A sum over one long row is divided among threads, one over many rows is not.)
    """
    blocks = values_MV.shape[1] // _BLOCK
    whole_M = values_MV[:, blocks * _BLOCK :].sum(dim=-1, dtype=torch.float64)
    if blocks:
        blocks_MBC = values_MV[:, : blocks * _BLOCK].unflatten(1, (blocks, _BLOCK))  # type: ignore[no-untyped-call]
        whole_M += blocks_MBC.sum(dim=-1, dtype=torch.float64).sum(dim=-1)
    return whole_M


def _invert_sums(cumulated_MV: Tensor, uniform_M: Tensor) -> Tensor:
    """The first place whose cumulated weight exceeds the row's share of the total. -> int64[M]."""
    total_M1 = cumulated_MV[:, -1:]
    # The product can round up to the total, which no place exceeds.
    target_M1 = torch.minimum(uniform_M[:, None] * total_M1, total_M1.nextafter(torch.zeros_like(total_M1)))
    return torch.searchsorted(cumulated_MV, target_M1, right=True).squeeze(1)
