"""Decoding over pages for tests of models: the next tokens of several sequences, without an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from stategpt.model import GPT


class Decoding:
    """`batch` sequences of `model`, at first empty; a call computes the next tokens of each."""

    def __init__(self, model: GPT, batch: int = 1, dtype: torch.dtype | None = None) -> None:
        from stategpt.generate.pages import PagedSequence, PagePool, pages_of

        self.model = model
        pages = batch * pages_of(model.config.context_tokens)
        self.pool = PagePool(model.config, pages=pages, dtype=dtype or model.dtype)
        self.rows = [PagedSequence(self.pool) for _ in range(batch)]

    def __call__(self, tokens_BT: Tensor, valid_B: list[int] | None = None) -> Tensor:
        """Normed hidden states [B, T, W]; of each sequence the first `valid_B` tokens count, the rest is padding."""
        from stategpt.generate.pages import PagedStep

        valid = valid_B or [tokens_BT.shape[1]] * len(self.rows)
        step = PagedStep(self.pool, list(zip(self.rows, valid, strict=True)))
        tokens = torch.cat([row[:count] for row, count in zip(tokens_BT, valid, strict=True)])
        hidden_NW = self.model.step(tokens, step.position_N, step)
        step.commit()
        return torch.nn.utils.rnn.pad_sequence(list(hidden_NW.split(valid)), batch_first=True)
