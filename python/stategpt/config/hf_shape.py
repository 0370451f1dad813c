"""config.json of every family <-> `GPTConfig`: sizes, switches, windows, softcaps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stategpt.config.families import FAMILIES
from stategpt.config.family import Family, Json
from stategpt.config.hf_rope import ROPE_KEYS, read_rope, rope_json
from stategpt.config.model import GPTConfig
from stategpt.errors import ConfigError, CorruptArtifact, ForeignArtifact
from stategpt.json_reader import Anything, Flag, Integer, Items, Kind, Optional, Real, Record, Text, check_value
from stategpt.json_reader import OneOf as Either

_ID = Integer(-1, 2**31 - 1)
"""-1 means "none" in folders of the first Llama."""
ID_FIELDS: Mapping[str, Kind] = {
    "bos_token_id": Optional(_ID),
    "eos_token_id": Optional(Either((_ID, Items(_ID, max_items=1024)))),
    "pad_token_id": Optional(_ID),
}
"""Of config.json and of generation_config.json alike."""

_NAME = Text(max_chars=200)
MAX_LAYERS = 1 << 16
_WINDOWED, _FULL = "sliding_attention", "full_attention"
# The largest sizes are far above any model, and small enough that no product of two leaves 64 bits.
SHAPE: Mapping[str, Kind] = {
    "vocab_size": Integer(1, 1 << 24),
    "hidden_size": Integer(1, 1 << 20),
    "intermediate_size": Integer(1, 1 << 22),
    "num_hidden_layers": Integer(1, MAX_LAYERS),
    "num_attention_heads": Integer(1, 1 << 16),
    "num_key_value_heads": Optional(Integer(1, 1 << 16)),
    "head_dim": Optional(Integer(1, 1 << 16)),
    "max_position_embeddings": Integer(1, 2**31 - 1),
    "rms_norm_eps": Real(1e-30, 1.0),
    "hidden_act": Optional(_NAME, "silu"),
    "attention_bias": Optional(Flag(), False),
    "tie_word_embeddings": Optional(Flag(), False),
    "reward_offset": Optional(Real(), 0.0),
    "reward_token_id": Optional(Integer(0, 2**31 - 1)),
}
_CAP = Optional(Real(1e-3, 1e9))
FURTHER: Mapping[str, Kind] = {
    "sliding_window": Optional(Integer(1, 2**31 - 1)),
    "layer_types": Optional(Items(_NAME, max_items=MAX_LAYERS)),
    "sliding_window_pattern": Optional(Integer(1, MAX_LAYERS)),
    "no_rope_layers": Optional(Items(Integer(0, 1), max_items=MAX_LAYERS)),
    "no_rope_layer_interval": Optional(Integer(1, MAX_LAYERS), 4),
    "rope_local_base_freq": Optional(Real(1.0, 1e15)),
    "query_pre_attn_scalar": Real(1e-6, 1e9),
    "attn_logit_softcapping": _CAP,
    "final_logit_softcapping": _CAP,
}
"""What `Family.reads` may name."""


_IDENTITY = Record(
    {
        "model_type": _NAME,
        "architectures": Optional(Items(_NAME, max_items=100), ()),
        "quantization_config": Optional(Anything()),
    }
)


def checked_family(where: str, found: Mapping[str, Any], head: str) -> Family:
    """Returns the family of a config.json with this `head`, "ForCausalLM" or "ForSequenceClassification".

    Raises:
        CorruptArtifact: no model_type, or a value of another type.
        ForeignArtifact: another architecture, or quantized weights.
    """
    named = check_value(found, _IDENTITY, where=where, error=CorruptArtifact)
    known = [family.architecture(head) for family in FAMILIES.values()]
    if named["model_type"] not in FAMILIES or not set(named["architectures"]) <= set(known):
        raise ForeignArtifact(
            f"{where}: model_type {named['model_type']!a}, architectures {list(named['architectures'])[:5]!a}; "
            f"known are {', '.join(known)}"
        )
    if named["quantization_config"] is not None:
        raise ForeignArtifact(
            f"{where} has a quantization_config: quantized weights are not read. Use the folder of the model that was "
            "quantized."
        )
    return FAMILIES[named["model_type"]]


def as_saved(config: GPTConfig, family: Family) -> GPTConfig:
    """`config`, read from a folder of `family`, so that it is saved as one again; a Llama with biases is a Qwen2."""
    if config.family is family or config.attention_bias != family.attention_bias:
        return config
    return replace(config, architecture=replace(config.architecture, model_type=family.model_type))


def read_fields(where: str, found: Mapping[str, Any], family: Family) -> dict[str, Any]:
    """Checks config.json and returns it with the standard keys, and `None` for those that the family has not.

    Raises:
        CorruptArtifact: a size is missing, or a value is of another type or out of range.
    """
    kinds: dict[str, Kind] = {family.key(name): kind for name, kind in SHAPE.items() if family.key(name)}
    if family.default_mlp_times:
        kinds[family.key("intermediate_size")] = Optional(SHAPE["intermediate_size"])
    kinds |= {name: FURTHER[name] for name in family.reads}
    kinds |= {name: Optional(Flag(), value) for name, value in family.fixed.items()}
    given = {**{family.key(name): value for name, value in family.defaults.items()}, **found}
    checked = check_value(given, Record({**kinds, **ROPE_KEYS, **ID_FIELDS}), where=where, error=CorruptArtifact)
    return {**checked, **{name: checked[family.key(name)] if family.key(name) else None for name in SHAPE}}


def read_shape(where: str, found: Mapping[str, Any], family: Family) -> GPTConfig:
    """Returns the shape that the fields of config.json (`read_fields`) describe.

    Raises:
        ForeignArtifact: a setting that is not computed.
        CorruptArtifact: sizes or lists that do not fit together.
    """
    _require_ours(where, found, family)
    width, heads = found["hidden_size"], found["num_attention_heads"]
    theta, windowed_theta, scaling = read_rope(where, found, family)
    depth = found["num_hidden_layers"]
    switches = replace(
        family.switches,
        rope_scaling=scaling,
        windowed_theta=windowed_theta,
        rotated_layers=_rotated_layers(where, found, family),
        window=found["sliding_window"] if "sliding_window" in family.reads else None,
        windowed_layers=_windowed_layers(where, found, family),
        query_scale=found["query_pre_attn_scalar"] if "query_pre_attn_scalar" in family.reads else None,
        attention_softcap=found["attn_logit_softcapping"] if "attn_logit_softcapping" in family.reads else None,
        logit_softcap=found["final_logit_softcapping"] if "final_logit_softcapping" in family.reads else None,
    )
    try:
        return GPTConfig(
            vocab_size=found["vocab_size"],
            depth=depth,
            width=width,
            heads=heads,
            kv_heads=found["num_key_value_heads"] or heads,
            head_dim=found["head_dim"] or family.default_head_dim or max(1, width // heads),
            mlp_width=found["intermediate_size"] or (family.default_mlp_times or 0) * width,
            context_tokens=found["max_position_embeddings"],
            rope_theta=theta,
            norm_epsilon=found["rms_norm_eps"],
            qk_norm=family.qk_norm,
            tied_embeddings=found["tie_word_embeddings"],
            # A Llama with biases is a Qwen2 if those of its output projections are zero.
            attention_bias=found["attention_bias"] if family.reads_attention_bias else family.attention_bias,
            architecture=switches.of_layers(depth),
        )
    except ConfigError as error:
        raise CorruptArtifact(f"{where}: the sizes do not fit together ({error}); download it again") from error


def _require_ours(where: str, found: Mapping[str, Any], family: Family) -> None:
    """Settings that change the arithmetic have the one value that is ours."""
    if found["hidden_act"] not in family.activations:  # several names of one function
        key, ours = family.key("hidden_act"), family.activations[0]
        raise ForeignArtifact(f"{where}: {key} is {found['hidden_act']!a}; only {ours!r} is computed here")
    for setting, value in family.fixed.items():
        if found[setting] is not value:
            raise ForeignArtifact(
                f"{where}: {setting} is {str(found[setting]).lower()}; only {str(value).lower()} is computed here"
            )


def _windowed_layers(where: str, found: Mapping[str, Any], family: Family) -> tuple[bool, ...]:
    """Which layers have the window."""
    depth = found["num_hidden_layers"]
    kinds = found["layer_types"] if "layer_types" in family.reads else None
    if kinds is None:
        pattern = found.get("sliding_window_pattern") if "sliding_window_pattern" in family.reads else None
        pattern = pattern or family.window_pattern
        return tuple(not pattern or (layer + 1) % pattern != 0 for layer in range(depth))
    if len(kinds) != depth:
        raise CorruptArtifact(f"{where}: layer_types has {len(kinds)} entries, there are {depth} layers")
    if odd := [kind for kind in kinds if kind not in (_WINDOWED, _FULL)]:
        raise ForeignArtifact(f"{where}: layer_types has {odd[0]!a}; computed are {_WINDOWED} and {_FULL}")
    windowed = tuple(kind == _WINDOWED for kind in kinds)
    if any(windowed) and found["sliding_window"] is None:
        raise CorruptArtifact(f"{where}: layer_types has {_WINDOWED}, and there is no sliding_window")
    return windowed


def _rotated_layers(where: str, found: Mapping[str, Any], family: Family) -> tuple[bool, ...]:
    """Which layers rotate queries and keys; empty: all."""
    if "no_rope_layers" not in family.reads:
        return ()
    depth, flags = found["num_hidden_layers"], found["no_rope_layers"]  # 1 means: it rotates
    if flags is None:
        flags = [(layer + 1) % found["no_rope_layer_interval"] != 0 for layer in range(depth)]
    if len(flags) != depth:
        raise CorruptArtifact(f"{where}: no_rope_layers has {len(flags)} entries, there are {depth} layers")
    return tuple(bool(flag) for flag in flags)


def shape_json(config: GPTConfig, family: Family, dtype: str) -> dict[str, Json]:
    """Returns config.json of a model of shape `config` in the format of `family`, without ids and classes.

    `dtype` is the weights' number format, "float32".
    """
    standard: dict[str, Json] = {
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "intermediate_size": config.mlp_width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": family.activations[0],
        "max_position_embeddings": config.context_tokens,
        "rms_norm_eps": config.norm_epsilon,
        "tie_word_embeddings": config.tied_embeddings,
        "attention_bias": config.attention_bias,
        "attention_dropout": 0.0,
    }
    return {
        "model_type": family.model_type,
        **{family.key(name): value for name, value in standard.items() if family.key(name)},
        **rope_json(config, family),
        **_further_json(config, family),
        "use_cache": True,
        "dtype": dtype,
        **{name: value for name, value in family.fixed.items() if value},
        **family.written,
    }


def _further_json(config: GPTConfig, family: Family) -> dict[str, Json]:
    """The keys of `Family.reads` but those of the rotation."""
    switches, layers = config.architecture, range(config.depth)
    scale = switches.query_scale
    values: dict[str, Json] = {
        "sliding_window": switches.window,
        "layer_types": [_FULL if switches.window_of(layer) is None else _WINDOWED for layer in layers],
        "no_rope_layers": [int(switches.rotates(layer)) for layer in layers],
        # transformers wants whole numbers where it has whole numbers
        "query_pre_attn_scalar": int(scale) if scale is not None and scale.is_integer() else scale,
        "attn_logit_softcapping": switches.attention_softcap,
        "final_logit_softcapping": switches.logit_softcap,
    }
    return {name: value for name, value in values.items() if name in family.reads}
