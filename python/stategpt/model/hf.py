"""Folders as `transformers` reads and writes them: config.json, generation_config.json, model.safetensors. No pickle.

Which architecture a model is follows from its switches:

    qk_norm  attention_bias  format
    yes      no              Qwen3
    no       yes             Qwen2 (biases on queries, keys and values), or Llama with output biases of zero
    no       no              Llama

Queries and keys that are both normed and biased fit none of them: such a model cannot be saved.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from stategpt.artifacts import Json, publish_file, verify
from stategpt.config import GPTConfig
from stategpt.config.control import CONTROL_TOKENS, END_OF_TEXT, PAD
from stategpt.config.model import FAMILIES
from stategpt.errors import ConfigError, CorruptArtifact, ForeignArtifact

from .biased_llama import drop_zero_output_biases

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"

_SWITCHES = {family.lower(): switches for switches, family in FAMILIES.items()}
# Settings of these formats that change the arithmetic, with the one value that is ours.
_FIXED_SETTINGS: Mapping[str, tuple[Json, ...]] = {
    "hidden_act": ("silu",),
    "use_sliding_window": (False, None),
    "rope_scaling": (None,),
    "mlp_bias": (False, None),
}

_TensorName = Callable[[str], str]


def gpt_tensor_name(name: str) -> str:
    """Name on disk of a GPT's parameter: all but the prediction matrix live under `model.`."""
    return name if name.startswith("lm_head.") else f"model.{name}"


def reward_tensor_name(name: str) -> str:
    """Name on disk of a RewardModel's parameter: `gpt.*` lives under `model.`, the head is `score`."""
    return name.replace("gpt.", "model.", 1) if name.startswith("gpt.") else name.replace("head.", "score.", 1)


def causal_lm_config(config: GPTConfig) -> dict[str, Json]:
    """config.json of a language model of shape `config`.

    Raises `ConfigError` when no format has its switches.
    """
    return _common(config) | {"architectures": [f"{config.family}ForCausalLM"]}


def reward_config(config: GPTConfig, reward_offset: float) -> dict[str, Json]:
    """config.json of a sequence classifier with one label; `transformers` keeps `reward_offset` but does not add it."""
    return _common(config) | {
        "architectures": [f"{config.family}ForSequenceClassification"],
        "id2label": {"0": "reward"},
        "label2id": {"reward": 0},
        "problem_type": "regression",
        "reward_offset": reward_offset,
    }


def model_type(config: GPTConfig) -> str:
    """The format's name. Raises `ConfigError` when no format has these switches."""
    if not config.family:
        raise ConfigError(
            "model.qk_norm and model.attention_bias are both on: no format in use has both, so the model could not be "
            "loaded elsewhere. Turn one off."
        )
    return config.family.lower()


def _common(config: GPTConfig) -> dict[str, Json]:
    end_of_text = CONTROL_TOKENS.index(END_OF_TEXT)
    return {
        "model_type": model_type(config),
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "intermediate_size": config.hidden_width,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_width,
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
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "pad_token_id": CONTROL_TOKENS.index(PAD),
        "dtype": "float32",
    }


def write_config(folder: Path, config: Mapping[str, Json]) -> None:
    """Writes config.json."""
    publish_file(folder / CONFIG_FILE, _json_bytes(config))


