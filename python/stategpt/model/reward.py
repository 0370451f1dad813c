"""The reward model: a GPT and one linear head, read at the reward token.

    r(prompt, completion) = head . hidden[index of the reward token] + reward_offset

The head starts with standard deviation 1 / sqrt(width + 1) and has no bias (Stiennon et al. 2020, arXiv 2009.01325);
the offset, set after training, makes written demonstrations score 0 on average.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from stategpt.config import GPTConfig
from stategpt.data.chats import ChatTemplate
from stategpt.data.control_ids import has_own_block
from stategpt.errors import ForeignArtifact
from stategpt.ops import TensorLayout
from stategpt.tokenizer import AnyTokenizer

from . import hf
from .embedding_growth import grow_embedding
from .exported_tokenizer import tokenizer_ids
from .folder import SEQUENCE_MODEL, Texts, load_folder, local_folder, save_folder
from .gpt import GPT
from .padding import scoring_pad
from .sequence_head import SequenceModel
from .special_ids import SpecialIds
from .weights import SHARD_BYTES, common_dtype


class RewardModel(SequenceModel):
    """Scores whole sequences; starts from the weights of `gpt` (the SFT model), which it takes over.

    Train it with `torch.optim.AdamW(model.parameter_groups(lr=..., weight_decay=...))`, as the GPT.
    """

    def __init__(self, gpt: GPT) -> None:
        super().__init__(gpt, outputs=1)
        self.reward_offset = 0.0
        """Added to `scores` to give the reward. Rankings do not show a constant, so training leaves it at 0."""
        self.reward_token: int | None = None
        """Id of the reward token that it learned with, where that is not of this package's tokenizers."""

    def hold_reward_token(self, token: int) -> None:
        """Sets the reward token of another model's tokenizer, which the model is to learn with and its folder records.

        The embedding grows where it has no such row.
        """
        grow_embedding(self.gpt, max(self.gpt.config.vocab_size, token + 1))
        self.reward_token = token

    def require_reward_token(self, token: int) -> None:
        """Refuses a reward token that the model did not learn with.

        Raises:
            ForeignArtifact: it learned with another, or its embedding has no such row.
        """
        if self.reward_token not in (None, token) or token >= self.gpt.config.vocab_size:
            known = f"id {self.reward_token}" if self.reward_token is not None else f"{self.gpt.config.vocab_size} ids"
            raise ForeignArtifact(
                f"the reward would be read at the token {token}, and the reward model learned with {known}; give the "
                "tokenizer and the chat template that it was trained with"
            )

    def scores(self, tokens_N: Tensor, layout: TensorLayout, index_S: Tensor) -> Tensor:
        """Computes raw scores of S sequences at the positions `index_S` of their reward tokens. -> float32[S].

        The reward is this plus `reward_offset`.
        """
        return self.outputs(tokens_N, layout, index_S).squeeze(-1)

    @classmethod
    def from_pretrained(cls, folder: str | Path, dtype: torch.dtype | None = None) -> RewardModel:
        """Loads the reward model in `folder`, in eval mode. `dtype` and errors as `GPT.from_pretrained`.

        GGUF files hold language models only: `ForeignArtifact`.
        """

        def build(config: GPTConfig, ids: SpecialIds) -> RewardModel:
            """Builds the model of a shape."""
            return cls(GPT(config, ids))

        model, found = load_folder(local_folder(folder, "reward model"), SEQUENCE_MODEL, build, dtype)
        model.reward_offset, model.reward_token = found.reward_offset, found.reward_token
        model.gpt.initialized_here = found.initialized_here
        return model

    def save_pretrained(
        self,
        folder: str | Path,
        tok: AnyTokenizer | None = None,
        chat: ChatTemplate | None = None,
        *,
        reward_id: int | None = None,
        manifest: bool = False,
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        """Writes model.safetensors and config.json; `transformers` loads them as sequence classification, one label.

        It computes `scores` there: config.json holds `reward_offset`, which nothing adds. With `tok` the folder also
        holds the tokenizer's files, and the chat template ends in the reward token. With a tokenizer of another model
        that is `reward_id`; without it the last token of the rendered chat is scored. Its padding is a token that no
        scored text ends with.
        `manifest`, `shard_bytes` and errors as `GPT.save_pretrained`.
        """
        shape = self.gpt.config
        reward_id = self.reward_token if reward_id is None else reward_id
        ids = self.gpt.special_ids if tok is None else tokenizer_ids(tok, shape, self.gpt.special_ids, chat)
        if tok is not None and not has_own_block(tok):
            ids = replace(ids, pad=scoring_pad(tok, ids, reward_id))
        found = hf.reward_config(shape, ids, common_dtype(self), self.reward_offset)
        found |= hf.origin_json(self.gpt.initialized_here)
        if self.reward_token is not None:
            found["reward_token_id"] = self.reward_token
        texts = None if tok is None else Texts(tok, chat, scores=True, reward_id=reward_id)
        save_folder(
            self,
            Path(folder),
            SEQUENCE_MODEL,
            _untrained,
            shape,
            found,
            ids,
            texts,
            manifest=manifest,
            shard_bytes=shard_bytes,
        )


def _untrained(config: GPTConfig) -> RewardModel:
    return RewardModel(GPT(config))
