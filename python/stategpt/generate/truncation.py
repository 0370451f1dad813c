"""Top-k and top-p truncation without sorting the vocabulary.

A row keeps a few dozen of 10^5 tokens. The `NARROW` most likely are selected first. Only rows that they do not decide
need the slower method: a flat distribution, whose cut-off is beyond them, or more tokens of equal probability than were
selected. Those rows count tokens or mass in bins of log-probability and sort the tokens of the bin with the cut-off.

Legend: M rows, V vocabulary, R of the rows, K tokens looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

NARROW = 128
"""Number of most likely tokens among which the cut-off is searched first."""
_BLOCK = 32
"""Neighboring tokens of which the largest is taken before tokens are selected."""
_NATS = 32
"""Range of log-probability below the largest that is divided into bins; the last bin holds all smaller values."""
_MAX_BINS = 4096
_SUM_ERROR = 2e-6
"""More than the relative error of float32 exponentials (1e-7) added in float64."""


class Kept(NamedTuple):
    """The truncated distribution of R of the rows."""

    rows_R: Tensor
    """int64: which rows."""
    ids_RK: Tensor
    """int64, ascending in each row; not all of them are kept."""
    log_probs_RK: Tensor
    """float32, renormalized; -inf where a token is not kept."""


def truncate(log_probs_MV: Tensor, top_k: int | None, top_p: float | None) -> Tensor:
    """Keeps the `top_k` most likely tokens, then the fewest of them that hold `top_p`; renormalized, the rest -inf.

    Of equally likely tokens the smaller id comes first. `top_p` is a share of what `top_k` left; 1 is all of it.
    """
    result_MV = torch.full_like(log_probs_MV, -math.inf)
    for rows_R, ids_RK, kept_RK in kept_tokens(log_probs_MV, top_k, top_p):
        result_MV[rows_R[:, None], ids_RK] = kept_RK
    return result_MV


def kept_tokens(log_probs_MV: Tensor, top_k: int | None, top_p: float | None) -> Iterator[Kept]:
    """Yields the tokens that `truncate` keeps, in at most two groups of rows."""
    M, V = log_probs_MV.shape
    top_k = None if top_k is None or top_k >= V else top_k
    top_p = None if top_p == 1 else top_p
    rows_M = torch.arange(M, device=log_probs_MV.device)
    if top_k is None and top_p is None:
        yield Kept(rows_M, torch.arange(V, device=rows_M.device).expand(M, V), log_probs_MV)
        return
    most = min(NARROW, V - 1) if top_k is None else top_k
    if most > NARROW or most == 0:
        yield _wide(rows_M, log_probs_MV, top_k, top_p)
        return
    ids_MK, values_MK = _most_likely(log_probs_MV, most + 1)
    keep_MK, settled_M = _narrow(log_probs_MV, values_MK, top_k, top_p)
    if bool(settled_M.any()):
        kept_RK = values_MK.masked_fill(~keep_MK, -math.inf)[settled_M].double().log_softmax(dim=-1).float()
        yield Kept(rows_M[settled_M], ids_MK[settled_M], kept_RK)
    if not bool(settled_M.all()):
        rows_R = rows_M[~settled_M]
        yield _wide(rows_R, log_probs_MV[rows_R], top_k, top_p)


def _most_likely(log_probs_MV: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Ids, ascending, and values of the `count` most likely tokens; of ties for the last place any may be taken."""
    M, V = log_probs_MV.shape
    blocks = V // _BLOCK
    if 2 * count > blocks:
        ids_MK = log_probs_MV.topk(count).indices
    else:  # a block of one of them is among the `count` blocks with the largest maxima
        inside_MBC = log_probs_MV[:, : blocks * _BLOCK].unflatten(1, (blocks, _BLOCK))  # type: ignore[no-untyped-call]
        block_MK = inside_MBC.amax(dim=-1).topk(count).indices
        found_M = inside_MBC.gather(1, block_MK[:, :, None].expand(-1, -1, _BLOCK)).flatten(1)
        within_C = torch.arange(_BLOCK, device=block_MK.device)
        ids_M = (block_MK[:, :, None] * _BLOCK + within_C).flatten(1)
        rest = torch.arange(blocks * _BLOCK, V, device=block_MK.device).expand(M, -1)
        found_M, ids_M = torch.cat((found_M, log_probs_MV[:, rest[0]]), 1), torch.cat((ids_M, rest), 1)
        ids_MK = ids_M.gather(1, found_M.topk(count).indices)
    ids_MK = ids_MK.sort(dim=-1).values
    return ids_MK, log_probs_MV.gather(1, ids_MK)


