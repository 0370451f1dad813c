"""Models with biases on queries, keys and values, saved so that `transformers` keeps their tokenizer's ids.

Only Qwen2 has these three biases alone, but for its folders `transformers` 5 always builds Qwen's own tokenizer (NFC
and a pre-tokenizer) around the vocabulary, whatever tokenizer_config.json says. With another tokenizer the model is
therefore saved as a Llama with `attention_bias`, which has a fourth bias, on the output projection: zeros here, so the
logits are equal.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import cast

import torch
from torch import Tensor

from stategpt.artifacts import Json
from stategpt.config import GPTConfig
from stategpt.config.families import FAMILIES
from stategpt.errors import CorruptArtifact, ForeignArtifact
from stategpt.tokenizer import AnyTokenizer, Tokenizer

from .safetensors_file import FLOATS
from .weight_files import WeightSource


def kept_ids_format(
    found: dict[str, Json], config: GPTConfig, tok: AnyTokenizer
) -> tuple[dict[str, Json], dict[str, Tensor]]:
    """Returns config.json in a format that keeps the ids of `tok`, and its tensors that the model does not have.

    `found` is config.json in the format of the shape `config`.
    """
    family, llama = config.family, FAMILIES["llama"]
    if family is None or not family.own_tokenizer or is_qwens_own(tok):
        return found, {}
    architectures = [name.replace(family.name, llama.name) for name in cast("list[str]", found["architectures"])]
    biases = {name: torch.zeros(config.width) for name in _output_biases(config)}
    return found | {"model_type": llama.model_type, "architectures": architectures}, biases


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


def zero_output_biases(file: WeightSource, config: GPTConfig) -> set[str]:
    """Returns the names of the output biases in `file`, all zero: without them the logits are the same.

    Raises:
        ForeignArtifact: one is not zero; the message names it.
        CorruptArtifact: one has another shape, or values that are not finite.
    """
    if not config.attention_bias:
        return set()
    names = {n for n in _output_biases(config) if n in file.tensors and file.tensors[n].dtype in FLOATS}
    for name in sorted(names):
        stored = file.tensors[name]
        if stored.shape != (config.width,):
            raise CorruptArtifact(f"{file.path}: {name} is {list(stored.shape)}, config.json says [{config.width}]")
        if torch.count_nonzero(file.read(name, FLOATS[stored.dtype])) > 0:
            raise ForeignArtifact(
                f"{file.path}: {name} is not zero, and a bias on the output projection is not computed here; "
                "this model cannot be loaded"
            )
    return names


def _output_biases(config: GPTConfig) -> Iterator[str]:
    return (f"model.layers.{layer}.self_attn.o_proj.bias" for layer in range(config.depth))