def write_generation_config(folder: Path, config: Mapping[str, Json], never_sampled: Sequence[int] = ()) -> None:
    """Writes generation_config.json: the ids that end and pad a text, as in config.json, and those never sampled."""
    settings = {name: config[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    if never_sampled:
        settings["suppress_tokens"] = list(never_sampled)
    publish_file(folder / "generation_config.json", _json_bytes(settings))


def _json_bytes(value: Mapping[str, Json]) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def read_config(folder: Path, head: str = "ForCausalLM") -> tuple[GPTConfig, dict[str, Any]]:
    """The shape that config.json describes, and all it says; a published folder (manifest.json) is verified first.

    Raises:
        CorruptArtifact: no config.json, or one that is not JSON or lacks a size.
        ForeignArtifact: an architecture other than ours with this `head`, or a setting we do not compute.
    """
    if (folder / "manifest.json").exists():
        verify(folder)
    path = folder / CONFIG_FILE
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CorruptArtifact(f"{folder} holds no {CONFIG_FILE}: no model folder, or one not fully written") from None
    except ValueError as error:
        raise CorruptArtifact(f"{path} is not JSON ({error}); export or download the model again") from error
    _require_ours(path, found, head)
    try:
        return _shape(found), found
    except KeyError as error:
        raise CorruptArtifact(f"{path} does not say {error}; export or download the model again") from error


def _require_ours(path: Path, found: Mapping[str, Any], head: str) -> None:
    known = [f"{family}{head}" for family in FAMILIES.values()]
    named = list(found.get("architectures") or [])
    if found.get("model_type") not in _SWITCHES or not set(named) <= set(known):
        raise ForeignArtifact(
            f"{path}: model_type {found.get('model_type')!r}, architectures {named}; known are {', '.join(known)}"
        )
    for setting, ours in _FIXED_SETTINGS.items():
        if found.get(setting, ours[0]) not in ours:
            raise ForeignArtifact(f"{path}: {setting} is {found[setting]!r}; only {ours[0]!r} is computed here")
    rope_type = (found.get("rope_parameters") or {}).get("rope_type", "default")
    if rope_type != "default":
        raise ForeignArtifact(f"{path}: rope_type is {rope_type!r}; only plain rotary positions are computed here")
    if found["model_type"] == "qwen3" and found.get("attention_bias"):
        raise ForeignArtifact(f"{path}: attention_bias with norms on queries and keys is not computed here")


def _shape(found: Mapping[str, Any]) -> GPTConfig:
    qk_norm, attention_bias = _SWITCHES[found["model_type"]]
    if found["model_type"] == "llama":  # with biases it is a Qwen2 if those of its output projections are zero
        attention_bias = bool(found.get("attention_bias", False))
    heads = found["num_attention_heads"]
    rope = found.get("rope_parameters") or found
    return GPTConfig(
        vocab_size=found["vocab_size"],
        depth=found["num_hidden_layers"],
        width=found["hidden_size"],
        heads=heads,
        kv_heads=found.get("num_key_value_heads") or heads,
        head_width=found.get("head_dim") or found["hidden_size"] // heads,
        hidden_width=found["intermediate_size"],
        context_tokens=found["max_position_embeddings"],
        rope_theta=float(rope.get("rope_theta", 10_000.0)),
        norm_epsilon=found["rms_norm_eps"],
        qk_norm=qk_norm,
        tied_embeddings=bool(found.get("tie_word_embeddings", False)),
        attention_bias=attention_bias,
    )


def save_weights(
    model: nn.Module, folder: Path, disk_name: _TensorName, further: Mapping[str, Tensor] | None = None
) -> None:
    """Writes every parameter of `model`, a tied one once, and the tensors `further` to model.safetensors."""
    tensors = {disk_name(name): p.detach().cpu().contiguous() for name, p in model.named_parameters()}
    tensors |= further or {}
    # "format" is what transformers looks for before it trusts a safetensors file.
    publish_file(folder / WEIGHTS_FILE, save(tensors, metadata={"format": "pt"}))


def load_weights(model: nn.Module, folder: Path, disk_name: _TensorName) -> None:
    """Fills every parameter of `model` from model.safetensors, strictly.

    Raises:
        ForeignArtifact: tensors that the model does not have, or output biases other than zero.
        CorruptArtifact: the file or tensors are missing, unreadable or of another shape.
    """
    path = folder / WEIGHTS_FILE
    tensors = _read_tensors(path)
    expected = {disk_name(name): parameter for name, parameter in model.named_parameters()}
    _drop_tied_copy(tensors, expected)
    drop_zero_output_biases(tensors, path)
    unknown, missing = sorted(tensors.keys() - expected.keys()), sorted(expected.keys() - tensors.keys())
    if unknown:
        raise ForeignArtifact(f"{path} holds tensors that {CONFIG_FILE} has no place for: {_listed(unknown)}")
    if missing:
        raise CorruptArtifact(f"{path} lacks {_listed(missing)}; export or download the model again")
    for name, parameter in expected.items():
        if tensors[name].shape != parameter.shape:
            raise CorruptArtifact(
                f"{path}: {name} is {list(tensors[name].shape)}, {CONFIG_FILE} asks for {list(parameter.shape)}"
            )
    with torch.no_grad():
        for name, parameter in expected.items():
            parameter.copy_(tensors[name])


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError:
        raise CorruptArtifact(f"{path} is missing; the folder was not fully written or copied") from None
    except SafetensorError as error:
        raise CorruptArtifact(f"{path} cannot be read ({error}); export or download the model again") from error


def _drop_tied_copy(tensors: dict[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Some exporters store a tied prediction matrix a second time: harmless if it is the same."""
    embedding, copy = tensors.get("model.embed_tokens.weight"), tensors.get("lm_head.weight")
    tied = "lm_head.weight" not in expected
    if tied and embedding is not None and copy is not None and torch.equal(embedding, copy):
        del tensors["lm_head.weight"]


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
