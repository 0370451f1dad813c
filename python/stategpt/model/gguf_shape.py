"""GGUF metadata <-> the shape of a model. They become a config.json of the family, which is then read as any other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stategpt.config import GPTConfig
from stategpt.config.hf_rope import THETA
from stategpt.config.hf_shape import FURTHER, MAX_LAYERS, SHAPE, read_fields, read_shape
from stategpt.errors import CorruptArtifact, ForeignArtifact
from stategpt.gguf_file import GgufFile
from stategpt.json_reader import Flag, Integer, Items, Kind, Optional, Record, Text, check_value
from stategpt.json_reader import OneOf as Either

from .gguf_names import GGUF_FAMILIES, ROPE_FACTORS, WINDOW, WINDOW_PATTERN, WINDOWED_BASE, GgufFamily
from .gguf_rope import DIMENSIONS, ROPE_KINDS, read_rope_json, rope_metadata
from .special_ids import SpecialIds

ARCHITECTURE = "general.architecture"
_WINDOWED, _FULL = "sliding_attention", "full_attention"
_WIDTH = Optional(Integer(1, 1 << 16))
_KEY_WIDTH, _VALUE_WIDTH = "attention.key_length", "attention.value_length"
_VOCABULARY = "vocab_size"
_KINDS: Mapping[str, Kind] = {
    _KEY_WIDTH: _WIDTH,
    _VALUE_WIDTH: _WIDTH,
    _VOCABULARY: Optional(SHAPE["vocab_size"]),
    # These have one value that is computed here.
    "expert_count": Optional(Integer(0, 0)),
    "expert_used_count": Optional(Integer(0, 0)),
    "attention.causal": Optional(Integer(1, 1)),
    # Of the first llama.cpp: says how rows are ordered, as they always are.
    "tensor_data_layout": Optional(Text(choices=("Meta AI original pth",))),
}
_PATTERN = Optional(Either((Integer(0, MAX_LAYERS), Items(Flag(), max_items=MAX_LAYERS))))
_ID = Optional(Integer(0, 2**32 - 1))
_NO_ID = 2**32 - 1
_BOS, _PAD = "tokenizer.ggml.bos_token_id", "tokenizer.ggml.padding_token_id"
_ENDS = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id")


@dataclass(frozen=True)
class TensorFacts:
    """What the tensors say that the metadata do not."""

    vocabulary: int
    """Rows of the embedding."""
    tied: bool
    """There is no prediction matrix, or it is the embedding once more."""
    biases: bool
    """Queries, keys and values have biases."""
    rope_factors_P: Tensor | None = None
    """`rope_freqs.weight`."""


def record_of(file: GgufFile) -> GgufFamily:
    """Returns the record of the file's architecture. Raises `ForeignArtifact` for an unknown one."""
    found = file.metadata.get(ARCHITECTURE)
    if type(found) is not str or found not in GGUF_FAMILIES:
        raise ForeignArtifact(f"{file.path}: {ARCHITECTURE} is {found!a:.80}; known are {', '.join(GGUF_FAMILIES)}")
    return GGUF_FAMILIES[found]


def tensor_facts(file: GgufFile, record: GgufFamily) -> TensorFacts:
    """Returns what the tensors say of the shape."""
    names = record.tensor_names()
    embedding = file.tensors.get(names.embedding)
    if embedding is None or len(embedding.shape) != 2:
        raise CorruptArtifact(f"{file.path} lacks the matrix {names.embedding}; download or convert the model again")
    tied = names.prediction not in file.tensors or file.same_bytes(names.prediction, names.embedding)
    factors = file.tensors.get(ROPE_FACTORS) if record.rope_factors else None
    if factors is not None and (factors.dtype != "F32" or len(factors.shape) != 1 or factors.shape[0] > 1 << 15):
        raise CorruptArtifact(f"{file.path}: {ROPE_FACTORS} is {factors.dtype} of shape {list(factors.shape)}")
    values = None if factors is None else file.read(factors.begin, factors.end - factors.begin).view("<f4")
    biases = names("layers.0.self_attn.q_proj.bias") in file.tensors
    return TensorFacts(embedding.shape[0], tied, biases, None if values is None else torch.from_numpy(values))


