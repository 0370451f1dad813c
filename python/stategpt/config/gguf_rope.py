"""Rotary positions in GGUF metadata as keys of config.json: base, linear, yarn, and the tensor of llama3's scaling."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stategpt.config.architecture import RopeScaling
from stategpt.config.gguf_names import GgufFamily
from stategpt.errors import CorruptArtifact, ForeignArtifact
from stategpt.json_reader import Flag, Integer, Kind, Optional, Real, Text

BASE, DIMENSIONS = "rope.freq_base", "rope.dimension_count"
TYPE, FACTOR, _OLD_FACTOR = "rope.scaling.type", "rope.scaling.factor", "rope.scale_linear"
CONTEXT, ATTENTION = "rope.scaling.original_context_length", "rope.scaling.attn_factor"
FAST, SLOW = "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow"
_FINETUNED = "rope.scaling.finetuned"
_PLAIN_BASE = 10_000.0
"""llama.cpp's, where the metadata have none."""
_CONTEXTS = (8192, *(1 << power for power in range(4, 21)))
"""Contexts of pretraining that llama3's scaling is tried with; that of all Llama 3 models first."""

_POSITIVE = Real(1e-3, 1e6)
ROPE_KINDS: Mapping[str, Kind] = {
    BASE: Optional(Real(1.0, 1e15), _PLAIN_BASE),
    DIMENSIONS: Optional(Integer(2, 1 << 16)),
    TYPE: Optional(Text(max_chars=200), "linear"),  # as llama.cpp: a factor alone is a linear scaling
    FACTOR: Optional(Real(0.0, 1e6), 0.0),
    _OLD_FACTOR: Optional(Real(0.0, 1e6), 0.0),
    CONTEXT: Optional(Integer(1, 2**31 - 1)),
    ATTENTION: Optional(_POSITIVE, 1.0),
    FAST: Optional(_POSITIVE),
    SLOW: Optional(_POSITIVE),
    _FINETUNED: Optional(Flag()),
}
"""Metadata of a model that say how positions rotate, without the architecture."""


def read_rope_json(
    where: str, found: Mapping[str, Any], record: GgufFamily, factors_P: NDArray[np.float32] | None
) -> dict[str, Any]:
    """Returns the keys of config.json for the metadata `found`, checked by `ROPE_KINDS`.

    `factors_P` is the tensor `rope_freqs.weight`. Raises `ForeignArtifact` for what is not computed.
    """
    factor = found[FACTOR] or found[_OLD_FACTOR] or 1.0
    kind = found[TYPE]
    rope: dict[str, Any] = {"rope_type": "default"}
    if kind not in ("none", "linear", "yarn"):
        raise ForeignArtifact(f"{where}: {record.key(TYPE)} is {kind!a}; computed are none, linear and yarn")
    scaled = kind == "yarn" or (kind == "linear" and factor != 1.0)
    if not scaled and found[ATTENTION] != 1.0:
        raise ForeignArtifact(f"{where}: {record.key(ATTENTION)} is computed with yarn only")
    if scaled and kind not in record.family.rope_types:
        raise ForeignArtifact(f"{where}: {record.key(TYPE)} {kind} is not computed for {record.family.name}")
    if scaled:
        rope = {"rope_type": kind, "factor": factor}
    if kind == "yarn":
        context = found[CONTEXT] or found["context_length"]
        rope |= {"original_max_position_embeddings": context, "beta_fast": found[FAST], "beta_slow": found[SLOW]}
        if found[ATTENTION] != 1.0:
            rope["attention_factor"] = yarn_attention_factor(factor) * found[ATTENTION]
    if factors_P is not None:
        if scaled:
            raise ForeignArtifact(f"{where}: {record.key(TYPE)} and the tensor rope_freqs.weight scale both")
        rope = _llama3(where, found[BASE], factors_P)
    return {"rope_theta": found[BASE], "rope_scaling": rope}


def _llama3(where: str, theta: float, factors_P: NDArray[np.float32]) -> dict[str, Any]:
    """The settings that give exactly these factors; the metadata do not have them."""
    factor = float(factors_P.max())
    if not 1e-3 <= factor <= 1e6 or float(factors_P.min()) <= 0:
        raise CorruptArtifact(f"{where}: rope_freqs.weight holds {factor}; download or convert the model again")
    if factor == 1.0:
        return {"rope_type": "default"}
    for context in _CONTEXTS:
        scaling = RopeScaling("llama3", factor, context, 1.0, 4.0)
        if np.allclose(_llama3_factors(len(factors_P), theta, scaling), factors_P, rtol=2e-6, atol=0.0):
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


def _llama3_factors(pairs: int, theta: float, scaling: RopeScaling) -> NDArray[np.float64]:
    """What llama3's scaling divides the frequency of each pair by; `model.rotary` has it in float32."""
    plain = theta ** -(np.arange(pairs) / pairs)
    low, high = scaling.low_freq_factor or 0.0, scaling.high_freq_factor or 0.0
    turns = plain * ((scaling.original_max_position_embeddings or 0) / (2 * math.pi))
    kept = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return 1 / (kept + (1 - kept) / scaling.factor)


def yarn_attention_factor(factor: float, mscale: float = 1.0) -> float:
    """What yarn multiplies cosines and sines by, where nothing states it: 0.1 mscale ln(factor) + 1."""
    return 0.1 * mscale * math.log(factor) + 1.0 if factor > 1 else 1.0
