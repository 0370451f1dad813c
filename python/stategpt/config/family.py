"""The record of a published model family: how its folders spell a model, and what is computed of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from stategpt.config.architecture import PLAIN, Architecture
from stategpt.shown_fields import documented

NO_BIAS_NO_WINDOW = MappingProxyType({"use_sliding_window": False, "mlp_bias": False})
Value = bool | int | float | str
Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
"""A value of config.json."""


def spelled(standard: str, names: tuple[tuple[str, str], ...]) -> str:
    """Returns the `standard` name of a tensor with the spellings of `names` (`Family.tensor_names`)."""
    for part, spelling in names:
        standard = standard.replace(part, spelling)
    return standard


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
    switches: Architecture = PLAIN
    """What else it computes. Its `model_type` is set for a family in whose format only its own models are saved."""
    reads_attention_bias: bool = False
    """`attention_bias` in config.json decides instead of `attention_bias` here, which is its default."""
    fixed: Mapping[str, bool] = field(default_factory=lambda: NO_BIAS_NO_WINDOW)
    """Flags of config.json that change the arithmetic, with the only value computed here; an absent one has it."""
    default_head_dim: int | None = None
    """`head_dim` where config.json has none; None = hidden_size / num_attention_heads."""
    default_mlp_times: int | None = None
    """`intermediate_size` where config.json has none, in hidden sizes; None: it must have one."""
    default_ids: Mapping[str, int] = field(default_factory=dict)
    """Special ids where config.json has no such key; a key with null says "none"."""
    tensor_names: tuple[tuple[str, str], ...] = ()
    """(part of a standard name, this family's spelling); standard is `model.layers.0.self_attn.q_proj.weight`. Several
    parts with one spelling are one tensor: their rows one after another, in the order of the module."""
    transposed: tuple[str, ...] = ()
    """Parts of this family's names of matrices that are stored as [inputs, outputs]."""
    constants: str = r"model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq"
    """Names (a pattern) of stored constants, which exporters of some years wrote and every reader recomputes."""
    prefix: str = ""
    """What all names but the prediction matrix begin with, and folders of the bare base model leave out."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Standard key of config.json (Llama's) -> this family's; empty: it has no such key."""
    defaults: Mapping[str, Value] = field(default_factory=dict)
    """Values by key where config.json has no such key, as `transformers` has them; null there says "none"."""
    reads: tuple[str, ...] = ()
    """Keys of config.json beyond the standard ones that are read and written (`config.hf_shape`)."""
    window_pattern: int = 0
    """Where config.json does not say which layers have the window: all but every layer of this number; 0: all."""
    written: Mapping[str, Value] = field(default_factory=dict)
    """Further keys of config.json that are written: dropout that `transformers` would apply in training."""
    activations: tuple[str, ...] = ("silu", "swish")
    """Names of its activation in config.json; the first is written."""
    rope_types: tuple[str, ...] = ("default", "linear", "dynamic", "llama3", "yarn")
    """Kinds of rotary positions that are read."""
    classes: Mapping[str, str] = field(default_factory=dict)
    """Head -> class, where that is not `name` and the head."""
    own_tokenizer: bool = False
    """`transformers` always builds the family's tokenizer: a model with another one is written as a Llama."""

    def architecture(self, head: str) -> str:
        """Returns the class for `head`, "ForCausalLM" or "ForSequenceClassification"."""
        return self.classes.get(head, f"{self.name}{head}")

    def key(self, standard: str) -> str:
        """Returns this family's spelling of a standard key of config.json; empty where it has none."""
        return self.keys.get(standard, standard)
