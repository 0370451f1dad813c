"""The published model families, one record each: how their folders spell a model, and what is computed of them.

To add a family, add its record to `FAMILIES`: folders of that family are then read, models with its switches are
written in its format, and the planner names its architecture. A family that computes something new also needs a switch
in `Architecture` and the layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from stategpt.config.architecture import PLAIN, Architecture
from stategpt.config.family import NO_BIAS_NO_WINDOW, Family, Value

_GPT2 = Family(
    "GPT2",
    "gpt2",
    qk_norm=False,
    attention_bias=True,
    switches=Architecture(model_type="gpt2", norm="layer", mlp="gelu", all_biases=True, learned_positions=True),
    classes=MappingProxyType({"ForCausalLM": "GPT2LMHeadModel"}),
    keys=MappingProxyType(
        {
            "hidden_size": "n_embd",
            "intermediate_size": "n_inner",
            "num_hidden_layers": "n_layer",
            "num_attention_heads": "n_head",
            "max_position_embeddings": "n_positions",
            "rms_norm_eps": "layer_norm_epsilon",
            "hidden_act": "activation_function",
            **dict.fromkeys(("num_key_value_heads", "head_dim", "attention_bias", "attention_dropout"), ""),
        }
    ),
    defaults=MappingProxyType({"rms_norm_eps": 1e-5, "tie_word_embeddings": True, "hidden_act": "gelu_new"}),
    default_mlp_times=4,
    default_ids=MappingProxyType({"bos_token_id": 50256, "eos_token_id": 50256}),
    fixed=MappingProxyType(
        {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False}
    ),
    written=MappingProxyType({"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}),
    activations=("gelu_new", "gelu_pytorch_tanh"),
    rope_types=(),
    tensor_names=(
        ("model.embed_tokens", "transformer.wte"),
        ("model.embed_positions", "transformer.wpe"),
        ("model.norm", "transformer.ln_f"),
        ("model.layers.", "transformer.h."),
        ("input_layernorm", "ln_1"),
        ("post_attention_layernorm", "ln_2"),
        ("self_attn.q_proj", "attn.c_attn"),
        ("self_attn.k_proj", "attn.c_attn"),
        ("self_attn.v_proj", "attn.c_attn"),
        ("self_attn.o_proj", "attn.c_proj"),
        ("mlp.up_proj", "mlp.c_fc"),
        ("mlp.down_proj", "mlp.c_proj"),
    ),
    transposed=("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight"),
    constants=r"transformer\.h\.\d+\.attn\.(masked_)?bias",
    prefix="transformer.",
)
_MISTRAL = Family(
    "Mistral",
    "mistral",
    qk_norm=False,
    attention_bias=False,
    switches=Architecture(model_type="mistral"),
    reads=("sliding_window",),
    defaults=MappingProxyType({"sliding_window": 4096, "num_key_value_heads": 8}),
    fixed=MappingProxyType({}),
    default_ids=MappingProxyType({"bos_token_id": 1, "eos_token_id": 2}),
)
_SMOLLM3 = Family(
    "SmolLM3",
    "smollm3",
    qk_norm=False,
    attention_bias=False,
    switches=Architecture(model_type="smollm3"),
    reads=("no_rope_layers", "no_rope_layer_interval"),
    defaults=MappingProxyType(
        {
            "num_key_value_heads": 4,
            "rope_theta": 2e6,
            "tie_word_embeddings": True,
            "no_rope_layer_interval": 4,
        }
    ),
    fixed=MappingProxyType({**NO_BIAS_NO_WINDOW, "attention_bias": False}),
    default_ids=MappingProxyType({"bos_token_id": 128000, "eos_token_id": 128001, "pad_token_id": 128004}),
)
_PHI3 = Family(
    "Phi3",
    "phi3",
    qk_norm=False,
    attention_bias=False,
    switches=Architecture(model_type="phi3"),
    reads=("sliding_window",),
    fixed=MappingProxyType({}),
    default_ids=MappingProxyType({"bos_token_id": 1, "eos_token_id": 32000, "pad_token_id": 32000}),
    written=MappingProxyType({"embd_pdrop": 0.0, "resid_pdrop": 0.0}),
    rope_types=("default",),
    tensor_names=(
        *((f"self_attn.{letter}_proj", "self_attn.qkv_proj") for letter in "qkv"),
        *((f"mlp.{name}_proj", "mlp.gate_up_proj") for name in ("gate", "up")),
    ),
)
_OLMO2 = Family(
    "Olmo2",
    "olmo2",
    qk_norm=True,
    attention_bias=False,
    switches=Architecture(model_type="olmo2", norm_places="after", qk_norm_all_heads=True),
    defaults=MappingProxyType({"rms_norm_eps": 1e-5}),
    fixed=MappingProxyType({"attention_bias": False}),
    default_ids=MappingProxyType({"eos_token_id": 50279, "pad_token_id": 1}),
)
_GEMMA = Architecture(norm="rms_plus_one", norm_places="around", mlp="geglu", scaled_embedding=True)
_GEMMA_FIXED = MappingProxyType({"attention_bias": False, "use_bidirectional_attention": False})
_GEMMA_READS = ("sliding_window", "query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping")
_GEMMA_DEFAULTS: Mapping[str, Value] = MappingProxyType(
    {
        "rms_norm_eps": 1e-6,
        "num_key_value_heads": 4,
        "tie_word_embeddings": True,
        "hidden_act": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
    }
)
_GEMMA2 = Family(
    "Gemma2",
    "gemma2",
    qk_norm=False,
    attention_bias=False,
    switches=replace(_GEMMA, model_type="gemma2"),
    reads=(*_GEMMA_READS, "layer_types"),
    keys=MappingProxyType({"hidden_act": "hidden_activation"}),
    defaults=MappingProxyType({**_GEMMA_DEFAULTS, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}),
    window_pattern=2,
    fixed=_GEMMA_FIXED,
    default_head_dim=256,
    default_ids=MappingProxyType({"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}),
    activations=("gelu_pytorch_tanh",),
)
_GEMMA3 = Family(
    "Gemma3",
    "gemma3_text",
    qk_norm=True,
    attention_bias=False,
    switches=replace(_GEMMA, model_type="gemma3_text"),
    classes=MappingProxyType({"ForSequenceClassification": "Gemma3TextForSequenceClassification"}),
    reads=(*_GEMMA_READS, "layer_types", "sliding_window_pattern", "rope_local_base_freq"),
    keys=MappingProxyType({"hidden_act": "hidden_activation"}),
    defaults=MappingProxyType({**_GEMMA_DEFAULTS, "rope_theta": 1e6, "rope_local_base_freq": 1e4}),
    window_pattern=6,
    fixed=_GEMMA_FIXED,
    default_head_dim=256,
    default_ids=MappingProxyType({"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}),
    activations=("gelu_pytorch_tanh",),
)
_RECORDS = (
    Family(
        "Qwen3",
        "qwen3",
        qk_norm=True,
        attention_bias=False,
        fixed=MappingProxyType({**NO_BIAS_NO_WINDOW, "attention_bias": False}),
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
    _GPT2,
    _MISTRAL,
    _SMOLLM3,
    _PHI3,
    _OLMO2,
    _GEMMA2,
    _GEMMA3,
)

FAMILIES: Mapping[str, Family] = {family.model_type: family for family in _RECORDS}
"""Every family by its `model_type`."""


def family_of(*, qk_norm: bool, attention_bias: bool) -> Family | None:
    """Returns the family that has exactly these switches, in whose format such a model is written; None if none has."""
    for family in FAMILIES.values():
        if (family.qk_norm, family.attention_bias) == (qk_norm, attention_bias) and family.switches == PLAIN:
            return family
    return None
