"""Drawing tokens: temperature, top-k, top-p, and random numbers that belong to the sample, not to the batch.

Legend: M rows to draw for, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stategpt.data.randomness import uniforms
from stategpt.errors import InvalidArgument
from stategpt.model import log_probs
from stategpt.shown_fields import documented, short_repr


@documented
@dataclass(frozen=True)
class Sampler:
    """How tokens are drawn. Raises `InvalidArgument` for a value that means nothing."""

    temperature: float = 1.0
    """Divides the logits; 0 takes the likeliest token."""
    top_k: int | None = None
    """Draw from the k likeliest tokens only."""
    top_p: float | None = None
    """Draw from the smallest set of likeliest tokens that holds this probability (Holtzman et al. 2020, 1904.09751)."""
    forbidden: Sequence[int] = ()
    """Ids that are never drawn."""
    seed: int = 0
    """First counter of every random number."""

    __repr__ = short_repr

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise InvalidArgument(f"temperature is {self.temperature}; give 0 (the likeliest token) or more")
        if self.top_k is not None and self.top_k < 1:
            raise InvalidArgument(f"top_k is {self.top_k}; give at least 1, or None for all tokens")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise InvalidArgument(f"top_p is {self.top_p}; give a share above 0 and at most 1, or None")

    def draw(self, logits_MV: Tensor, stream_M: NDArray[np.int64], sample_M: NDArray[np.int64], position: int) -> Draw:
        """One token for each row, by the uniform number of (seed, stream, sample, position) alone."""
        distribution_MV = self.distribution(logits_MV)
        if self.temperature == 0:
            ids_M = distribution_MV.argmax(dim=-1)
        else:
            uniform_M = torch.from_numpy(uniforms(self.seed, stream_M, sample_M, position)).to(logits_MV.device)
            ids_M = invert(distribution_MV, uniform_M)
        chosen_M = distribution_MV.gather(1, ids_M[:, None]).squeeze(1)
        return Draw(ids_M, chosen_M)

    def distribution(self, logits_MV: Tensor) -> Tensor:
        """Log-probabilities that tokens are drawn by, -inf where never. -> float32[M, V].

        At temperature 0 they are those of temperature 1: what the model thinks of the token it takes.
        """
        all_MV = log_probs(logits_MV, self.temperature or 1.0, self.forbidden)
        return truncate(all_MV, self.top_k, self.top_p)


@documented
@dataclass(frozen=True)
class Draw:
    """One token for each of M rows."""

    ids_M: Tensor
    """int64 token ids."""
    log_probs_M: Tensor
    """float32 log-probability of each under the distribution it was drawn from."""

    __repr__ = short_repr


def truncate(log_probs_MV: Tensor, top_k: int | None, top_p: float | None) -> Tensor:
    """Keeps the `top_k` likeliest tokens, then the fewest of them that hold `top_p`; the rest gets -inf. Renormalised.

    Of equally likely tokens the smaller id comes first. `top_p` is a share of what `top_k` left.
    """
    if top_k is None and top_p is None:
        return log_probs_MV
    sorted_MV, order_MV = log_probs_MV.sort(dim=-1, descending=True, stable=True)
    keep_MV = torch.ones_like(sorted_MV, dtype=torch.bool)
    if top_k is not None:
        keep_MV[:, top_k:] = False
    if top_p is not None:
        kept_MV = sorted_MV.masked_fill(~keep_MV, float("-inf")).softmax(dim=-1, dtype=torch.float64)
        # A token stays if those before it do not yet hold top_p: the first always does.
        keep_MV &= kept_MV.cumsum(dim=-1) - kept_MV < top_p
    kept_MV = torch.zeros_like(keep_MV).scatter(1, order_MV, keep_MV)
    return log_probs_MV.masked_fill(~kept_MV, float("-inf")).log_softmax(dim=-1)


def invert(log_probs_MV: Tensor, uniform_M: Tensor) -> Tensor:
    """The first token whose cumulated probability exceeds the row's uniform number. -> int64[M].

    Summed in float64, where V roundings move a border by less than 1e-12.
    """
    cumulated_MV = log_probs_MV.exp().cumsum(dim=-1, dtype=torch.float64)
    total_M1 = cumulated_MV[:, -1:]
    # The product can round up to the total, which no token exceeds.
    target_M1 = torch.minimum(uniform_M[:, None] * total_M1, total_M1.nextafter(torch.zeros_like(total_M1)))
    return torch.searchsorted(cumulated_MV, target_M1, right=True).squeeze(1)
