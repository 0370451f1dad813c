"""Reads and writes model folders of `transformers`: config.json and generation_config.json. No pickle.

A model is written in the format of the family that has its switches (`config.families`); no family has both norms and
biases on queries and keys, so such a model cannot be saved.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stategpt.artifacts import Json, publish_file, verify
from stategpt.config import GPTConfig
from stategpt.config.families import FAMILIES, Family
from stategpt.errors import ConfigError, CorruptArtifact, ForeignArtifact, MissingFile
from stategpt.json_reader import (
    Anything,
    Flag,
    Integer,
    Items,
    Kind,
    Optional,
    Real,
    Record,
    Text,
    check_value,
    read_json,
    read_record,
)

from .special_ids import GENERATION, ID_FIELDS, SpecialIds, special_ids
from .weights import MANIFEST_FILE

CONFIG_FILE = "config.json"
GENERATION_FILE = "generation_config.json"
CONFIG_LIMIT_BYTES = 1 << 20

_NAME = Text(max_chars=200)
_IDENTITY = Record(
    {
        "model_type": _NAME,
        "architectures": Optional(Items(_NAME, max_items=100), ()),
        "quantization_config": Optional(Anything()),
    }
)
_THETA = Optional(Real(1.0, 1e15))
_ROPE: Mapping[str, Kind] = {"rope_theta": _THETA, "rope_type": Optional(_NAME), "type": Optional(_NAME)}
# The largest sizes are far above any model, and small enough that no product of two leaves 64 bits.
_SHAPE: Mapping[str, Kind] = {
    "vocab_size": Integer(1, 1 << 24),
    "hidden_size": Integer(1, 1 << 20),
    "intermediate_size": Integer(1, 1 << 22),
    "num_hidden_layers": Integer(1, 1 << 16),
    "num_attention_heads": Integer(1, 1 << 16),
    "num_key_value_heads": Optional(Integer(1, 1 << 16)),
    "head_dim": Optional(Integer(1, 1 << 16)),
    "max_position_embeddings": Integer(1, 2**31 - 1),
    "rms_norm_eps": Real(1e-30, 1.0),
    "rope_theta": _THETA,
    "rope_parameters": Optional(Record(_ROPE), {}),
    "rope_scaling": Optional(Record(_ROPE), {}),
    "hidden_act": Optional(_NAME, "silu"),
    "attention_bias": Optional(Flag(), False),
    "tie_word_embeddings": Optional(Flag(), False),
    "reward_offset": Optional(Real(), 0.0),
    **ID_FIELDS,
}


@dataclass(frozen=True)
class Description:
    """The contents of config.json and generation_config.json."""

    config: GPTConfig
    family: Family
    special_ids: SpecialIds
    reward_offset: float


def gpt_tensor_name(name: str) -> str:
    """Returns the standard name on disk of a GPT's parameter: all but the prediction matrix begin with `model.`."""
    return name if name.startswith("lm_head.") else f"model.{name}"


def reward_tensor_name(name: str) -> str:
    """Returns the standard name on disk of a RewardModel's parameter: `gpt.*` is `model.*`, the head is `score`."""
    return name.replace("gpt.", "model.", 1) if name.startswith("gpt.") else name.replace("head.", "score.", 1)


def names_of(family: Family, standard: Callable[[str], str]) -> Callable[[str], str]:
    """Returns the names on disk in a folder of `family`: the `standard` ones, with its spelling of some parts."""

    def disk_name(name: str) -> str:
        found = standard(name)
        for part, spelling in family.tensor_names:
            found = found.replace(part, spelling)
        return found

    return disk_name


def causal_lm_config(config: GPTConfig, ids: SpecialIds, dtype: torch.dtype) -> dict[str, Json]:
    """Returns config.json of a language model of shape `config` with weights of `dtype`.

    Raises `ConfigError` when no format has its switches.
    """
    return _common(config, ids, dtype) | {"architectures": [saved_family(config).architecture("ForCausalLM")]}


def reward_config(config: GPTConfig, ids: SpecialIds, dtype: torch.dtype, reward_offset: float) -> dict[str, Json]:
    """Returns config.json of a sequence classifier with one label; `transformers` does not add `reward_offset`."""
    return _common(config, ids, dtype) | {
        "architectures": [saved_family(config).architecture("ForSequenceClassification")],
        "id2label": {"0": "reward"},
        "label2id": {"reward": 0},
        "problem_type": "regression",
        "reward_offset": reward_offset,
    }


def saved_family(config: GPTConfig) -> Family:
    """Returns the family in whose format a model is saved. Raises `ConfigError` when no family has these switches."""
    if config.family is None:
        raise ConfigError(
            "model.qk_norm and model.attention_bias are both on: no format in use has both, so the model could not be "
            "loaded elsewhere. Turn one off."
        )
    return config.family


def _common(config: GPTConfig, ids: SpecialIds, dtype: torch.dtype) -> dict[str, Json]:
    family = saved_family(config)
    return {
        "model_type": family.model_type,
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "intermediate_size": config.mlp_width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": config.context_tokens,
        "rms_norm_eps": config.norm_epsilon,
        # Both spellings: transformers 5 reads the second, everything older and most servers the first.
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_theta": config.rope_theta, "rope_type": "default"},
        "tie_word_embeddings": config.tied_embeddings,
        "attention_bias": config.attention_bias,
        "attention_dropout": 0.0,
        "use_cache": True,
        "dtype": str(dtype).removeprefix("torch."),
        **{name: value for name, value in family.fixed.items() if value},
        **ids.to_json(),
    }


