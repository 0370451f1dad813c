"""A classifier: a GPT and a linear head over C labels, read at the last token of a text.

    scores(text) = W . hidden[index of the text's last token]          one number a label; softmax gives probabilities

The last token is the only one that has seen the whole text. It is the end of text, which stands after every text
(`text_batch.text_ids`): the same token each time, as the one that Radford et al. 2018, section 3.2, add for this.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from stategpt.config import GPTConfig
from stategpt.data.chats import ChatTemplate
from stategpt.errors import InvalidArgument
from stategpt.ops import TensorLayout
from stategpt.tokenizer import AnyTokenizer

from . import hf
from .exported_tokenizer import tokenizer_ids
from .folder import SEQUENCE_MODEL, Texts, load_folder, local_folder, save_folder
from .gpt import GPT
from .padding import with_padding
from .sequence_head import SequenceModel
from .special_ids import SpecialIds
from .weights import SHARD_BYTES, common_dtype


class Classifier(SequenceModel):
    """Gives a text one score for each label; starts from the weights of `gpt`, which it takes over.

    Raises `InvalidArgument` for fewer than two labels, or one that is named twice.
    """

    def __init__(self, gpt: GPT, labels: Sequence[str]) -> None:
        self_labels = tuple(labels)
        if len(self_labels) < 2 or len(set(self_labels)) != len(self_labels):
            raise InvalidArgument(f"labels are {list(self_labels)!r:.100}; give two or more different names")
        super().__init__(gpt, outputs=len(self_labels))
        self.labels = self_labels
        """Names of the classes, in the order of the scores."""

    def scores(self, tokens_N: Tensor, layout: TensorLayout, last_S: Tensor) -> Tensor:
        """Computes the scores of S texts whose last tokens are at the positions `last_S`. -> float32[S, C]."""
        return self.outputs(tokens_N, layout, last_S)

    @classmethod
    def from_pretrained(cls, folder: str | Path, dtype: torch.dtype | None = None) -> Classifier:
        """Loads the classifier in `folder`, in eval mode. `dtype` and errors as `GPT.from_pretrained`.

        `folder` may be a name on the Hub. GGUF files hold language models only: `ForeignArtifact`.
        """
        place = local_folder(folder, "classifier")

        def build(config: GPTConfig, ids: SpecialIds) -> Classifier:
            """Builds the model of a shape; config.json is verified by now."""
            return cls(GPT(config, ids), hf.read_labels(place))

        model, found = load_folder(place, SEQUENCE_MODEL, build, dtype)
        model.gpt.initialized_here = found.initialized_here
        return model

    def save_pretrained(
        self,
        folder: str | Path,
        tok: AnyTokenizer | None = None,
        chat: ChatTemplate | None = None,
        *,
        manifest: bool = False,
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        """Writes model.safetensors and config.json; `transformers` loads them as sequence classification.

        config.json names the labels (`id2label`). With `tok` the folder also holds the tokenizer's files, which put
        what begins a text before it and what ends one after it; rows are padded with another token. `manifest`,
        `shard_bytes` and errors as `GPT.save_pretrained`.
        """
        shape = self.gpt.config
        ids = self.gpt.special_ids
        if tok is not None:
            ids = with_padding(tok, tokenizer_ids(tok, shape, ids, chat))
        found = hf.classifier_config(shape, ids, common_dtype(self), self.labels)
        found |= hf.origin_json(self.gpt.initialized_here)

        def untrained(config: GPTConfig) -> Classifier:
            """Builds a model with the same parameters."""
            return Classifier(GPT(config), self.labels)

        save_folder(
            self,
            Path(folder),
            SEQUENCE_MODEL,
            untrained,
            shape,
            found,
            ids,
            None if tok is None else Texts(tok, chat, ends=True),
            manifest=manifest,
            shard_bytes=shard_bytes,
        )
