"""Scores of prompt and completion pairs under a reward model, in batches of like length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from stategpt.data import AnyTokenizer, ControlTokens, reward_sequence
from stategpt.model import RewardModel
from stategpt.ops import TensorLayout
from stategpt.train.batches import pad_sequences

Ids = NDArray[np.uint32]


class RewardScorer:
    """Appends the reward token to prompt and completion and reads the scalar there, shift included."""

    def __init__(self, model: RewardModel, tok: AnyTokenizer, batch_rows: int = 128) -> None:
        self.model, self.control, self.batch_rows = model.eval(), ControlTokens.of(tok), batch_rows

    def scores(self, prompts: Sequence[Ids], completions: Sequence[Ids]) -> NDArray[np.float32]:
        """Rewards f32[S] in the order given; completions are used as sampled, end of text included."""
        context = self.model.gpt.config.context_tokens
        sequences = [
            reward_sequence(prompt, completion, self.control, context_tokens=context)
            for prompt, completion in zip(prompts, completions, strict=True)
        ]
        lengths = np.array([len(sequence) for sequence in sequences])
        order = np.argsort(lengths, kind="stable")
        rewards = np.empty(len(sequences), dtype=np.float32)
        for first in range(0, len(order), self.batch_rows):
            chosen = order[first : first + self.batch_rows]
            rewards[chosen] = self._batch([sequences[i] for i in chosen])
        return rewards

    @torch.inference_mode()
    def _batch(self, sequences: Sequence[Ids]) -> NDArray[np.float32]:
        device = next(self.model.parameters()).device
        padded = pad_sequences(sequences, self.control.pad)
        index = padded.starts() + np.array([len(sequence) for sequence in sequences]) - 1
        scores_S = self.model.scores(
            torch.from_numpy(padded.tokens).to(device),
            TensorLayout.of(padded.layout, device),
            torch.from_numpy(index).to(device),
        )
        return (scores_S + self.model.reward_offset).float().cpu().numpy()
