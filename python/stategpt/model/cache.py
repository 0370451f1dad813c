"""The key-value cache: keys and values of the tokens that decoding has processed.

Legend: B sequences, C slots of capacity, G key-value heads, D head width, T new tokens a sequence. N new tokens of all
sequences in one stream, H query heads.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from stategpt.config import GPTConfig
from stategpt.config.architecture import AttentionOptions
from stategpt.errors import ContextOverflow

from .joined import JoinedWeights


class StepCache(Protocol):
    """What `GPT.step` writes keys and values to, and attends over."""

    joined: list[JoinedWeights]
    """Of each layer, the joined projections that keys and values are made with."""

    def attend(self, layer: int, q_NHD: Tensor, k_NGD: Tensor, v_NGD: Tensor, options: AttentionOptions) -> Tensor:
        """Stores the keys and values of the new tokens; each then attends over those of its sequence. -> o_NHD."""
        ...


class KVCache:
    """Keys and values of B sequences of different lengths, in slots allocated once.

    Slot j of a sequence holds its token j. Slots at or beyond its length are never seen, so a batch of unlike
    prompts is padded on the right, and what the padding wrote is overwritten by the tokens that follow.
    """

    def __init__(
        self,
        keys: list[Tensor],
        values: list[Tensor],
        lengths_B: Tensor,
        max_length: int,
        equal_lengths: bool,
        joined: list[JoinedWeights],
    ) -> None:
        """Used by `allocate`, `repeat` and `select`; keys and values are [B, G, C, D] for each layer."""
        self.keys = keys
        self.values = values
        self.joined = joined
        """Of each layer, the joined projections that its keys and values were made with: like them, they are those of
        one set of weights and end with the cache."""
        self.lengths_B = lengths_B
        """int64[B]: tokens held of each sequence."""
        self.max_length = max_length
        """max(lengths_B), kept on the host."""
        self.equal_lengths = equal_lengths
        """All sequences have the same length: attention needs no mask."""
        self._next: tuple[Tensor, Tensor] | None = None

    @classmethod
    def allocate(
        cls,
        config: GPTConfig,
        batch: int,
        capacity_tokens: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> KVCache:
        """Allocates an empty cache of 2 x depth x B x G x C x D numbers.

        Raises `ContextOverflow` when the capacity exceeds the model's context.
        """
        if capacity_tokens > config.context_tokens:
            raise ContextOverflow(
                f"a cache of {capacity_tokens} tokens exceeds the context of {config.context_tokens}; allocate fewer"
            )
        shape = (batch, config.kv_heads, capacity_tokens, config.head_dim)

        def slots() -> list[Tensor]:
            return [torch.zeros(shape, device=device, dtype=dtype) for _ in range(config.depth)]

        lengths_B = torch.zeros(batch, dtype=torch.int64, device=device)
        return cls(slots(), slots(), lengths_B, 0, True, [JoinedWeights() for _ in range(config.depth)])

    @property
    def batch(self) -> int:
        """Number of sequences, B."""
        return self.lengths_B.numel()

    @property
    def capacity_tokens(self) -> int:
        """Slots per sequence, C."""
        return self.keys[0].shape[2]

    def write(self, layer: int, k_BTGD: Tensor, v_BTGD: Tensor) -> tuple[Tensor, Tensor]:
        """Appends T tokens to each sequence; returns all slots in use, [B, G, max_length + T, D] each.

        Lengths change only in `advance`, once all layers have written.
        Raises `ContextOverflow` when the slots do not suffice.
        """
        T = k_BTGD.shape[1]
        end = self.max_length + T
        if end > self.capacity_tokens:
            raise ContextOverflow(
                f"{self.max_length} cached and {T} new tokens exceed the cache's {self.capacity_tokens}; allocate more"
            )
        keys, values = self.keys[layer], self.values[layer]
        if self.equal_lengths:
            keys[:, :, self.max_length : end] = k_BTGD.transpose(1, 2)
            values[:, :, self.max_length : end] = v_BTGD.transpose(1, 2)
        else:
            rows_B1, slots_BT = self._places(T)
            keys[rows_B1, :, slots_BT] = k_BTGD.to(keys.dtype)
            values[rows_B1, :, slots_BT] = v_BTGD.to(values.dtype)
        return keys[:, :, :end], values[:, :, :end]

    def _places(self, tokens: int) -> tuple[Tensor, Tensor]:
        """Rows and slots of the next tokens, the same for all layers: made once a step."""
        if self._next is None or self._next[1].shape[1] != tokens:
            device = self.lengths_B.device
            rows_B1 = torch.arange(self.batch, device=device)[:, None]
            self._next = rows_B1, self.lengths_B[:, None] + torch.arange(tokens, device=device)
        return self._next

    def advance(self, tokens: int, valid_B: Tensor | None = None) -> None:
        """Counts `tokens` written tokens as held, or of each sequence the first `valid_B` (the rest was padding)."""
        if valid_B is None:
            self.lengths_B = self.lengths_B + tokens
            self.max_length += tokens
            self._next = None
        else:
            self._set_lengths(self.lengths_B + valid_B)

    def repeat(self, count: int) -> KVCache:
        """Repeats each sequence `count` times: one prompt's cache for `count` samples of it."""
        return self.select(torch.arange(self.batch, device=self.lengths_B.device).repeat_interleave(count))

    def select(self, rows: Tensor) -> KVCache:
        """Copies the sequences `rows` (int64), in that order, to a new cache; only the slots in use are copied."""

        def picked(slots: Tensor) -> Tensor:
            # Zeros, not whatever was there: a slot that is masked has weight 0, and 0 times NaN is NaN.
            chosen = slots.new_zeros(len(rows), *slots.shape[1:])
            torch.index_select(slots[:, :, : self.max_length], 0, rows, out=chosen[:, :, : self.max_length])
            return chosen

        keys, values = [picked(k) for k in self.keys], [picked(v) for v in self.values]
        selected = KVCache(keys, values, self.lengths_B, 0, True, self.joined)
        selected._set_lengths(self.lengths_B[rows])
        return selected

    def drop(self, finished_B: Tensor) -> Tensor:
        """Removes the sequences where `finished_B` (bool) is true, in place. -> old rows that stay, in their new order.

        Rows from the end move into the gaps, so no more is copied than has finished.
        """
        left = int((~finished_B).sum())
        rows = torch.arange(self.batch, device=finished_B.device)
        gaps, movers = rows[:left][finished_B[:left]], rows[left:][~finished_B[left:]]
        rows[gaps] = movers
        for slots in (self.keys, self.values):
            for layer, whole in enumerate(slots):
                whole[gaps, :, : self.max_length] = whole[movers, :, : self.max_length]
                slots[layer] = whole[:left]
        self._set_lengths(self.lengths_B[rows[:left]])
        return rows[:left]

    def _set_lengths(self, lengths_B: Tensor) -> None:
        self.lengths_B = lengths_B
        self._next = None
        self.max_length = int(lengths_B.max()) if lengths_B.numel() else 0
        self.equal_lengths = bool((lengths_B == self.max_length).all())
