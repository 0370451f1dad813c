"""Top-k, top-p, min-p and typical truncation without sorting the vocabulary, each row by limits that are its own.

A row keeps a few dozen of 10^5 tokens. The `NARROW` most likely are selected first. Only rows that they do not decide
need the slower method: a flat distribution, whose cut-off is beyond them, or more tokens of equal probability than were
selected. Those rows count tokens or mass in bins of log-probability and sort the tokens of the bin with the cut-off.

Which of both a row takes depends on its numbers and limits alone, and the arithmetic of both is row by row: what is
kept of a row, and with which bits, is the same in any batch.

Legend: M rows, V vocabulary, R of the rows, K tokens looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .inversion import row_sums

NARROW = 128
"""Number of most likely tokens among which the cut-off is searched first."""
_BLOCK = 32
"""Neighboring tokens of which the largest is taken before tokens are selected."""
_NATS = 32
"""Range of log-probability below the largest that is divided into bins; the last bin holds all smaller values."""
_MAX_BINS = 4096
_SUM_ERROR = 2e-6
"""More than the relative error of float32 exponentials (1e-7) added in float64."""
_LEAST = -1e4
"""Replaces a log-probability of minus infinity in p log p, which is 0 there."""


class Limits(NamedTuple):
    """What of each row is kept; the limits are applied in this order, each to what the one before left."""

    top_k_M: Tensor
    """int64: number of most likely tokens; V or more keeps all."""
    top_p_M: Tensor
    """float64: probability that the fewest most likely tokens hold; 1 keeps all."""
    min_p_M: Tensor
    """float64: least share of the largest probability; 0 keeps all."""
    typical_p_M: Tensor
    """float64: probability that the fewest tokens nearest to the entropy hold; 1 keeps all."""

    @classmethod
    def equal(
        cls,
        like_MV: Tensor,
        top_k: int | None = None,
        top_p: float | None = None,
        min_p: float | None = None,
        typical_p: float | None = None,
    ) -> Limits:
        """The same limits for every row of `like_MV`; None keeps all."""
        M, V = like_MV.shape
        top_k_M = torch.full((M,), V if top_k is None else min(top_k, V), device=like_MV.device)
        shares = [(top_p, 1.0), (min_p, 0.0), (typical_p, 1.0)]
        return cls(top_k_M, *(top_k_M.double().fill_(all_ if share is None else share) for share, all_ in shares))

    def of(self, rows_R: Tensor) -> Limits:
        """The limits of some rows."""
        return Limits(*(limit_M[rows_R] for limit_M in self))

    def cuts_most_likely(self, vocabulary: int) -> Tensor:
        """Whether a row is cut by top-k, top-p or min-p, each of which keeps most likely tokens. -> bool[M]."""
        return (self.top_k_M < vocabulary) | (self.top_p_M < 1) | (self.min_p_M > 0)


class Kept(NamedTuple):
    """The truncated distribution of R of the rows."""

    rows_R: Tensor
    """int64: which rows."""
    ids_RK: Tensor
    """int64, ascending in each row; not all of them are kept."""
    log_probs_RK: Tensor
    """float32, renormalized; -inf where a token is not kept."""


def truncate(log_probs_MV: Tensor, limits: Limits) -> Tensor:
    """The renormalized log-probabilities of what is kept, the rest -inf. -> float32[M, V].

    Of equally likely tokens, and of equally typical ones, the smaller id comes first.
    """
    result_MV = torch.full_like(log_probs_MV, -math.inf)
    for rows_R, ids_RK, kept_RK in kept_tokens(log_probs_MV, limits):
        result_MV[rows_R[:, None], ids_RK] = kept_RK
    return result_MV


def kept_tokens(log_probs_MV: Tensor, limits: Limits) -> Iterator[Kept]:
    """Yields the tokens that `truncate` keeps, in at most three groups of rows."""
    M, V = log_probs_MV.shape
    rows_M = torch.arange(M, device=log_probs_MV.device)
    cut_M = limits.cuts_most_likely(V) | (limits.typical_p_M < 1)
    is_wide_M = ~cut_M | ((limits.top_k_M > NARROW) & (limits.top_k_M < V))
    if not bool(cut_M.all()):
        rows_R = rows_M[~cut_M]
        yield Kept(rows_R, torch.arange(V, device=rows_M.device).expand(len(rows_R), V), log_probs_MV[rows_R])
    narrow_R = rows_M[~is_wide_M]
    unsettled = []
    if len(narrow_R):
        some_RV, some = _some(log_probs_MV, limits, narrow_R)
        kept, settled_R = _narrow(some_RV, some)
        if bool(settled_R.any()):
            yield Kept(narrow_R[settled_R], kept.ids_RK[settled_R], kept.log_probs_RK[settled_R])
        unsettled = [narrow_R[~settled_R]]
    wide_R = torch.cat([rows_M[is_wide_M & cut_M], *unsettled]).sort().values  # in order: `_some` takes all as they are
    if len(wide_R):
        yield _wide(wide_R, *_some(log_probs_MV, limits, wide_R))


def _some(log_probs_MV: Tensor, limits: Limits, rows_R: Tensor) -> tuple[Tensor, Limits]:
    """Some rows; all of them without a copy."""
    is_all = len(rows_R) == len(log_probs_MV)
    return (log_probs_MV, limits) if is_all else (log_probs_MV[rows_R], limits.of(rows_R))


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


def _narrow(log_probs_RV: Tensor, limits: Limits) -> tuple[Kept, Tensor]:
    """What is kept of the most likely tokens, and which rows cannot keep any other token. -> Kept, bool[R]."""
    R, V = log_probs_RV.shape
    ids_RK, values_RK = _most_likely(log_probs_RV, min(NARROW + 1, V))
    sorted_RK, order_RK = values_RK.sort(dim=-1, descending=True, stable=True)
    largest_R1 = sorted_RK[:, :1].double()
    keep_RK = _most_likely_kept(log_probs_RV, sorted_RK, largest_R1, limits)
    last_kept_R1 = keep_RK.sum(dim=-1, keepdim=True).sub_(1).clamp_(min=0)
    settled_R = sorted_RK.gather(1, last_kept_R1)[:, 0] > sorted_RK[:, -1]
    keep_RK = torch.zeros_like(keep_RK).scatter_(1, order_RK, keep_RK)
    is_typical_R = limits.typical_p_M < 1
    if bool(is_typical_R.any()):
        cut_R = limits.cuts_most_likely(V)
        keep_RK[is_typical_R], decided_R = _typical(
            log_probs_RV[is_typical_R],
            values_RK[is_typical_R],
            keep_RK[is_typical_R],
            cut_R[is_typical_R],
            limits.typical_p_M[is_typical_R, None],
        )
        settled_R[is_typical_R] = torch.where(cut_R[is_typical_R], settled_R[is_typical_R], decided_R)
    relative_RK = (values_RK.double() - largest_R1).masked_fill_(~keep_RK, -math.inf)
    # Added one by one: the same bits however many tokens were looked at.
    total_R1 = relative_RK.exp().cumsum(dim=-1)[:, -1:]
    kept = Kept(torch.arange(R, device=ids_RK.device), ids_RK, (relative_RK - total_R1.log()).float())
    return kept, settled_R


def _most_likely_kept(log_probs_RV: Tensor, sorted_RK: Tensor, largest_R1: Tensor, limits: Limits) -> Tensor:
    """Which of the K most likely tokens top-k, top-p and min-p keep, most likely first. -> bool[R, K]."""
    V, K = log_probs_RV.shape[1], sorted_RK.shape[1]
    top_k_R1, top_p_R1, min_p_R1 = limits.top_k_M[:, None], limits.top_p_M[:, None], limits.min_p_M[:, None]
    keep_RK = (sorted_RK > -math.inf) & (torch.arange(K, device=sorted_RK.device) < top_k_R1)
    relative_RK = sorted_RK.double() - largest_R1
    by_mass_R = limits.top_p_M < 1
    if bool(by_mass_R.any()):
        weights_RK = relative_RK.exp().masked_fill_(~keep_RK, 0.0)
        total_R1 = weights_RK.cumsum(dim=-1)[:, -1:]
        by_all_R = by_mass_R & (limits.top_k_M >= V)
        if bool(by_all_R.any()):
            total_R1[by_all_R] = _total(
                log_probs_RV[by_all_R], largest_R1[by_all_R], weights_RK[by_all_R], top_p_R1[by_all_R]
            )
        keep_RK &= (_before(weights_RK / total_R1) < top_p_R1) | ~by_mass_R[:, None]
    return keep_RK & (relative_RK >= min_p_R1.log())


def _total(log_probs_RV: Tensor, largest_R1: Tensor, weights_RK: Tensor, top_p_R1: Tensor) -> Tensor:
    """The weight of all tokens relative to the largest; exact where a border of the K is close to `top_p`."""
    total_R1 = row_sums(log_probs_RV.exp())[:, None] * (-largest_R1).exp()
    close_R = ((_before(weights_RK / total_R1) - top_p_R1).abs() <= _SUM_ERROR).any(dim=1)
    if bool(close_R.any()):
        exact = (log_probs_RV[close_R].double() - largest_R1[close_R]).exp_()
        total_R1[close_R] = row_sums(exact)[:, None]
    return total_R1


def _typical(
    log_probs_RV: Tensor, values_RK: Tensor, keep_RK: Tensor, cut_R: Tensor, typical_p_R1: Tensor
) -> tuple[Tensor, Tensor]:
    """Which of the K tokens (ids ascending) are typical, and whether no other token can be. -> bool[R, K], bool[R].

    Where `cut_R`, the distribution is that of the tokens in `keep_RK`, otherwise that of all V.
    """
    surprise_RK, entropy_R1 = _surprise(values_RK.masked_fill(~keep_RK, -math.inf))
    if not bool(cut_R.all()):
        whole_RV = log_probs_RV[~cut_R]
        normalizer_R1, entropy_R1[~cut_R] = _entropy(whole_RV)
        surprise_RK[~cut_R] = normalizer_R1 - values_RK[~cut_R].double()
    far_RK = (surprise_RK - entropy_R1).abs_()
    weights_RK = (-surprise_RK).exp()
    sorted_RK, order_RK = far_RK.sort(dim=-1, stable=True)
    before_RK = _before(weights_RK.gather(1, order_RK))
    first_RK = (before_RK < typical_p_R1) & (sorted_RK < math.inf)
    last_R1 = first_RK.sum(dim=-1, keepdim=True).sub_(1).clamp_(min=0)
    typical_RK = torch.zeros_like(first_RK).scatter_(1, order_RK, first_RK)
    # The others are at most as likely as the least likely of the K, so at least as far above the entropy.
    others_R1 = surprise_RK.amax(dim=-1, keepdim=True) - entropy_R1
    is_nearer_R = (sorted_RK.gather(1, last_R1) < others_R1)[:, 0]
    held_R = (weights_RK * typical_RK).cumsum(dim=-1)[:, -1]
    return typical_RK, is_nearer_R & ((held_R >= typical_p_R1[:, 0]) | (others_R1[:, 0] == math.inf))


def _surprise(values_RK: Tensor) -> tuple[Tensor, Tensor]:
    """-log p of the renormalized tokens, and their entropy, added one by one. -> float64[R, K], float64[R, 1]."""
    values_RK = values_RK.double()
    relative_RK = values_RK - values_RK.amax(dim=-1, keepdim=True)
    surprise_RK = relative_RK.exp().cumsum(dim=-1)[:, -1:].log() - relative_RK
    terms_RK = (-surprise_RK).exp() * surprise_RK.clamp(max=-_LEAST)
    return surprise_RK, terms_RK.cumsum(dim=-1)[:, -1:]


def _entropy(log_probs_RV: Tensor) -> tuple[Tensor, Tensor]:
    """The logarithm of the total, and the entropy in nats of the renormalized rows. -> float64[R, 1] twice."""
    probs_RV = log_probs_RV.exp()
    total_R1 = row_sums(probs_RV)[:, None]
    moment_R1 = row_sums(probs_RV.mul_(log_probs_RV.clamp(min=_LEAST)))[:, None]
    return total_R1.log(), total_R1.log() - moment_R1 / total_R1


def _wide(rows_R: Tensor, log_probs_RV: Tensor, limits: Limits) -> Kept:
    """Truncates rows in which any token of the vocabulary may be kept."""
    R, V = log_probs_RV.shape
    left_RV = log_probs_RV.clone()

    def cut(these_R: Tensor, keep_SV: Tensor) -> None:
        if len(keep_SV) == R:
            left_RV.masked_fill_(~keep_SV, -math.inf)
        else:
            left_RV[these_R] = left_RV[these_R].masked_fill_(~keep_SV, -math.inf)

    if bool((by_k_R := limits.top_k_M < V).any()):
        ones_SV = torch.ones((), dtype=torch.float64, device=rows_R.device).expand(int(by_k_R.sum()), V)
        cut(by_k_R, _first(left_RV[by_k_R], ones_SV, limits.top_k_M[by_k_R, None]))
    if bool((by_mass_R := limits.top_p_M < 1).any()):
        some_SV = left_RV[by_mass_R]
        cut(by_mass_R, _first(some_SV, some_SV.softmax(dim=-1, dtype=torch.float64), limits.top_p_M[by_mass_R, None]))
    if bool((by_share_R := limits.min_p_M > 0).any()):
        some_SV = left_RV[by_share_R].double()
        least_S1 = some_SV.amax(dim=-1, keepdim=True) + limits.min_p_M[by_share_R, None].log()
        cut(by_share_R, some_SV >= least_S1)
    if bool((is_typical_R := limits.typical_p_M < 1).any()):
        some_SV = left_RV[is_typical_R]
        normalizer_S1, entropy_S1 = _entropy(some_SV)
        surprise_SV = normalizer_S1 - some_SV.double()
        near_SV = (surprise_SV - entropy_S1).abs_().neg_()
        cut(is_typical_R, _first(near_SV, surprise_SV.neg_().exp_(), limits.typical_p_M[is_typical_R, None]))
    return Kept(rows_R, torch.arange(V, device=rows_R.device).expand(R, V), left_RV.log_softmax(dim=-1))


def _first(values_RV: Tensor, weights_RV: Tensor, limit_R1: Tensor) -> Tensor:
    """True for a token if those before it (more likely, or as likely with a smaller id) weigh less than the limit."""
    R, V = values_RV.shape
    bins = min(_MAX_BINS, max(16, V // 16))
    bins_RV = (values_RV.amax(dim=-1, keepdim=True) - values_RV).mul_(bins / _NATS).clamp_(max=bins - 1).long()
    weight_RB = weights_RV.new_zeros(R, bins).scatter_add_(1, bins_RV, weights_RV)
    before_RB = _before(weight_RB)
    border_R1 = (before_RB < limit_R1).sum(dim=-1, keepdim=True) - 1
    rows, ids = (bins_RV == border_R1).nonzero(as_tuple=True)
    counts_R = torch.bincount(rows, minlength=R)
    place = torch.arange(len(rows), device=rows.device) - (counts_R.cumsum(0) - counts_R)[rows]
    inside_RK = values_RV.new_full((R, int(counts_R.max())), -math.inf)
    inside_RK[rows, place] = values_RV[rows, ids]
    inner_weights_RK = torch.zeros_like(inside_RK, dtype=torch.float64)
    inner_weights_RK[rows, place] = weights_RV[rows, ids]
    order_RK = inside_RK.sort(dim=-1, descending=True, stable=True).indices
    base_R1 = before_RB.gather(1, border_R1)
    first_RK = _before(inner_weights_RK.gather(1, order_RK)) + base_R1 < limit_R1
    first_RK = torch.zeros_like(first_RK).scatter_(1, order_RK, first_RK)
    keep_RV = bins_RV < border_R1
    keep_RV[rows, ids] = first_RK[rows, place]
    return keep_RV


def _before(weights_RK: Tensor) -> Tensor:
    """The sum of the weights before each."""
    return weights_RK.cumsum(dim=-1) - weights_RK
