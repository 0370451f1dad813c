"""Rotary positions in GGUF metadata <-> config.json: base, linear, yarn, and the tensor of llama3's scaling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from stategpt.config import GPTConfig
from stategpt.config.architecture import RopeScaling
from stategpt.errors import CorruptArtifact, ForeignArtifact
from stategpt.json_reader import Flag, Integer, Kind, Optional, Real, Text

from .gguf_names import WINDOWED_BASE, GgufFamily
from .rotary import attention_factor, scaled_frequencies

BASE, DIMENSIONS = "rope.freq_base", "rope.dimension_count"
_TYPE, _FACTOR, _OLD_FACTOR = "rope.scaling.type", "rope.scaling.factor", "rope.scale_linear"
_CONTEXT, _ATTENTION = "rope.scaling.original_context_length", "rope.scaling.attn_factor"
_FAST, _SLOW = "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow"
_FINETUNED = "rope.scaling.finetuned"
_PLAIN_BASE = 10_000.0
"""llama.cpp's, where the metadata have none."""
_CONTEXTS = (8192, *(1 << power for power in range(4, 21)))
"""Contexts of pretraining that llama3's scaling is tried with; that of all Llama 3 models first."""

_POSITIVE = Real(1e-3, 1e6)
ROPE_KINDS: Mapping[str, Kind] = {
    BASE: Optional(Real(1.0, 1e15), _PLAIN_BASE),
    DIMENSIONS: Optional(Integer(2, 1 << 16)),
    _TYPE: Optional(Text(max_chars=200), "linear"),  # as llama.cpp: a factor alone is a linear scaling
    _FACTOR: Optional(Real(0.0, 1e6), 0.0),
    _OLD_FACTOR: Optional(Real(0.0, 1e6), 0.0),
    _CONTEXT: Optional(Integer(1, 2**31 - 1)),
    _ATTENTION: Optional(_POSITIVE, 1.0),
    _FAST: Optional(_POSITIVE),
    _SLOW: Optional(_POSITIVE),
    _FINETUNED: Optional(Flag()),
}
"""Metadata of a model that say how positions rotate, without the architecture."""


def read_rope_json(
    where: str, found: Mapping[str, Any], record: GgufFamily, factors_P: Tensor | None
) -> dict[str, Any]:
    """Returns the keys of config.json for the metadata `found`, checked by `ROPE_KINDS`.

    `factors_P` is the tensor `rope_freqs.weight`. Raises `ForeignArtifact` for what is not computed.
    """
    factor = found[_FACTOR] or found[_OLD_FACTOR] or 1.0
    kind = found[_TYPE]
    rope: dict[str, Any] = {"rope_type": "default"}
    if kind not in ("none", "linear", "yarn"):
        raise ForeignArtifact(f"{where}: {record.key(_TYPE)} is {kind!a}; computed are none, linear and yarn")
    scaled = kind == "yarn" or (kind == "linear" and factor != 1.0)
    if not scaled and found[_ATTENTION] != 1.0:
        raise ForeignArtifact(f"{where}: {record.key(_ATTENTION)} is computed with yarn only")
    if scaled and kind not in record.family.rope_types:
        raise ForeignArtifact(f"{where}: {record.key(_TYPE)} {kind} is not computed for {record.family.name}")
    if scaled:
        rope = {"rope_type": kind, "factor": factor}
    if kind == "yarn":
        context = found[_CONTEXT] or found["context_length"]
        rope |= {"original_max_position_embeddings": context, "beta_fast": found[_FAST], "beta_slow": found[_SLOW]}
        if found[_ATTENTION] != 1.0:
            rope["attention_factor"] = attention_factor(RopeScaling("yarn", factor)) * found[_ATTENTION]
    if factors_P is not None:
        if scaled:
            raise ForeignArtifact(f"{where}: {record.key(_TYPE)} and the tensor rope_freqs.weight scale both")
        rope = _llama3(where, found[BASE], factors_P)
    return {"rope_theta": found[BASE], "rope_scaling": rope}


def _llama3(where: str, theta: float, factors_P: Tensor) -> dict[str, Any]:
    """The settings that give exactly these factors; the metadata do not have them."""
    factor = float(factors_P.max())
    if not 1e-3 <= factor <= 1e6 or float(factors_P.min()) <= 0:
        raise CorruptArtifact(f"{where}: rope_freqs.weight holds {factor}; download or convert the model again")
    if factor == 1.0:
        return {"rope_type": "default"}
    for context in _CONTEXTS:
        scaling = RopeScaling("llama3", factor, context, 1.0, 4.0)
        if torch.allclose(rope_factors(2 * len(factors_P), theta, scaling), factors_P, rtol=2e-6, atol=0.0):
            return {
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": context,
            }
    raise ForeignArtifact(
        f"{where}: rope_freqs.weight is none of llama3's scalings with low_freq_factor 1 and high_freq_factor 4; "
        "load the model from its folder"
    )


def rope_factors(head_dim: int, theta: float, scaling: RopeScaling) -> Tensor:
    """What llama3's scaling divides the frequency of each pair by. -> float32[head_dim / 2]."""
    return scaled_frequencies(head_dim, theta, None) / scaled_frequencies(head_dim, theta, scaling)


def rope_metadata(config: GPTConfig, record: GgufFamily) -> dict[str, Any]:
    """Returns the metadata of a model, without the architecture; those of llama3 are a tensor (`rope_factors`).

    Raises `ForeignArtifact` for what llama.cpp cannot be told.
    """
    if not record.family.rope_types:
        return {}
    found: dict[str, Any] = {DIMENSIONS: config.head_dim, BASE: config.rope_theta}
    if config.architecture.windowed_theta is not None:
        found[WINDOWED_BASE] = config.architecture.windowed_theta
    scaling = config.architecture.rope_scaling
    if scaling is None or (scaling.rope_type == "llama3" and record.rope_factors):
        return found
    if scaling.rope_type not in ("linear", "yarn") or not scaling.truncate:
        told = "truncate = false" if scaling.rope_type == "yarn" else f"rope_type {scaling.rope_type!r}"
        raise ForeignArtifact(f"GGUF of the architecture {record.architecture} has no rotary positions with {told}")
    found |= {_TYPE: scaling.rope_type, _FACTOR: scaling.factor}
    if scaling.rope_type == "yarn":
        found[_CONTEXT] = scaling.original_max_position_embeddings or config.context_tokens
        found |= {key: value for key, value in ((_FAST, scaling.beta_fast), (_SLOW, scaling.beta_slow)) if value}
        relative = attention_factor(scaling) / attention_factor(RopeScaling("yarn", scaling.factor))
        if relative != 1.0:
            found[_ATTENTION] = relative
    return found
