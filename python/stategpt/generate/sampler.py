"""Samples tokens: temperature, top-k, top-p, and random numbers that depend on the sample, not on the batch.

Legend: M rows to draw for, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from stategpt.errors import InvalidArgument
from stategpt.model import log_probs
from stategpt.randomness import uniforms
from stategpt.shown_fields import documented, short_repr

from .truncation import kept_tokens, truncate

_CACHED_NUMBERS = 1 << 20
"""Logits that a CPU draws from at a time: temporaries in float64 then stay in its cache, and do not grow with M x V."""

_BLOCKWISE_NUMBERS, _BLOCK = 1 << 16, 128
"""With at least this many probabilities, sums of blocks of neighboring tokens are searched first."""


@documented
@dataclass(frozen=True)
class Sampler:
    """Settings by which tokens are drawn. Raises `InvalidArgument` for a value out of range."""

    temperature: float = 1.0
    """Divides the logits; 0 takes the most likely token."""
    top_k: int | None = None
    """Draw from the k most likely tokens only."""
    top_p: float | None = None
    """Draw from the fewest most likely tokens that hold this probability (Holtzman et al. 2020, arXiv 1904.09751)."""
    forbidden: Sequence[int] = ()
    """Ids that are never drawn."""
    seed: int = 0
    """First counter of every random number."""

    __repr__ = short_repr

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise InvalidArgument(f"temperature is {self.temperature}; give 0 (the most likely token) or more")
        if self.top_k is not None and self.top_k < 1:
            raise InvalidArgument(f"top_k is {self.top_k}; give at least 1, or None for all tokens")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise InvalidArgument(f"top_p is {self.top_p}; give a share above 0 and at most 1, or None")

    def draw(self, logits_MV: Tensor, stream_M: NDArray[np.int64], sample_M: NDArray[np.int64], position: int) -> Draw:
        """Draws one token for each row, by the uniform number of (seed, stream, sample, position) alone."""
        M, V = logits_MV.shape
        uniform_M = None
        if self.temperature > 0:
            uniform_M = torch.from_numpy(uniforms(self.seed, stream_M, sample_M, position)).to(logits_MV.device)
        rows = M if logits_MV.device.type != "cpu" else max(1, _CACHED_NUMBERS // V)
        parts = [
            self._draw(logits_MV[first : first + rows], None if uniform_M is None else uniform_M[first : first + rows])
            for first in range(0, max(M, 1), rows)
        ]
        return Draw(*parts[0]) if len(parts) == 1 else Draw(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def _draw(self, logits_MV: Tensor, uniform_M: Tensor | None) -> tuple[Tensor, Tensor]:
        """By the uniform numbers, or the most likely tokens."""
        if not self._truncates:
            all_MV = self._log_probs(logits_MV)
            ids_M = all_MV.argmax(dim=-1) if uniform_M is None else invert(all_MV, uniform_M)
            return ids_M, all_MV.gather(1, ids_M[:, None])[:, 0]
        ids_M = torch.empty(len(logits_MV), dtype=torch.int64, device=logits_MV.device)
        chosen_M = torch.empty(len(logits_MV), dtype=torch.float32, device=logits_MV.device)
        for rows_R, ids_RK, kept_RK in kept_tokens(self._log_probs(logits_MV), self.top_k, self.top_p):
            place_R = kept_RK.argmax(dim=-1) if uniform_M is None else invert(kept_RK, uniform_M[rows_R])
            ids_M[rows_R] = ids_RK.gather(1, place_R[:, None])[:, 0]
            chosen_M[rows_R] = kept_RK.gather(1, place_R[:, None])[:, 0]
        return ids_M, chosen_M

    def distribution(self, logits_MV: Tensor) -> Tensor:
        """Returns the log-probabilities by which tokens are drawn, -inf for excluded ones. -> float32[M, V].

        At temperature 0 they are those of temperature 1: what the model thinks of the token it takes.
        """
        return truncate(self._log_probs(logits_MV), self.top_k, self.top_p)

    def _log_probs(self, logits_MV: Tensor) -> Tensor:
        return log_probs(logits_MV, self.temperature or 1.0, self._forbidden_ids)

    @property
    def _truncates(self) -> bool:
        return self.top_k is not None or self.top_p is not None

    @cached_property
    def _forbidden_ids(self) -> Tensor:
        """A padded vocabulary forbids thousands of ids: made once, not for each token."""
        return torch.tensor(self.forbidden, dtype=torch.int64)


@documented
@dataclass(frozen=True)
class Draw:
    """One token for each of M rows."""

    ids_M: Tensor
    """int64 token ids."""
    log_probs_M: Tensor
    """float32 log-probability of each under the distribution it was drawn from."""

    __repr__ = short_repr


def invert(log_probs_MV: Tensor, uniform_M: Tensor) -> Tensor:
    """Returns the first token whose cumulative probability exceeds the row's uniform number. -> int64[M].

    Summed in float64, where V roundings move a boundary by less than 1e-12.
    """
    probability_MV = log_probs_MV.exp()
    if probability_MV.numel() < _BLOCKWISE_NUMBERS:
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


def _invert_sums(cumulated_MV: Tensor, uniform_M: Tensor) -> Tensor:
    """The first place whose cumulated weight exceeds the row's share of the total. -> int64[M]."""
    total_M1 = cumulated_MV[:, -1:]
    # The product can round up to the total, which no place exceeds.
    target_M1 = torch.minimum(uniform_M[:, None] * total_M1, total_M1.nextafter(torch.zeros_like(total_M1)))
    return torch.searchsorted(cumulated_MV, target_M1, right=True).squeeze(1)
