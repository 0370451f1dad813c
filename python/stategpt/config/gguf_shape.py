"""The shape of a model in a GGUF file: its metadata become a config.json of the family, read as any other.

Needs no torch, so that a run is planned with a file as its start model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stategpt.config.gguf_names import GGUF_FAMILIES, ROPE_FACTORS, WINDOW, WINDOW_PATTERN, WINDOWED_BASE, GgufFamily
from stategpt.config.gguf_rope import DIMENSIONS, ROPE_KINDS, read_rope_json
from stategpt.config.hf_rope import THETA
from stategpt.config.hf_shape import FURTHER, MAX_LAYERS, SHAPE, read_fields, read_shape
from stategpt.config.model import GPTConfig
from stategpt.errors import CorruptArtifact, ForeignArtifact
from stategpt.gguf_file import GgufFile
from stategpt.json_reader import Flag, Integer, Items, Kind, Optional, Record, Text, check_value
from stategpt.json_reader import OneOf as Either

ARCHITECTURE = "general.architecture"
_WINDOWED, _FULL = "sliding_attention", "full_attention"
_WIDTH = Optional(Integer(1, 1 << 16))
KEY_WIDTH, VALUE_WIDTH = "attention.key_length", "attention.value_length"
VOCABULARY = "vocab_size"
_KINDS: Mapping[str, Kind] = {
    KEY_WIDTH: _WIDTH,
    VALUE_WIDTH: _WIDTH,
    VOCABULARY: Optional(SHAPE["vocab_size"]),
    # These have one value that is computed here.
    "expert_count": Optional(Integer(0, 0)),
    "expert_used_count": Optional(Integer(0, 0)),
    "attention.causal": Optional(Integer(1, 1)),
    # Of the first llama.cpp: says how rows are ordered, as they always are.
    "tensor_data_layout": Optional(Text(choices=("Meta AI original pth",))),
}
_PATTERN = Optional(Either((Integer(0, MAX_LAYERS), Items(Flag(), max_items=MAX_LAYERS))))


@dataclass(frozen=True)
class TensorFacts:
    """What the tensors say that the metadata do not."""

    vocabulary: int
    """Rows of the embedding."""
    tied: bool
    """There is no prediction matrix, or it is the embedding once more."""
    biases: bool
    """Queries, keys and values have biases."""
    rope_factors_P: NDArray[np.float32] | None = None
    """`rope_freqs.weight`."""


def record_of(file: GgufFile) -> GgufFamily:
    """Returns the record of the file's architecture. Raises `ForeignArtifact` for an unknown one."""
    found = file.metadata.get(ARCHITECTURE)
    if type(found) is not str or found not in GGUF_FAMILIES:
        raise ForeignArtifact(f"{file.path}: {ARCHITECTURE} is {found!a:.80}; known are {', '.join(GGUF_FAMILIES)}")
    return GGUF_FAMILIES[found]


def tensor_facts(file: GgufFile, record: GgufFamily) -> TensorFacts:
    """Returns what the tensors say of the shape."""
    name, prediction = record.tensor("model.embed_tokens.weight"), record.tensor("lm_head.weight")
    embedding = file.tensors.get(name)
    if embedding is None or len(embedding.shape) != 2:
        raise CorruptArtifact(f"{file.path} lacks the matrix {name}; download or convert the model again")
    tied = prediction not in file.tensors or file.same_bytes(prediction, name)
    factors = file.tensors.get(ROPE_FACTORS) if record.rope_factors else None
    if factors is not None and (factors.dtype != "F32" or len(factors.shape) != 1 or factors.shape[0] > 1 << 15):
        raise CorruptArtifact(f"{file.path}: {ROPE_FACTORS} is {factors.dtype} of shape {list(factors.shape)}")
    values = None if factors is None else file.read(factors.begin, factors.end - factors.begin).view("<f4")
    biases = record.tensor("model.layers.0.self_attn.q_proj.bias") in file.tensors
    return TensorFacts(embedding.shape[0], tied, biases, values)


def gguf_shape(file: GgufFile) -> GPTConfig:
    """Returns the shape of the model in a file, by its header alone; errors as `record_of`, `read_config`."""
    record = record_of(file)
    return read_config(str(file.path), file.metadata, record, tensor_facts(file, record))


def read_config(where: str, metadata: Mapping[str, Any], record: GgufFamily, facts: TensorFacts) -> GPTConfig:
    """Returns the shape that metadata and tensors describe.

    Raises:
        ForeignArtifact: metadata of the model that are not known, or say something that is not computed.
        CorruptArtifact: metadata are missing, or of another type or range, or sizes do not fit together.
    """
    found = _checked(where, metadata, record)
    family, depth = record.family, found["block_count"]
    head_dim = found[KEY_WIDTH] or max(1, found["embedding_length"] // found["attention.head_count"])
    for suffix, expected in ((VALUE_WIDTH, head_dim), (DIMENSIONS, head_dim), (VOCABULARY, facts.vocabulary)):
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
