"""The ids that a token was drawn among, and the distribution over them of another policy.

A policy that is sampled with top-k, top-p and the like is the renormalized distribution over the kept ids. A policy
that is trained on such samples must be renormalized over the **same** ids: the mean of the ratio new / old is then 1.
With each policy's own kept ids, or with none, it is not (a token that one keeps and the other does not).

Legend: M tokens, V vocabulary, N ids of all M tokens together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stategpt.errors import InvalidArgument
from stategpt.shown_fields import documented, short_repr


@documented
@dataclass(frozen=True)
class KeptSet:
    """The ids that one token was drawn among, or those that it was not: the shorter list."""

    ids: NDArray[np.uint32]
    """Ids, ascending."""
    is_removed: bool
    """The ids are those that could not be drawn."""

    __repr__ = short_repr

    @classmethod
    def of(cls, kept_V: NDArray[np.bool_]) -> KeptSet:
        """The set in which an id is kept where `kept_V` is true."""
        kept, removed = np.flatnonzero(kept_V), np.flatnonzero(~kept_V)
        is_removed = len(removed) < len(kept)
        return cls((removed if is_removed else kept).astype(np.uint32), is_removed)


def log_probs_within(logits_MV: Tensor, kept: Sequence[KeptSet], temperature: float = 1.0) -> Tensor:
    """log softmax(logits / temperature) over each row's kept ids, -inf elsewhere. -> float32[M, V], differentiable.

    Raises:
        InvalidArgument: a row without a set, an id outside the vocabulary, a temperature of 0.
    """
    M, V = logits_MV.shape
    if len(kept) != M:
        raise InvalidArgument(f"{len(kept)} kept sets for {M} rows of logits; give one for each")
    if not temperature > 0:
        raise InvalidArgument(
            f"temperature {temperature} is no distribution to take the logarithm of; give one above 0"
        )
    lengths_M = np.array([len(row.ids) for row in kept], dtype=np.int64)
    ids_N = np.concatenate([row.ids for row in kept] or [np.empty(0, dtype=np.uint32)]).astype(np.int64)
    if ids_N.size and ids_N.max() >= V:
        raise InvalidArgument(f"a kept set holds id {ids_N.max()}, the logits are of ids 0 .. {V - 1}")
    removed_M = torch.tensor([row.is_removed for row in kept], dtype=torch.bool)
    excluded_MV = (~removed_M)[:, None].repeat(1, V)
    rows_N = torch.from_numpy(np.repeat(np.arange(M), lengths_M))
    excluded_MV[rows_N, torch.from_numpy(ids_N)] = removed_M[rows_N]
    scaled_MV = logits_MV.float() / temperature
    return scaled_MV.masked_fill(excluded_MV.to(logits_MV.device), -torch.inf).log_softmax(dim=-1)
