"""The reward model: a GPT and one linear head, read at the reward token.

    r(prompt, completion) = head . hidden[index of the reward token] + reward_offset

The head starts with standard deviation 1 / sqrt(width + 1) and has no bias (Stiennon et al. 2020, arXiv 2009.01325);
the offset, set after training, makes written demonstrations score 0 on average.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stategpt.arguments import instance
from stategpt.config import GPTConfig
from stategpt.errors import ForeignArtifact
from stategpt.ops import TensorLayout
from stategpt.tokenizer import AnyTokenizer

from . import hf
from .biased_llama import kept_ids_format
from .exported_tokenizer import tokenizer_ids, write_tokenizer
from .gguf_import import is_gguf
from .gpt import GPT
from .joined import is_plain
from .parameter_groups import ParameterGroup, parameter_groups
from .weights import SHARD_BYTES, common_dtype, load_model, save_weights


class RewardModel(nn.Module):
    """Scores whole sequences; starts from the weights of `gpt` (the SFT model), which it takes over.

    Train it with `torch.optim.AdamW(model.parameter_groups(lr=..., weight_decay=...))`, as the GPT.
    """

    def __init__(self, gpt: GPT) -> None:
        super().__init__()
        instance("gpt", gpt, GPT, "As in sg.RewardModel(sg.GPT.from_pretrained(folder)).")
        if gpt.lm_head is not None:
            gpt.lm_head = None  # predicts nothing here; kept, it would be saved and decayed for no use
        self.gpt = gpt
        self.head = nn.Linear(gpt.config.width, 1, bias=False)
        nn.init.normal_(self.head.weight, std=(gpt.config.width + 1) ** -0.5)
        self.head.to(gpt.device)
        self.reward_offset = 0.0
        """Added to `scores` to give the reward. Rankings do not show a constant, so training leaves it at 0."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.gpt.device

    def parameter_groups(self, lr: float, weight_decay: float) -> list[ParameterGroup]:
        """Parameter groups for an optimizer, instead of `parameters()`; see `GPT.parameter_groups`."""
        return parameter_groups(self, lr, weight_decay)

    def learning_rate_scales(self) -> dict[str, float]:
        """Factor on the head's learning rate; those inside `gpt` are its own.

        The head reads the output of the last norm, which in a tied model is 1/s of the usual size, s = sqrt(width): its
        rate is s times the others'.
        """
        scale = self.gpt.embedding_scale
        return {} if scale == 1.0 else {"head.weight": scale}

    def scores(self, tokens_N: Tensor, layout: TensorLayout, index_S: Tensor) -> Tensor:
        """Computes raw scores of S sequences at the positions `index_S` of their reward tokens. -> float32[S].

        The reward is this plus `reward_offset`.
        """
        hidden_SW = self.gpt.hidden(tokens_N, layout)[index_S]
        # In float32 also under autocast: bfloat16 has 3 digits and would make ties.
        with torch.autocast(hidden_SW.device.type, enabled=False):
            if is_plain(self.head, nn.Linear):
                return F.linear(hidden_SW.float(), self.head.weight.float()).squeeze(-1)
            return self.head(hidden_SW.float()).float().squeeze(-1)  # type: ignore[no-any-return]

    @classmethod
    def from_pretrained(cls, folder: str | Path, dtype: torch.dtype | None = None) -> RewardModel:
        """Loads the reward model in `folder`, in eval mode. `dtype` and errors as `GPT.from_pretrained`.

        GGUF files hold language models only: `ForeignArtifact`.
        """
        if is_gguf(folder):
            raise ForeignArtifact(f"{folder}: GGUF files hold language models; give the folder of a reward model")
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
