"""Models with biases on queries, keys and values, saved so that `transformers` keeps their tokenizer's ids.

Only Qwen2 has these three biases alone, but for its folders `transformers` 5 always builds Qwen's own tokenizer (NFC
and a pre-tokenizer) around the vocabulary, whatever tokenizer_config.json says. With another tokenizer the model is
therefore saved as a Llama with `attention_bias`, which has a fourth bias, on the output projection: zeros here, so the
logits are equal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from stategpt.artifacts import Json
from stategpt.config import GPTConfig
from stategpt.data import AnyTokenizer, Tokenizer
from stategpt.errors import ForeignArtifact

_OUTPUT_BIAS = ".self_attn.o_proj.bias"


def is_saved_as_llama(config: GPTConfig, tok: AnyTokenizer | None) -> bool:
    """Whether a model of shape `config` needs Llama's format for the ids of `tok` to be kept."""
    return config.attention_bias and tok is not None and not is_qwens_own(tok)


def is_qwens_own(tok: AnyTokenizer) -> bool:
    """Whether `tok` normalizes and splits text as `Qwen2Tokenizer` of `transformers` does, so that its ids are kept."""
    if not isinstance(tok, Tokenizer) or tok.pattern != "qwen":
        return False
    found = json.loads(tok._to_json())
    byte_level = found["pre_tokenizer"]["pretokenizers"][-1]
    return (
        found["normalizer"] == {"type": "NFC"}
        and not byte_level["add_prefix_space"]
        and not found["model"]["ignore_merges"]
        and all(token["special"] and not _has_conditions(token) for token in found["added_tokens"])
    )


def _has_conditions(added_token: Mapping[str, Json]) -> bool:
    """Whether what surrounds a special token in a text, or normalization, decides if it is one."""
    return any(added_token[name] for name in ("single_word", "lstrip", "rstrip", "normalized"))


def as_llama(config: Mapping[str, Json]) -> dict[str, Json]:
    """config.json of a Qwen2 model as that of the equal Llama."""
    architectures = [name.replace("Qwen2", "Llama") for name in cast("list[str]", config["architectures"])]
    return {**config, "model_type": "llama", "architectures": architectures}


def zero_output_biases(config: GPTConfig, dtype: torch.dtype) -> dict[str, Tensor]:
    """The output biases that a Llama has and this model does not, by their names on disk."""
    names = (f"model.layers.{layer}{_OUTPUT_BIAS}" for layer in range(config.depth))
    return {name: torch.zeros(config.width, dtype=dtype) for name in names}


def drop_zero_output_biases(tensors: dict[str, Tensor], path: Path) -> None:
    """Removes output biases of zeros from what was read of `path`: without them the logits are the same.

    Raises:
        ForeignArtifact: one is not zero; the message names it.
    """
    for name in [name for name in tensors if name.endswith(_OUTPUT_BIAS)]:
        if torch.count_nonzero(tensors[name]) > 0:
            raise ForeignArtifact(
                f"{path}: {name} is not zero, and a bias on the output projection is not computed here; "
                "this model cannot be loaded"
            )
        del tensors[name]
