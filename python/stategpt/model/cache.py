"""What a step of decoding needs of a key-value cache.

Legend: N new tokens of all sequences in one stream, H query heads, G key-value heads, D head width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from stategpt.config.architecture import AttentionOptions

from .joined import JoinedWeights

if TYPE_CHECKING:
    from .fused_step import Floats, FusedWeights, Heads


class StepCache(Protocol):
    """What `GPT.step` writes keys and values to, and attends over."""

    joined: list[JoinedWeights]
    """Of each layer, the joined projections that keys and values are made with."""
    fused: FusedWeights | None
    """The weights of the fused step, where the cache has `attend_joined`."""

    def attend(self, layer: int, q_NHD: Tensor, k_NGD: Tensor, v_NGD: Tensor, options: AttentionOptions) -> Tensor:
        """Stores the keys and values of the new tokens; each then attends over those of its sequence. -> o_NHD."""
        ...

    def attend_joined(self, layer: int, qkv_NE: Floats, heads: Heads, options: AttentionOptions) -> Floats:
        """The same from the joint projection [N, (H + 2 G) D], whose heads are not yet normed. -> [N, H D]."""
        ...
