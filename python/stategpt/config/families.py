"""The published model families, one record each: how their folders spell a model, and what is computed of them.

To add a family, add its record to `FAMILIES`: folders of that family are then read, models with its switches are
written in its format, and the planner names its architecture. A family that computes something new also needs a switch
in `GPTConfig` and the layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from stategpt.shown_fields import documented

_NO_BIAS_NO_WINDOW = MappingProxyType({"use_sliding_window": False, "mlp_bias": False})


@documented
@dataclass(frozen=True)
class Family:
    """A family of `transformers`, as its config.json and model.safetensors have it."""

    name: str
    """Prefix of its classes, as in `Qwen3ForCausalLM` and `Qwen3ForSequenceClassification`."""
    model_type: str
    """Its `model_type` in config.json."""
    qk_norm: bool
    """Switch of `GPTConfig`: it norms queries and keys."""
    attention_bias: bool
    """Switch of `GPTConfig`: queries, keys and values have biases."""
    reads_attention_bias: bool = False
    """`attention_bias` in config.json decides instead of `attention_bias` here, which is its default."""
    fixed: Mapping[str, bool] = field(default_factory=lambda: _NO_BIAS_NO_WINDOW)
    """Flags of config.json that change the arithmetic, with the only value computed here; an absent one has it."""
    default_head_dim: int | None = None
    """`head_dim` where config.json has none; None = hidden_size / num_attention_heads."""
    default_ids: Mapping[str, int] = field(default_factory=dict)
    """Special ids where config.json has no such key; a key with null says "none"."""
    tensor_names: tuple[tuple[str, str], ...] = ()
    """(part of a standard name, this family's spelling); standard is `model.layers.0.self_attn.q_proj.weight`."""
    own_tokenizer: bool = False
    """`transformers` always builds the family's tokenizer: a model with another one is written as a Llama."""

    def architecture(self, head: str) -> str:
        """Returns the class for `head`, "ForCausalLM" or "ForSequenceClassification"."""
        return f"{self.name}{head}"


_RECORDS = (
    Family(
        "Qwen3",
        "qwen3",
        qk_norm=True,
        attention_bias=False,
        fixed=MappingProxyType({**_NO_BIAS_NO_WINDOW, "attention_bias": False}),
        default_head_dim=128,
    ),
    Family("Qwen2", "qwen2", qk_norm=False, attention_bias=True, own_tokenizer=True),
    Family(
        "Llama",
        "llama",
        qk_norm=False,
        attention_bias=False,
        reads_attention_bias=True,
        default_ids=MappingProxyType({"bos_token_id": 1, "eos_token_id": 2}),
    ),
)

FAMILIES: Mapping[str, Family] = {family.model_type: family for family in _RECORDS}
"""Every family by its `model_type`."""


def family_of(*, qk_norm: bool, attention_bias: bool) -> Family | None:
    """Returns the family that has exactly these switches, in whose format such a model is written; None if none has."""
    for family in FAMILIES.values():
        if (family.qk_norm, family.attention_bias) == (qk_norm, attention_bias):
            return family
    return None
