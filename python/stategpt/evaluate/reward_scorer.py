"""Rewards of prompts and completions under a reward model, batched by length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from stategpt.data import ChatTemplate, reward_sequence
from stategpt.model import RewardModel
from stategpt.model.prompt_rows import PromptRows, share_prompts
from stategpt.tokenizer import AnyTokenizer

Ids = NDArray[np.uint32]


class RewardScorer:
    """Appends the reward token to prompt and completion and reads the scalar there, shift included.

    Neighbors of equal prompt share it where that is less work, and equal tokens are scored once: the same completion of
    a prompt has one reward, to the last bit.
    """

    def __init__(
        self, model: RewardModel, tok: AnyTokenizer, batch_rows: int = 128, chat: ChatTemplate | None = None
    ) -> None:
        """`chat` is the tokenizer's format of prompts; None: this package's."""
        self.model, self.tok, self.batch_rows = model.eval(), tok, batch_rows
        self.chat = chat or ChatTemplate.own(tok)
        self.control = self.chat.control
        model.require_reward_token(self.control.reward)

    def scores(self, prompts: Sequence[Ids], completions: Sequence[Ids]) -> NDArray[np.float32]:
        """Rewards f32[S] in the order given; completions are used as sampled, end of text included."""
        config = self.model.gpt.config
        place_of: dict[bytes, int] = {}
        heads: list[Ids] = []
        tails: list[Ids] = []
        places = []
        for prompt, completion in zip(prompts, completions, strict=True):
            sequence = reward_sequence(prompt, completion, self.control, context_tokens=config.context_tokens)
            place = place_of.setdefault(sequence.tobytes(), len(place_of))
            places.append(place)
            if place == len(heads):
                border = len(sequence) - len(completion) - 1
                heads.append(sequence[:border])
                tails.append(sequence[border:])
        rewards = np.empty(len(heads), dtype=np.float32)
        if heads:
            for rows in share_prompts(heads, [len(tail) for tail in tails], config.width, self.batch_rows):
                chosen = [sample for row in rows for sample in row]
                rewards[chosen] = self._batch([heads[i] for i in chosen], [tails[i] for i in chosen], rows)
        return rewards[places]

    @torch.inference_mode()
    def _batch(self, heads: Sequence[Ids], tails: Sequence[Ids], rows: Sequence[range]) -> NDArray[np.float32]:
        device = next(self.model.parameters()).device
        ends = np.cumsum([len(row) for row in rows]).tolist()
        here = [range(end - len(row), end) for row, end in zip(rows, ends, strict=True)]
        laid_out = PromptRows.of(heads, tails, here, self.control.pad)
        scores_S = self.model.scores(
            *laid_out.tensors(device),
            torch.from_numpy(laid_out.first + np.array([len(tail) for tail in tails]) - 1).to(device),
        )
        return (scores_S + self.model.reward_offset).float().cpu().numpy()
