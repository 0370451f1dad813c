"""How GGUF files spell the families: names of tensors and of metadata, one record for each `general.architecture`.

The records follow what llama.cpp computes for an architecture and what its converter writes. What is not here is not in
the metadata: llama.cpp has it as a constant of the architecture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from stategpt.config.families import FAMILIES
from stategpt.config.family import Family, Value, spelled
from stategpt.shown_fields import documented

_NAMES = (
    ("model.embed_tokens", "token_embd"),
    ("model.embed_positions", "position_embd"),
    ("model.norm", "output_norm"),
    ("lm_head", "output"),
    ("model.layers.", "blk."),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("self_attn.o_proj", "attn_output"),
    ("input_layernorm", "attn_norm"),
)
_APART = tuple((f"self_attn.{letter}_proj", f"attn_{letter}") for letter in "qkv")
_JOINED = tuple((f"self_attn.{letter}_proj", "attn_qkv") for letter in "qkv")
_MLP = tuple((f"mlp.{name}_proj", f"ffn_{name}") for name in ("gate", "up", "down"))
_NORM_BEFORE = (("post_attention_layernorm", "ffn_norm"),)
_NORMS_AFTER = (
    ("post_attention_layernorm", "post_attention_norm"),
    ("pre_feedforward_layernorm", "ffn_norm"),
    ("post_feedforward_layernorm", "post_ffw_norm"),
)

_SIZES: Mapping[str, str] = MappingProxyType(
    {
        "context_length": "max_position_embeddings",
        "embedding_length": "hidden_size",
        "block_count": "num_hidden_layers",
        "feed_forward_length": "intermediate_size",
        "attention.head_count": "num_attention_heads",
        "attention.head_count_kv": "num_key_value_heads",
        "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    }
)
WINDOW, WINDOW_PATTERN = "attention.sliding_window", "attention.sliding_window_pattern"
WINDOWED_BASE = "rope.freq_base_swa"
ROPE_FACTORS = "rope_freqs.weight"
"""Tensor of llama3's scaling: what the frequency of each pair is divided by, float32[head_dim / 2]."""


@documented
@dataclass(frozen=True)
class GgufFamily:
    """A value of `general.architecture`."""

    architecture: str
    """The value; keys of the model's metadata begin with it and a dot."""
    model_type: str
    """The family in `config.families`."""
    names: tuple[tuple[str, str], ...]
    """As `Family.tensor_names`."""
    further: Mapping[str, str] = field(default_factory=dict)
    """Further metadata -> key of config.json."""
    defaults: Mapping[str, Value] = field(default_factory=dict)
    """Key of config.json -> what llama.cpp computes with where the metadata have no such key."""
    pairs_apart: bool = True
    """A rotated pair of queries and keys is two numbers half a head apart; false: two neighbors, so the rows of the
    projections are in another order."""
    norm_offset: float = 0.0
    """Added to the weights of norms in the file."""
    rope_factors: bool = False
    """`rope_freqs.weight` scales the frequencies."""
    windowed_theta: bool = False
    """`rope.freq_base_swa` is the base of layers with a window."""
    heads_fill_width: bool = False
    """llama.cpp computes it only where all query heads together are as wide as the residual stream."""
    untied: bool = False
    """llama.cpp wants a prediction matrix; a tied one is written twice."""
    always_tied: bool = False
    """llama.cpp predicts with the embedding, whatever the file holds."""
    scale_of_largest: int = 0
    """With `query_scale`: models of that many layers scale scores by width / heads, all others by the head's width."""

    @property
    def family(self) -> Family:
        """The family's record."""
        return FAMILIES[self.model_type]

    @property
    def sizes(self) -> Mapping[str, str]:
        """Metadata -> standard key of config.json."""
        if not self.family.rope_types:  # GPT-2 has layer norms, and as many heads for keys as for queries
            swapped = {"attention.layer_norm_rms_epsilon", "attention.head_count_kv"}
            kept = {key: name for key, name in _SIZES.items() if key not in swapped}
            return {**kept, "attention.layer_norm_epsilon": "rms_norm_eps"}
        return _SIZES

    def key(self, suffix: str) -> str:
        """The whole name of metadata of the model."""
        return f"{self.architecture}.{suffix}"

    def tensor(self, standard: str) -> str:
        """The name in the file of the tensor that folders call `standard`."""
        return spelled(standard, self.names)


_PLAIN = (*_NAMES, *_APART, *_MLP, *_NORM_BEFORE)
_AFTER = (*_NAMES, *_APART, *_MLP, *_NORMS_AFTER)
_CAPS = MappingProxyType({"final_logit_softcapping": "final_logit_softcapping"})
_RECORDS = (
    GgufFamily("llama", "llama", _PLAIN, pairs_apart=False, rope_factors=True),
    GgufFamily("qwen2", "qwen2", _PLAIN),
    GgufFamily("qwen3", "qwen3", _PLAIN),
    GgufFamily("smollm3", "smollm3", _PLAIN, pairs_apart=False),
    GgufFamily(
        "gpt2",
        "gpt2",
        (
            *_NAMES,
            *_JOINED,
            ("mlp.up_proj", "ffn_up"),
            ("mlp.down_proj", "ffn_down"),
            *_NORM_BEFORE,
        ),
        heads_fill_width=True,
    ),
    GgufFamily(
        "phi3",
        "phi3",
        (*_NAMES, *_JOINED, ("mlp.gate_proj", "ffn_up"), *_MLP[1:], *_NORM_BEFORE),
        further=MappingProxyType({WINDOW: "sliding_window"}),
        heads_fill_width=True,
    ),
    GgufFamily("olmo2", "olmo2", _AFTER, heads_fill_width=True, untied=True),
    GgufFamily(
        "gemma2",
        "gemma2",
        _AFTER,
        further=MappingProxyType(
            {WINDOW: "sliding_window", "attn_logit_softcapping": "attn_logit_softcapping", **_CAPS}
        ),
        defaults=MappingProxyType(
            {"sliding_window": 4096, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}
        ),
        norm_offset=1.0,
        always_tied=True,
        scale_of_largest=46,
    ),
    GgufFamily(
        "gemma3",
        "gemma3_text",
        _AFTER,
        further=MappingProxyType({WINDOW: "sliding_window", **_CAPS}),
        norm_offset=1.0,
        windowed_theta=True,
        scale_of_largest=62,
    ),
)

GGUF_FAMILIES: Mapping[str, GgufFamily] = {record.architecture: record for record in _RECORDS}
"""Every record by its `general.architecture`."""


def gguf_family_of(family: Family) -> GgufFamily | None:
    """Returns the record that models of `family` are written by; Mistral is a Llama there. None: there is none."""
    model_type = "llama" if family.model_type == "mistral" else family.model_type
    return next((record for record in GGUF_FAMILIES.values() if record.model_type == model_type), None)
