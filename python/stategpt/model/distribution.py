"""The distribution a token is drawn from: one definition for the sampler and for what trains on it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stategpt.errors import InvalidArgument


def log_probs(logits_MV: Tensor, temperature: float, forbidden: Sequence[int] | Tensor = ()) -> Tensor:
    """log softmax(logits / temperature) with the `forbidden` ids at minus infinity. -> float32[M, V], differentiable.

    The division comes after the cast to float32. A temperature of 0 is no distribution: the sampler takes the largest
    logit without coming here.
    """
    if not temperature > 0:
        raise InvalidArgument(
            f"temperature {temperature} is no distribution to take the logarithm of; give one above 0"
        )
    scaled_MV = logits_MV.float() / temperature  # a copy, also at temperature 1
    if len(forbidden):
        scaled_MV[:, torch.as_tensor(forbidden, device=scaled_MV.device)] = float("-inf")
    return scaled_MV.log_softmax(dim=-1)