def read_config(where: str, metadata: Mapping[str, Any], record: GgufFamily, facts: TensorFacts) -> GPTConfig:
    """Returns the shape that metadata and tensors describe.

    Raises:
        ForeignArtifact: metadata of the model that are not known, or say something that is not computed.
        CorruptArtifact: metadata are missing, or of another type or range, or sizes do not fit together.
    """
    found = _checked(where, metadata, record)
    family, depth = record.family, found["block_count"]
    head_dim = found[_KEY_WIDTH] or max(1, found["embedding_length"] // found["attention.head_count"])
    for suffix, expected in ((_VALUE_WIDTH, head_dim), (DIMENSIONS, head_dim), (_VOCABULARY, facts.vocabulary)):
        if found.get(suffix) not in (None, expected):
            raise ForeignArtifact(f"{where}: {record.key(suffix)} is {found[suffix]}; only {expected} is computed here")
    described: dict[str, Any] = {family.key(name): found[suffix] for suffix, name in record.sizes.items()}
    described |= {name: found[suffix] for suffix, name in record.further.items()}
    described |= {"vocab_size": facts.vocabulary, "tie_word_embeddings": facts.tied}
    if family.key("head_dim"):
        described["head_dim"] = head_dim
    if family.reads_attention_bias:
        described["attention_bias"] = facts.biases
    if family.rope_types:
        described |= read_rope_json(where, found, record, facts.rope_factors_P)
    if record.windowed_theta:
        described["rope_local_base_freq"] = found[WINDOWED_BASE]
    if "query_pre_attn_scalar" in family.reads:
        largest = depth == record.scale_of_largest
        scale = found["embedding_length"] // found["attention.head_count"] if largest else head_dim
        described["query_pre_attn_scalar"] = scale
    if "layer_types" in family.reads:
        described["layer_types"] = _layer_kinds(where, found, record)
    return read_shape(where, read_fields(where, described, family), family)


def _checked(where: str, metadata: Mapping[str, Any], record: GgufFamily) -> dict[str, Any]:
    """The model's metadata by suffix; reals, which the file has as float32, are the shortest that round to them."""
    kinds: dict[str, Kind] = {suffix: SHAPE[name] for suffix, name in record.sizes.items()} | dict(_KINDS)
    kinds |= {suffix: Optional(FURTHER[name], record.defaults.get(name)) for suffix, name in record.further.items()}
    if WINDOW in kinds:  # Phi-3 without a window says 0
        kinds[WINDOW] = Optional(Integer(0, 2**31 - 1), record.defaults.get("sliding_window"))
    if record.family.rope_types:
        kinds |= ROPE_KINDS
    if record.windowed_theta:
        kinds[WINDOWED_BASE] = Optional(THETA, 10_000.0)
    if "layer_types" in record.family.reads:
        kinds[WINDOW_PATTERN] = _PATTERN
    of_model = {key: _shortest(value) for key, value in metadata.items() if key.startswith(record.key(""))}
    if unknown := of_model.keys() - {record.key(suffix) for suffix in kinds}:
        raise ForeignArtifact(f"{where}: {min(unknown)!a:.120} is not known here, so what it changes is not computed")
    schema = Record({record.key(suffix): kind for suffix, kind in kinds.items()})
    checked = check_value(of_model, schema, where=where, error=CorruptArtifact)
    found = {suffix: checked[record.key(suffix)] for suffix in kinds}
    if WINDOW in found:
        found[WINDOW] = found[WINDOW] or None
    return found


def _shortest(value: Any) -> Any:
    if type(value) is not float or not np.isfinite(value) or float(np.float32(value)) != value:
        return value
    return float(str(np.float32(value)))


def _layer_kinds(where: str, found: Mapping[str, Any], record: GgufFamily) -> list[str]:
    depth, pattern = found["block_count"], found[WINDOW_PATTERN]
    if pattern is None:
        pattern = record.family.window_pattern
    if isinstance(pattern, list):
        if len(pattern) < depth:
            raise CorruptArtifact(f"{where}: {record.key(WINDOW_PATTERN)} has {len(pattern)} items for {depth} layers")
        windowed = pattern[:depth]
    else:
        windowed = [pattern == 0 or (layer + 1) % pattern != 0 for layer in range(depth)]
    return [_WINDOWED if each and found[WINDOW] is not None else _FULL for each in windowed]


def read_special_ids(where: str, metadata: Mapping[str, Any], vocabulary: int) -> SpecialIds:
    """Returns the ids that begin, end and pad texts.

    Raises `CorruptArtifact` for one of another type, or outside the vocabulary.
    """
    keys = (_BOS, *_ENDS, _PAD)
    found = check_value(
        {key: metadata[key] for key in keys if key in metadata},
        Record(dict.fromkeys(keys, _ID)),
        where=where,
        error=CorruptArtifact,
    )
    for key in keys:
        if found[key] == _NO_ID:
            found[key] = None
        if found[key] is not None and found[key] >= vocabulary:
            raise CorruptArtifact(f"{where}: {key} is {found[key]}, the vocabulary has {vocabulary} tokens")
    ends = (found[key] for key in _ENDS)
    return SpecialIds(found[_BOS], tuple(dict.fromkeys(end for end in ends if end is not None)), found[_PAD])


def special_ids_metadata(ids: SpecialIds) -> dict[str, int]:
    """Returns the metadata of the ids. Raises `ForeignArtifact` for more ends of text than GGUF has keys for."""
    if len(ids.eos) > len(_ENDS):
        raise ForeignArtifact(f"{len(ids.eos)} ids end a text, and GGUF has keys for {len(_ENDS)}")
    ends = dict(zip(_ENDS, ids.eos, strict=False))
    return {key: value for key, value in {_BOS: ids.bos, **ends, _PAD: ids.pad}.items() if value is not None}


def config_metadata(config: GPTConfig, record: GgufFamily) -> dict[str, Any]:
    """Returns the metadata of a model of shape `config`, without the architecture in their names."""
    switches = config.architecture
    values = {
        "max_position_embeddings": config.context_tokens,
        "hidden_size": config.width,
        "num_hidden_layers": config.depth,
        "intermediate_size": config.mlp_width,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "rms_norm_eps": config.norm_epsilon,
        "sliding_window": switches.window or 0,
        "attn_logit_softcapping": switches.attention_softcap,
        "final_logit_softcapping": switches.logit_softcap,
    }
    named = {suffix: values[name] for suffix, name in {**record.sizes, **record.further}.items()}
    found = {suffix: value for suffix, value in named.items() if value is not None}
    if record.family.rope_types:
        found |= {_KEY_WIDTH: config.head_dim, _VALUE_WIDTH: config.head_dim, _VOCABULARY: config.vocab_size}
    return found | rope_metadata(config, record)


def plain_switches(config: GPTConfig, record: GgufFamily) -> GPTConfig:
    """Returns the shape as a file of `record` can give it: a Mistral without a window is a Llama."""
    architecture = replace(config.architecture.of_layers(config.depth), model_type=record.family.switches.model_type)
    return replace(config, architecture=architecture)
