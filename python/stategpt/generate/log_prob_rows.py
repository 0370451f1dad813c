"""Log-probabilities that are reported: of the model itself, at temperature 1 and with nothing removed but padding.

Legend: M or T rows, V vocabulary, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stategpt.errors import InvalidArgument
from stategpt.ops import logit_rows

from .truncation import Limits, kept_tokens


class TopLogProbs(NamedTuple):
    """The most likely tokens of one row, most likely first; of equally likely ones the smaller id."""

    ids: NDArray[np.uint32]
    log_probs: NDArray[np.float32]


class ScoredTokens(NamedTuple):
    """What a model thinks of a text."""

    log_probs_T: NDArray[np.float32]
    """Log-probability of each token, given those before it."""
    top: list[TopLogProbs]
    """The most likely tokens at the place of each; empty unless they are wanted."""


def raw_log_probs(logits_MV: Tensor, vocabulary: int | None = None) -> Tensor:
    """log softmax of the first `vocabulary` ids; the others, a model's padding, are at -inf. -> float32[M, V]."""
    work_MV = logits_MV.float()
    if vocabulary is not None and vocabulary < work_MV.shape[1]:
        padding_V = torch.arange(work_MV.shape[1], device=work_MV.device) >= vocabulary
        work_MV = work_MV.masked_fill(padding_V, -torch.inf)
    return work_MV.log_softmax(dim=-1)


def most_likely(log_probs_MV: Tensor, counts: Sequence[int], vocabulary: int | None = None) -> list[TopLogProbs]:
    """The `counts[m]` most likely tokens of row m, by partial selection; never padding."""
    M, V = log_probs_MV.shape
    limits = Limits.equal(log_probs_MV)
    known = V if vocabulary is None else min(vocabulary, V)
    most_M = [min(count, known) for count in counts]
    limits = limits._replace(top_k_M=torch.tensor(most_M, device=log_probs_MV.device))
    found: dict[int, TopLogProbs] = {}
    for rows_R, ids_RK, kept_RK in kept_tokens(log_probs_MV, limits):
        values_RK = log_probs_MV[rows_R[:, None], ids_RK].masked_fill(kept_RK == -torch.inf, -torch.inf)
        most = min(int(max(counts)), values_RK.shape[1])
        # Selected, then sorted: ids ascend, so a stable sort keeps equally likely tokens in the order of their ids.
        sorted_RK, order_RK = (part[:, :most].cpu() for part in values_RK.sort(dim=-1, descending=True, stable=True))
        top_RK = ids_RK.cpu().gather(1, order_RK).numpy().astype(np.uint32)
        for row, ids, values in zip(rows_R.tolist(), top_RK, sorted_RK.numpy(), strict=True):
            held = values[: most_M[row]] > -np.inf
            found[row] = TopLogProbs(ids[: len(held)][held], values[: len(held)][held])
    return [found[row] for row in range(M)]


def score_tokens(
    unembed: Callable[[Tensor], Tensor],
    hidden_TW: Tensor,
    ids: NDArray[np.uint32],
    *,
    top_log_probs: int = 0,
    vocabulary: int | None = None,
    max_rows: int | None = None,
) -> ScoredTokens:
    """Log-probabilities of a text or prompt from its hidden states; logits of a chunk of rows exist at a time.

    Args:
        unembed: hidden states to logits.
        hidden_TW: hidden state that predicts each of `ids`: the one of the token before it.
        ids: the T tokens that are scored.
        top_log_probs: number of most likely tokens to report at each place.
        vocabulary: number of ids with text, as of `draw`.
        max_rows: most rows whose logits exist at a time; by default `ops.logit_rows`.
    """
    if len(hidden_TW) != len(ids):
        raise InvalidArgument(f"{len(hidden_TW)} hidden states for {len(ids)} ids; give the one before each id")
    scored = np.empty(len(ids), dtype=np.float32)
    top: list[TopLogProbs] = []
    ids_T = torch.from_numpy(np.asarray(ids).astype(np.int64)).to(hidden_TW.device)
    first = 0
    rows = max_rows or 1
    while first < len(ids):
        logits_MV = unembed(hidden_TW[first : first + rows])
        if max_rows is None:  # the vocabulary is known with the first logits
            max_rows = logit_rows(logits_MV.shape[1])
        part = slice(first, first + len(logits_MV))
        all_MV = raw_log_probs(logits_MV, vocabulary)
        scored[part] = all_MV.gather(1, ids_T[part, None])[:, 0].cpu().numpy()
        if top_log_probs:
            top.extend(most_likely(all_MV, [top_log_probs] * len(all_MV), vocabulary))
        first, rows = part.stop, max_rows
    return ScoredTokens(scored, top)
