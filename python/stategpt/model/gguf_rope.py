"""Rotary positions of a model as GGUF metadata, and the tensor of llama3's scaling; `config.gguf_rope` reads them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from stategpt.config import GPTConfig
from stategpt.config.architecture import RopeScaling
from stategpt.config.gguf_names import WINDOWED_BASE, GgufFamily
from stategpt.config.gguf_rope import ATTENTION, BASE, CONTEXT, DIMENSIONS, FACTOR, FAST, SLOW, TYPE
from stategpt.errors import ForeignArtifact

from .rotary import attention_factor, scaled_frequencies


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
    found |= {TYPE: scaling.rope_type, FACTOR: scaling.factor}
    if scaling.rope_type == "yarn":
        found[CONTEXT] = scaling.original_max_position_embeddings or config.context_tokens
        found |= {key: value for key, value in ((FAST, scaling.beta_fast), (SLOW, scaling.beta_slow)) if value}
        relative = attention_factor(scaling) / attention_factor(RopeScaling("yarn", scaling.factor))
        if relative != 1.0:
            found[ATTENTION] = relative
    return found
