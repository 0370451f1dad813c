"""Reads and writes model folders of `transformers`: config.json and generation_config.json. No pickle.

A model is written in the format of the family that it came from, or that has its switches (`config.families`). What no
family's config.json can describe, as norms and biases on queries and keys, is refused before it is trained.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from stategpt.artifacts import Json, publish_file, verify
from stategpt.config import GPTConfig
from stategpt.config.architecture import PLAIN
from stategpt.config.families import FAMILIES
from stategpt.config.family import Family
from stategpt.config.hf_shape import as_saved, checked_family, read_fields, read_shape, shape_json
from stategpt.errors import ConfigError, CorruptArtifact, ForeignArtifact, MissingFile
from stategpt.json_reader import Flag, MapOf, Optional, Record, Text, check_value, read_json, read_record

from .special_ids import GENERATION, SpecialIds, special_ids
from .tensor_names import TensorNames
from .weights import MANIFEST_FILE

CONFIG_FILE = "config.json"
GENERATION_FILE = "generation_config.json"
CONFIG_LIMIT_BYTES = 1 << 20
_ELSEWHERE = "initialized_elsewhere"
_ORIGIN = Record({_ELSEWHERE: Optional(Flag())})
_NAME = Text(max_chars=200)
_LABELS = Record({"id2label": MapOf(_NAME, max_items=1 << 16)})


@dataclass(frozen=True)
class Description:
    """The contents of config.json and generation_config.json."""

    config: GPTConfig
    family: Family
    special_ids: SpecialIds
    reward_offset: float
    initialized_here: bool
    """Whether the weights began as `model.init` draws them."""
    reward_token: int | None


def gpt_tensor_name(name: str) -> str:
    """Returns the standard name on disk of a GPT's parameter: all but the prediction matrix begin with `model.`."""
    return name if name.startswith("lm_head.") else f"model.{name}"


def reward_tensor_name(name: str) -> str:
    """Returns the standard name on disk of a RewardModel's parameter: `gpt.*` is `model.*`, the head is `score`."""
    return name.replace("gpt.", "model.", 1) if name.startswith("gpt.") else name.replace("head.", "score.", 1)


def names_of(family: Family, standard: Callable[[str], str]) -> TensorNames:
    """Returns the names on disk in a folder of `family`: the `standard` ones, with its spelling of some parts."""
    return TensorNames(family, standard)


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


def classifier_config(config: GPTConfig, ids: SpecialIds, dtype: torch.dtype, labels: Sequence[str]) -> dict[str, Json]:
    """Returns config.json of a sequence classifier of these labels."""
    return _common(config, ids, dtype) | {
        "architectures": [saved_family(config).architecture("ForSequenceClassification")],
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
        "problem_type": "single_label_classification",
    }


def read_labels(folder: Path) -> tuple[str, ...]:
    """Reads the labels of the classifier in `folder`, in the order of the head's outputs.

    Raises:
        CorruptArtifact: config.json has no `id2label`, or one whose numbers are not 0, 1, 2, ...
    """
    path = folder / CONFIG_FILE
    found = read_record(path, _LABELS, error=CorruptArtifact, limit_bytes=CONFIG_LIMIT_BYTES)["id2label"]
    if sorted(found) != sorted(map(str, range(len(found)))) or len(found) < 2:
        raise CorruptArtifact(f"{path}: id2label has the numbers {sorted(found)[:5]}; two or more from 0 on are needed")
    return tuple(found[str(number)] for number in range(len(found)))


def saved_family(config: GPTConfig) -> Family:
    """Returns the family in whose format a model is saved. Raises `ConfigError` when no family has these switches."""
    family = config.family
    if family is None:
        raise ConfigError(
            "model.qk_norm and model.attention_bias are both on: no format in use has both, so the model could not be "
            "loaded elsewhere. Turn one off."
            if config.architecture == PLAIN
            else f"no family of {', '.join(FAMILIES)} computes {config.architecture}, so the model could not be saved; "
            "begin with the `switches` of one of `stategpt.config.families.FAMILIES`"
        )
    if config.architecture != PLAIN:
        _require_written(config, family)
    return family


def _require_written(config: GPTConfig, family: Family) -> None:
    """A model that its family's config.json cannot describe would come back as another one."""
    written = shape_json(config, family, "float32")
    try:
        read = read_shape("config.json", read_fields("config.json", written, family), family)
    except (CorruptArtifact, ForeignArtifact) as error:
        raise ConfigError(f"this shape cannot be saved as a {family.name}: {error}") from error
    read = as_saved(read, family)
    config = replace(config, architecture=config.architecture.of_layers(config.depth))
    names = [each.name for each in fields(GPTConfig) if getattr(read, each.name) != getattr(config, each.name)]
    if names:
        name = names[0]
        raise ConfigError(
            f"{family.name} has no {name} = {getattr(config, name)}: it would be loaded as {getattr(read, name)}"
        )


def _common(config: GPTConfig, ids: SpecialIds, dtype: torch.dtype) -> dict[str, Json]:
    return shape_json(config, saved_family(config), str(dtype).removeprefix("torch.")) | ids.to_json()


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
    family = checked_family(str(path), found, head)
    checked = read_fields(str(path), found, family)
    config = as_saved(read_shape(str(path), checked, family), family)
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
    return Description(
        config,
        family,
        ids,
        checked["reward_offset"],
        initialized_here=_initialized_here(str(path), found),
        reward_token=checked["reward_token_id"],
    )


def origin_json(initialized_here: bool) -> dict[str, Json]:
    """Returns the key of config.json that marks weights which did not begin here; none for those that did."""
    return {} if initialized_here else {_ELSEWHERE: True}


def _initialized_here(where: str, found: Mapping[str, Any]) -> bool:
    """Whether the weights began as `model.init` draws them: said by the folder, or its config.json is one of ours.

    Every config.json that `transformers` wrote has its version; ours has none.
    """
    marked = check_value(found, _ORIGIN, where=where, error=CorruptArtifact)[_ELSEWHERE]
    if marked is not None:
        return not marked
    return "transformers_version" not in found and {"dtype", "use_cache"} <= found.keys()
