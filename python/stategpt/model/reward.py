"""The reward model: a GPT and one linear head, read at the reward token.

    r(prompt, completion) = head . hidden[index of the reward token] + reward_offset

The head starts with standard deviation 1 / sqrt(width + 1) and has no bias (Stiennon et al. 2020, arXiv 2009.01325);
the offset, set after training, makes written demonstrations score 0 on average.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from stategpt.data import AnyTokenizer
from stategpt.errors import CorruptArtifact
from stategpt.ops import TensorLayout

from . import export, hf
from .gpt import GPT


class RewardModel(nn.Module):
    """Scores whole sequences; starts from the weights of `gpt` (the SFT model), which it takes over."""

    def __init__(self, gpt: GPT) -> None:
        super().__init__()
        if gpt.lm_head is not None:
            gpt.lm_head = None  # predicts nothing here; kept, it would be saved and decayed for no use
        self.gpt = gpt
        self.head = nn.Linear(gpt.config.width, 1, bias=False)
        nn.init.normal_(self.head.weight, std=(gpt.config.width + 1) ** -0.5)
        self.to(gpt.device)
        self.reward_offset = 0.0
        """Added to `scores` to give the reward. Rankings do not show a constant, so training leaves it at 0."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.gpt.device

    def scores(self, tokens_N: Tensor, layout: TensorLayout, index_S: Tensor) -> Tensor:
        """Raw scores of S sequences, read at their reward tokens' places in the stream, `index_S`. -> float32[S].

        The reward is this plus `reward_offset`.
        """
        hidden_SW = self.gpt.hidden(tokens_N, layout)[index_S]
        # In float32 also under autocast: bfloat16 has 3 digits and would make ties.
        with torch.autocast(hidden_SW.device.type, enabled=False):
            return self.head(hidden_SW.float()).squeeze(-1)  # type: ignore[no-any-return]

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> RewardModel:
        """The reward model saved in `folder`, in eval mode. Raises as `GPT.from_pretrained`."""
        config, found = hf.read_config(Path(folder), head="ForSequenceClassification")
        offset = found.get("reward_offset", 0.0)
        if not isinstance(offset, int | float):
            raise CorruptArtifact(f"{folder}: reward_offset in {hf.CONFIG_FILE} is {offset!r}, not a number")
        model = cls(GPT(config))
        hf.load_weights(model, Path(folder), hf.reward_tensor_name)
        model.reward_offset = float(offset)
        return model.eval()

    def save_pretrained(self, folder: str | Path, tok: AnyTokenizer | None = None) -> None:
        """Writes model.safetensors and config.json; `transformers` loads them as sequence classification, one label.

        They compute `scores`: config.json holds `reward_offset`, which nothing there adds. With `tok` the folder also
        holds the tokenizer's files, and the chat template ends in the reward token. Raises as `GPT.save_pretrained`.
        """
        export.save_reward_model(self, Path(folder), self.gpt.config, self.reward_offset, tok)
