"""adapter_config.json as PEFT writes it: what is read of it, what is refused, and what is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stategpt.artifacts.fingerprint import Json
from stategpt.errors import CorruptArtifact, ForeignArtifact
from stategpt.json_reader import Anything, Flag, MapOf, Optional, Real, Record, Text, read_record
from stategpt.visible_text import visible_line

CONFIG_FILE = "adapter_config.json"
_LIMIT_BYTES = 4 << 20
_FIELDS = Record(
    {
        "peft_type": Text(max_chars=100),
        "lora_alpha": Real(),
        "lora_dropout": Optional(Real(), 0.0),
        "bias": Optional(Text(max_chars=100), "none"),
        "use_rslora": Optional(Flag(), False),
        "use_dora": Optional(Flag(), False),
        "alpha_pattern": Optional(MapOf(Real()), {}),
        "init_lora_weights": Optional(Anything(), True),
    }
)
_NOT_NEEDED = frozenset(
    {
        *("auto_mapping", "base_model_name_or_path", "revision", "inference_mode", "task_type", "peft_version"),
        *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "modules_to_save"),
        *("r", "rank_pattern", "fan_in_fan_out", "ensure_weight_tying", "runtime_config"),
        *("megatron_core", "qalora_group_size"),
    }
)
"""Keys that the tensors' names and shapes repeat, or that do not change what is computed."""
_KEEPS_BASE = (True, False, "gaussian", "orthogonal", "eva")
"""Values of init_lora_weights under which the base is as it was published."""
_PLAIN_NAME = re.compile(r"\^?[A-Za-z0-9_.]{1,500}", re.ASCII)


@dataclass(frozen=True)
class AdapterConfig:
    """The settings of an adapter that its tensors do not tell."""

    alpha: float
    dropout: float = 0.0
    rslora: bool = False
    dora: bool = False
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)
    """Names of layers, or their ends, with an alpha of their own."""

    def alpha_of(self, module: str) -> float:
        """Returns the alpha of the layer with this name on disk; the first name that fits decides, as in PEFT."""
        for name, alpha in self.alpha_pattern.items():
            whole = name.startswith("^")
            if module == name.lstrip("^") or (not whole and module.endswith(f".{name}")):
                return alpha
        return self.alpha


def read_adapter_config(folder: Path) -> AdapterConfig:
    """Reads adapter_config.json.

    Raises:
        CorruptArtifact: not JSON, or a value of another type.
        ForeignArtifact: no LoRA, or a setting that changes what is computed or the base; the message names it.
        MissingFile, StorageError: it cannot be read.
    """
    path = folder / CONFIG_FILE
    found = read_record(path, _FIELDS, error=CorruptArtifact, limit_bytes=_LIMIT_BYTES)
    if found["peft_type"] != "LORA":
        raise ForeignArtifact(f"{path}: peft_type is {visible_line(found['peft_type'])}; only LORA is read")
    if found["bias"] != "none":
        raise ForeignArtifact(f"{path}: bias is {visible_line(found['bias'])}; trained biases are not read")
    if not any(found["init_lora_weights"] == known for known in _KEEPS_BASE):
        raise ForeignArtifact(
            f"{path}: init_lora_weights changes the base's weights too; convert the adapter to plain LoRA with PEFT "
            "(save_pretrained with path_initial_model_for_weight_conversion)"
        )
    for key, value in found.items():
        if key not in _NOT_NEEDED and key not in _FIELDS.fields and value not in (None, False, {}, []):
            raise ForeignArtifact(f"{path}: {visible_line(key)} is set, which changes what is computed; it is not read")
    for name in found["alpha_pattern"]:
        if not _PLAIN_NAME.fullmatch(name):
            raise ForeignArtifact(f"{path}: alpha_pattern has {visible_line(name[:100])!r}; only plain names are read")
    return _checked(path, found)


def _checked(path: Path, found: Mapping[str, Any]) -> AdapterConfig:
    alphas = {"lora_alpha": found["lora_alpha"], **found["alpha_pattern"]}
    for name, alpha in alphas.items():
        if not 0 < alpha < 1e9:
            raise CorruptArtifact(f"{path}: alpha of {visible_line(name)} is {alpha}; it is above 0")
    if not 0 <= found["lora_dropout"] < 1:
        raise CorruptArtifact(f"{path}: lora_dropout is {found['lora_dropout']}; it is at least 0 and below 1")
    dropout, rslora, dora = found["lora_dropout"], found["use_rslora"], found["use_dora"]
    return AdapterConfig(found["lora_alpha"], dropout, rslora, dora, found["alpha_pattern"])


def adapter_config_json(
    config: AdapterConfig,
    ranks: Mapping[str, int],
    targets: list[str],
    *,
    transposed: bool,
    heads: list[str],
) -> dict[str, Json]:
    """Returns the keys of adapter_config.json. `ranks` are those of the layers by name on disk, `heads` trained whole.

    PEFT fills in what is absent.
    """
    counts = list(ranks.values())
    rank = max(set(counts), key=lambda each: (counts.count(each), -each))
    return {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS" if heads else "CAUSAL_LM",
        "base_model_name_or_path": None,
        "inference_mode": True,
        "r": rank,
        "rank_pattern": {name: each for name, each in ranks.items() if each != rank},
        "lora_alpha": config.alpha,
        "alpha_pattern": dict(config.alpha_pattern),
        "lora_dropout": config.dropout,
        "use_rslora": config.rslora,
        "use_dora": config.dora,
        "bias": "none",
        "fan_in_fan_out": transposed,
        "init_lora_weights": True,
        "modules_to_save": list(heads) or None,
        "target_modules": list(targets),
    }