def write_config(folder: Path, config: Mapping[str, Json]) -> None:
    """Writes config.json."""
    publish_file(folder / CONFIG_FILE, _json_bytes(config))


def write_generation_config(folder: Path, ids: SpecialIds, never_sampled: Sequence[int] = ()) -> None:
    """Writes generation_config.json: which ids begin, end and pad a text, and which are never sampled."""
    settings = ids.to_json()
    if never_sampled:
        settings["suppress_tokens"] = list(never_sampled)
    publish_file(folder / GENERATION_FILE, _json_bytes(settings))


def _json_bytes(value: Mapping[str, Json]) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def read_config(folder: Path, head: str = "ForCausalLM") -> Description:
    """Reads the description of the model in `folder`; a published folder (manifest.json) is verified first.

    Raises:
        CorruptArtifact: no config.json, or one that is not JSON, lacks a size or has a value of another type or range.
        ForeignArtifact: an architecture other than ours with this `head`, or a setting we do not compute.
        StorageError: a file that is not a regular file or cannot be read.
    """
    if os.path.lexists(folder / MANIFEST_FILE):
        verify(folder)
    path = folder / CONFIG_FILE
    try:
        found = read_json(path, error=CorruptArtifact, limit_bytes=CONFIG_LIMIT_BYTES)
    except MissingFile:
        raise CorruptArtifact(f"{folder} holds no {CONFIG_FILE}: no model folder, or one not fully written") from None
    named = check_value(found, _IDENTITY, where=str(path), error=CorruptArtifact)
    family = _checked_family(path, named, head)
    fixed = {name: Optional(Flag(), value) for name, value in family.fixed.items()}
    checked = check_value(found, Record({**_SHAPE, **fixed}), where=str(path), error=CorruptArtifact)
    _require_ours(path, checked, family)
    try:
        config = _shape(checked, family)
    except ConfigError as error:
        raise CorruptArtifact(f"{path}: the sizes do not fit together ({error}); download it again") from error
    try:
        generation = read_record(
            folder / GENERATION_FILE, GENERATION, error=CorruptArtifact, limit_bytes=CONFIG_LIMIT_BYTES
        )
    except MissingFile:
        generation = {}
    try:
        ids = special_ids(checked, generation, frozenset(found), family.default_ids)
    except CorruptArtifact as error:
        raise CorruptArtifact(f"{folder}: {error}") from None
    return Description(config, family, ids, checked["reward_offset"])


def _checked_family(path: Path, found: Mapping[str, Any], head: str) -> Family:
    known = [family.architecture(head) for family in FAMILIES.values()]
    if found["model_type"] not in FAMILIES or not set(found["architectures"]) <= set(known):
        raise ForeignArtifact(
            f"{path}: model_type {found['model_type']!a}, architectures {list(found['architectures'])[:5]!a}; "
            f"known are {', '.join(known)}"
        )
    if found["quantization_config"] is not None:
        raise ForeignArtifact(
            f"{path} has a quantization_config: quantized weights are not read. Use the folder of the model that was "
            "quantized."
        )
    return FAMILIES[found["model_type"]]


def _require_ours(path: Path, found: Mapping[str, Any], family: Family) -> None:
    """Settings that change the arithmetic have the one value that is ours."""
    if found["hidden_act"] not in ("silu", "swish"):  # two names of one function
        raise ForeignArtifact(f"{path}: hidden_act is {found['hidden_act']!a}; only 'silu' is computed here")
    for setting, value in family.fixed.items():
        if found[setting] is not value:
            raise ForeignArtifact(
                f"{path}: {setting} is {str(found[setting]).lower()}; only {str(value).lower()} is computed here"
            )
    for setting in ("rope_parameters", "rope_scaling"):
        rope = found[setting]
        kinds = [rope[key] for key in ("rope_type", "type") if rope.get(key) is not None]
        plain = all(kind == "default" for kind in kinds) and (kinds or not (setting == "rope_scaling" and rope))
        if not plain:
            raise ForeignArtifact(
                f"{path}: {setting} has the rope_type {(kinds or [None])[0]!a}; only plain rotary positions "
                "('default') are computed here"
            )


def _shape(found: Mapping[str, Any], family: Family) -> GPTConfig:
    heads = found["num_attention_heads"]
    # transformers' order: rope_scaling, if it is not empty, replaces rope_parameters; the plain key comes last.
    rope = found["rope_scaling"] or found["rope_parameters"]
    return GPTConfig(
        vocab_size=found["vocab_size"],
        depth=found["num_hidden_layers"],
        width=found["hidden_size"],
        heads=heads,
        kv_heads=found["num_key_value_heads"] or heads,
        head_dim=found["head_dim"] or family.default_head_dim or max(1, found["hidden_size"] // heads),
        mlp_width=found["intermediate_size"],
        context_tokens=found["max_position_embeddings"],
        rope_theta=rope.get("rope_theta") or found["rope_theta"] or 10_000.0,
        norm_epsilon=found["rms_norm_eps"],
        qk_norm=family.qk_norm,
        tied_embeddings=found["tie_word_embeddings"],
        # A Llama with biases is a Qwen2 if those of its output projections are zero.
        attention_bias=found["attention_bias"] if family.reads_attention_bias else family.attention_bias,
    )
