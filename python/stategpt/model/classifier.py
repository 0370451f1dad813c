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
from .biased_llama import kept_ids_format
from .exported_tokenizer import tokenizer_ids, write_tokenizer
from .gpt import GPT
from .sequence_head import SequenceModel
from .text_ends import with_padding
from .weights import SHARD_BYTES, common_dtype, load_model, save_weights


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
        """Loads the classifier in `folder`, in eval mode. `dtype` and errors as `GPT.from_pretrained`."""
        found = hf.read_config(Path(folder), head="ForSequenceClassification")
        labels = hf.read_labels(Path(folder))

        def build(config: GPTConfig) -> Classifier:
            """Builds the model of a config."""
            return cls(GPT(config, found.special_ids), labels)

        names = hf.names_of(found.family, hf.reward_tensor_name)
        model = load_model(build, found.config, Path(folder), names, dtype)
        model.gpt.initialized_here = found.initialized_here
        return model.eval()

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
        config, biases = (found, {}) if tok is None else kept_ids_format(found, shape, tok)
        names = hf.names_of(hf.saved_family(shape), hf.reward_tensor_name)

        def untrained(config: GPTConfig) -> Classifier:
            """Builds a model with the same parameters."""
            return Classifier(GPT(config), self.labels)

        save_weights(self, untrained, shape, Path(folder), names, manifest, biases, shard_bytes)
        hf.write_config(Path(folder), config)
        if tok is not None:
            write_tokenizer(Path(folder), tok, ids, chat, shape.context_tokens, scores=False, ends=True)
