"""Weights of several layers joined into one matrix, which a key-value cache keeps for all its decoding steps.

Training joins them again in each step, since gradients flow through the join. Decoding a token at a time would spend up
to a third of a step on it. The joined copy belongs to a key-value cache, which is valid for one set of weights anyway,
and not to the model: fused optimizers change a parameter without raising its version, so nothing could tell whether a
copy that outlives the cache is up to date.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor, nn


class Joined(NamedTuple):
    """Projections of queries, keys and values as one; H query heads, G key and as many value heads, of width D."""

    weight: Tensor
    """[(H + 2G) D, W]."""
    bias: Tensor | None
    """[(H + 2G) D]."""
    norm: Tensor | None
    """[H + G, D]: the query norm's weight for each query head, then the key norm's for each key head."""


class JoinedWeights:
    """The joined weights of one attention; joined again when a source was replaced, moved or changed in place."""

    def __init__(self) -> None:
        self._sources: list[Tensor] = []
        self._marks: list[tuple[int, int]] = []
        self._joined: Joined | None = None

    def of(self, sources: Sequence[Tensor], join: Callable[[], Joined]) -> Joined:
        """What `join` made of `sources`; it is called only if they are not what they were."""
        marks = [(source.data_ptr(), -1 if source.is_inference() else source._version) for source in sources]
        same = len(sources) == len(self._sources) and all(a is b for a, b in zip(sources, self._sources, strict=True))
        if self._joined is None or not same or marks != self._marks:
            self._sources, self._marks, self._joined = list(sources), marks, join()
        return self._joined


def is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    """`module` computes what its class `kind` says: no subclass, no hook, no other `forward`."""
    return type(module) is kind and not (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or "forward" in module.__dict__
    )
