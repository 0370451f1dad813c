"""The reward model: a GPT and one linear head, read at the reward token.

    r(prompt, completion) = head . hidden[index of the reward token] + reward_offset

The head starts with standard deviation 1 / sqrt(width + 1) and has no bias (Stiennon et al. 2020, arXiv 2009.01325);
the offset, set after training, makes written demonstrations score 0 on average.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from stategpt.config import GPTConfig
from stategpt.ops import TensorLayout
from stategpt.tokenizer import AnyTokenizer

from . import hf
from .biased_llama import kept_ids_format
from .exported_tokenizer import tokenizer_ids, write_tokenizer
from .gpt import GPT
from .sequence_head import SequenceModel
from .weights import SHARD_BYTES, common_dtype, load_model, save_weights


class RewardModel(SequenceModel):
    """Scores whole sequences; starts from the weights of `gpt` (the SFT model), which it takes over.

    Train it with `torch.optim.AdamW(model.parameter_groups(lr=..., weight_decay=...))`, as the GPT.
    """

    def __init__(self, gpt: GPT) -> None:
        super().__init__(gpt, outputs=1)
        self.reward_offset = 0.0
        """Added to `scores` to give the reward. Rankings do not show a constant, so training leaves it at 0."""

    def scores(self, tokens_N: Tensor, layout: TensorLayout, index_S: Tensor) -> Tensor:
        """Computes raw scores of S sequences at the positions `index_S` of their reward tokens. -> float32[S].

        The reward is this plus `reward_offset`.
        """
        return self.outputs(tokens_N, layout, index_S).squeeze(-1)

    @classmethod
    def from_pretrained(cls, folder: str | Path, dtype: torch.dtype | None = None) -> RewardModel:
        """Loads the reward model in `folder`, in eval mode. `dtype` and errors as `GPT.from_pretrained`."""
        found = hf.read_config(Path(folder), head="ForSequenceClassification")

        def build(config: GPTConfig) -> RewardModel:
            """Builds the model of a config."""
            return cls(GPT(config, found.special_ids))

        names = hf.names_of(found.family, hf.reward_tensor_name)
        model = load_model(build, found.config, Path(folder), names, dtype)
        model.reward_offset = found.reward_offset
        return model.eval()

    def save_pretrained(
        self,
        folder: str | Path,
        tok: AnyTokenizer | None = None,
        *,
        manifest: bool = False,
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        """Writes model.safetensors and config.json; `transformers` loads them as sequence classification, one label.

        It computes `scores` there: config.json holds `reward_offset`, which nothing adds. With `tok` the folder also
        holds the tokenizer's files, and the chat template ends in the reward token.
        `manifest`, `shard_bytes` and errors as `GPT.save_pretrained`.
        """
        shape = self.gpt.config
        ids = self.gpt.special_ids if tok is None else tokenizer_ids(tok, shape)
        found = hf.reward_config(shape, ids, common_dtype(self), self.reward_offset)
        config, biases = (found, {}) if tok is None else kept_ids_format(found, shape, tok)
        names = hf.names_of(hf.saved_family(shape), hf.reward_tensor_name)
        save_weights(self, _untrained, shape, Path(folder), names, manifest, biases, shard_bytes)
        hf.write_config(Path(folder), config)
        if tok is not None:
            write_tokenizer(Path(folder), tok, shape.context_tokens, scores=True)


def _untrained(config: GPTConfig) -> RewardModel:
    return RewardModel(GPT(config))