def _narrow(log_probs_MV: Tensor, values_MK: Tensor, top_k: int | None, top_p: float | None) -> tuple[Tensor, Tensor]:
    """Which of the K tokens are kept, and which rows cannot keep any other token. -> bool[M, K], bool[M]."""
    sorted_MK, order_MK = values_MK.sort(dim=-1, descending=True, stable=True)
    keep_MK = sorted_MK > -math.inf
    if top_k is not None:
        keep_MK[:, top_k:] = False
    if top_p is not None:
        largest_M1 = sorted_MK[:, :1].double()
        weights_MK = (sorted_MK.double() - largest_M1).exp_().masked_fill_(~keep_MK, 0.0)
        if top_k is not None:
            total_M1 = weights_MK.sum(dim=-1, keepdim=True)
        else:
            total_M1 = log_probs_MV.exp().sum(dim=-1, keepdim=True, dtype=torch.float64) * (-largest_M1).exp()
            close_M = ((_before(weights_MK / total_M1) - top_p).abs() <= _SUM_ERROR).any(dim=1)
            if bool(close_M.any()):
                exact = (log_probs_MV[close_M].double() - largest_M1[close_M]).exp_()
                total_M1[close_M] = exact.sum(dim=-1, keepdim=True)
        keep_MK &= _before(weights_MK / total_M1) < top_p
    last_kept_M1 = keep_MK.sum(dim=-1, keepdim=True).sub_(1).clamp_(min=0)
    settled_M = sorted_MK.gather(1, last_kept_M1)[:, 0] > sorted_MK[:, -1]
    return torch.zeros_like(keep_MK).scatter_(1, order_MK, keep_MK), settled_M


def _wide(rows_R: Tensor, log_probs_RV: Tensor, top_k: int | None, top_p: float | None) -> Kept:
    """Truncates rows in which any token of the vocabulary may be kept."""
    R, V = log_probs_RV.shape
    left_RV = log_probs_RV
    if top_k is not None:
        keep_RV = _first(left_RV, torch.ones((), dtype=torch.float64, device=rows_R.device).expand(R, V), top_k)
        left_RV = left_RV.masked_fill(~keep_RV, -math.inf)
    if top_p is not None:
        keep_RV = _first(left_RV, left_RV.softmax(dim=-1, dtype=torch.float64), top_p)
        left_RV = left_RV.masked_fill(~keep_RV, -math.inf)
    return Kept(rows_R, torch.arange(V, device=rows_R.device).expand(R, V), left_RV.log_softmax(dim=-1))


def _first(values_RV: Tensor, weights_RV: Tensor, limit: float) -> Tensor:
    """True for a token if those before it (more likely, or as likely with a smaller id) weigh less than `limit`."""
    R, V = values_RV.shape
    bins = min(_MAX_BINS, max(16, V // 16))
    bins_RV = (values_RV.amax(dim=-1, keepdim=True) - values_RV).mul_(bins / _NATS).clamp_(max=bins - 1).long()
    weight_RB = weights_RV.new_zeros(R, bins).scatter_add_(1, bins_RV, weights_RV)
    before_RB = _before(weight_RB)
    border_R1 = (before_RB < limit).sum(dim=-1, keepdim=True) - 1
    rows, ids = (bins_RV == border_R1).nonzero(as_tuple=True)
    counts_R = torch.bincount(rows, minlength=R)
    place = torch.arange(len(rows), device=rows.device) - (counts_R.cumsum(0) - counts_R)[rows]
    inside_RK = values_RV.new_full((R, int(counts_R.max())), -math.inf)
    inside_RK[rows, place] = values_RV[rows, ids]
    inner_weights_RK = torch.zeros_like(inside_RK, dtype=torch.float64)
    inner_weights_RK[rows, place] = weights_RV[rows, ids]
    order_RK = inside_RK.sort(dim=-1, descending=True, stable=True).indices
    base_R1 = before_RB.gather(1, border_R1)
    first_RK = _before(inner_weights_RK.gather(1, order_RK)) + base_R1 < limit
    first_RK = torch.zeros_like(first_RK).scatter_(1, order_RK, first_RK)
    keep_RV = bins_RV < border_R1
    keep_RV[rows, ids] = first_RK[rows, place]
    return keep_RV


def _before(weights_RK: Tensor) -> Tensor:
    """The sum of the weights before each."""
    return weights_RK.cumsum(dim=-1) - weights_RK
