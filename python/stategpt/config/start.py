"""The model that a run starts from instead of random weights: its shape and vocabulary, read from its folder.

Needs no torch, so that `stategpt plan` knows the sizes. The weights are read when the run begins (`stages.start`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stategpt.config.architecture import PLAIN
from stategpt.config.checks import shown_key, shown_value
from stategpt.config.families import FAMILIES
from stategpt.errors import ConfigError, CorruptArtifact, MissingFile, StorageError
from stategpt.json_reader import Anything, Flag, Integer, Optional, Real, Record, Text, read_record
from stategpt.shown_fields import documented

_CONFIG_LIMIT_BYTES = 1 << 20
_SIZE = Integer(1, 2**31 - 1)
_KIND = Record({"model_type": Text(max_chars=200)})
_SHAPE = Record(
    {
        "vocab_size": _SIZE,
        "hidden_size": _SIZE,
        "intermediate_size": _SIZE,
        "num_hidden_layers": _SIZE,
        "num_attention_heads": _SIZE,
        "num_key_value_heads": _SIZE,
        "head_dim": _SIZE,
        "max_position_embeddings": _SIZE,
        "rms_norm_eps": Real(),
        "rope_theta": Real(),
        "rope_scaling": Optional(Anything()),
        "attention_bias": Optional(Flag(), False),
        "tie_word_embeddings": Optional(Flag(), False),
    }
)
_SETTINGS = {
    "vocab_size": "vocab_size",
    "hidden_size": "width",
    "intermediate_size": "mlp_width",
    "num_hidden_layers": "depth",
    "num_attention_heads": "heads",
    "num_key_value_heads": "kv_heads",
    "head_dim": "head_dim",
    "max_position_embeddings": "context_tokens",
    "rms_norm_eps": "norm_epsilon",
    "rope_theta": "rope_theta",
    "tie_word_embeddings": "tied_embeddings",
}
"""Keys of config.json -> settings of `model`."""
_SWITCHES = ("model.qk_norm", "model.attention_bias")
_VOCABULARY = "tokenizer.vocab_size"
START_SETTINGS = (*(f"model.{setting}" for setting in _SETTINGS.values()), *_SWITCHES, _VOCABULARY)
"""Settings that the start model fixes."""


@documented
@dataclass(frozen=True)
class StartConfig:
    """The model that a run starts from; its tokenizer comes with it. With [sources] pretraining continues from it."""

    model: str = ""
    """Folder of a model that stategpt wrote, or a stage's folder of a run; empty: random weights."""


def model_folder(model: str) -> Path:
    """The folder with the weights that `start.model` means: itself, or `model/` inside a stage's folder.

    Raises:
        ConfigError: neither is a model's folder with its tokenizer.
    """
    given = Path(model)
    for folder in (given, given / "model"):
        if os.path.isfile(folder / "config.json"):
            if not os.path.isfile(folder / "tokenizer.json"):
                raise ConfigError(
                    f"start.model = {shown_value(model)}: {shown_key(str(folder))} holds no tokenizer.json; a "
                    "model starts a run with the tokenizer it was trained with, so copy that beside it"
                )
            return folder
    what = "holds no config.json, nor does model/ in it" if os.path.isdir(given) else "is not a folder"
    raise ConfigError(
        f"start.model = {shown_value(model)} {what}; give a model's folder, as runs/NAME/sft/model or runs/NAME/sft"
    )


def start_settings(model: str) -> dict[str, Any]:
    """Settings (dotted key -> value) that the model of `start.model` fixes: its shape and its vocabulary.

    Raises:
        ConfigError: there is no model, or its config.json is not one that stategpt wrote.
    """
    path = model_folder(model) / "config.json"
    try:
        kind = read_record(path, _KIND, error=CorruptArtifact, limit_bytes=_CONFIG_LIMIT_BYTES)["model_type"]
        family = FAMILIES.get(kind)
        if family is None or family.switches != PLAIN:
            known = ", ".join(name for name, family in FAMILIES.items() if family.switches == PLAIN)
            raise ConfigError(f"start.model: {path} has the model_type {kind!a}; a run can start from {known}")
        found = read_record(path, _SHAPE, error=CorruptArtifact, limit_bytes=_CONFIG_LIMIT_BYTES)
    except (CorruptArtifact, MissingFile, StorageError) as error:
        raise ConfigError(f"start.model: {error}") from error
    if found["rope_scaling"] is not None:
        raise ConfigError(f"start.model: {path} has rope_scaling; a run can start from plain rotary positions only")
    settings = {f"model.{setting}": found[key] for key, setting in _SETTINGS.items()}
    bias = found["attention_bias"] if family.reads_attention_bias else family.attention_bias
    switches = zip(_SWITCHES, (family.qk_norm, bias), strict=True)
    return settings | dict(switches) | {_VOCABULARY: found["vocab_size"]}


def refuse_other_shape(given: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
    """Refuses a setting that was given and that the start model fixes to another value."""
    for key, value in fixed.items():
        if key in given and given[key] != value:
            raise ConfigError(f"{key} = {given[key]!r}: start.model has {value!r}; leave the setting out")
