"""Adapters on disk, in PEFT's format: adapter_config.json and adapter_model.safetensors. No pickle is read.

    base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight      [R, I]
    base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight      [O, R]
    base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector    [O], DoRA
    base_model.model.score.weight                                       a head, trained whole

Names are those of the base's family. The metadata of the tensors holds `base`, a hash of the weights that the adapter
belongs to, which PEFT passes over, and a reward model's `reward_offset`.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from stategpt.artifacts import publish_file
from stategpt.errors import CorruptArtifact, ForeignArtifact, InvalidArgument, MissingFile

from .adapter_config import CONFIG_FILE, AdapterConfig, adapter_config_json, read_adapter_config
from .adapter_tensors import AdapterTensors, disk_names, joined, layers_on_disk, parts_of
from .lora_layer import LoRALinear
from .lora_targets import Model, lora_layers, put, trunk_of
from .quantize import QuantizedEmbedding, QuantizedLinear
from .safetensors_file import FLOATS, SafetensorsFile, shown_name
from .weights import with_metadata

ADAPTER_FILE = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_NAME = re.compile(r"(.+)\.(lora_A\.weight|lora_B\.weight|lora_magnitude_vector)", re.ASCII)


def save_adapter(model: nn.Module, folder: str | Path, *, base: str = "") -> None:
    """Writes the adapters of `model` and its heads; PEFT and `load_adapter` read them.

    `base` is the `base_hash` of the weights that it will be loaded onto, where these are not the ones it has now: a
    base that was quantized before `lora`.
    Raises `InvalidArgument` for a model without adapters, merged ones included.
    """
    first = next((layer for _, layer in lora_layers(model)), None)
    if first is None:
        raise InvalidArgument("the model has no adapters to save: they were merged already, or never added (sg.lora)")
    places = layers_on_disk(model)
    found = {disk: joined([model.get_submodule(name) for name in names]) for disk, names in places.items()}
    adapters = {disk: adapter for disk, adapter in found.items() if adapter is not None}
    heads = _heads(model)
    tensors = {f"{disk}.{name}": tensor for disk, each in adapters.items() for name, tensor in _named(each).items()}
    tensors |= {name: parameter.detach() for name, parameter in heads.items()}
    content = {
        f"{_PREFIX}{name}": tensor.to("cpu", torch.float32).clone().contiguous() for name, tensor in tensors.items()
    }
    metadata = {"format": "pt", "base": base or base_hash(model)}
    offset = getattr(model, "reward_offset", None)
    if isinstance(offset, float):
        metadata["reward_offset"] = repr(offset)
    config = adapter_config_json(
        _settings(first, adapters),
        {disk: each.rank for disk, each in adapters.items()},
        _target_names(list(adapters), list(places)),
        transposed=bool(disk_names(model).family.transposed),
        heads=sorted({name.rpartition(".")[0] for name in heads}),
    )
    publish_file(Path(folder) / ADAPTER_FILE, with_metadata(save(content), metadata))
    publish_file(Path(folder) / CONFIG_FILE, (json.dumps(config, indent=2, sort_keys=True) + "\n").encode())


def load_adapter(model: Model, folder: str | Path) -> Model:
    """Adds the adapters in `folder`, of `save_adapter` or PEFT, to `model` in place, and loads its heads. -> `model`.

    All else is frozen, as by `lora`. What is read is checked before the model is changed.

    Raises:
        ForeignArtifact: pickled tensors; an adapter of another base (its names, shapes or hash); settings that are not
            LoRA's, rsLoRA's or DoRA's.
        CorruptArtifact: files that cannot be read, tensors missing or not finite.
        InvalidArgument: the model has adapters already.
        MissingFile, StorageError: there is no adapter.
    """
    path = Path(folder)
    if next(lora_layers(model), None) is not None:
        raise InvalidArgument("the model has adapters already; merge them first (stategpt.model.lora.merge)")
    _, gpt = trunk_of(model)
    config = read_adapter_config(path)
    with _open(path) as file:
        adapters, heads = _checked(file, config, model)
        offset = _offset(file, model)
    gpt.requires_grad_(False)
    for name, adapter in adapters.items():
        alpha = adapter.scale * (math.sqrt(adapter.rank) if config.rslora else adapter.rank)
        base = model.get_submodule(name)
        layer = LoRALinear(base, adapter.rank, alpha, config.dropout, config.rslora, config.dora, name=name)
        with torch.no_grad():
            layer.lora_A.copy_(adapter.A)
            layer.lora_B.copy_(adapter.B)
            if layer.magnitude is not None and adapter.magnitude is not None:
                layer.magnitude.copy_(adapter.magnitude)
        put(model, name, layer)
    with torch.no_grad():
        for parameter, value in heads:
            parameter.copy_(value)
    if offset is not None:
        model.reward_offset = offset  # type: ignore[assignment]
    return model


def base_hash(model: nn.Module) -> str:
    """Hashes the weights under the adapters of `model`, heads left out: BLAKE2b of names, shapes and float32 values.

    The same for a base in any format that holds its values: float32 weights that were bfloat16 hash as those do.
    """
    _, gpt = trunk_of(model)
    adapted = dict(lora_layers(gpt))
    weights: dict[str, Tensor] = {}
    for name, parameter in gpt.named_parameters():
        layer, _, last = name.rpartition(".")
        if layer not in adapted:
            weights[f"{layer.removesuffix('.base')}.{last}"] = parameter
    for name, module in gpt.named_modules():
        if isinstance(module, QuantizedLinear | QuantizedEmbedding):
            weights[f"{name.removesuffix('.base')}.weight"] = module.dequantized()
    digest = hashlib.blake2b(digest_size=32)
    for name in sorted(weights):
        value = weights[name].detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{name} {list(value.shape)}\n".encode())
        digest.update(value.numpy().data)
    return digest.hexdigest()


def _named(adapter: AdapterTensors) -> dict[str, Tensor]:
    """The tensors of an adapter by what their names on disk end in."""
    found = {"lora_A.weight": adapter.A, "lora_B.weight": adapter.B}
    return found if adapter.magnitude is None else found | {"lora_magnitude_vector": adapter.magnitude}


def _heads(model: nn.Module) -> dict[str, nn.Parameter]:
    """Parameters outside the GPT by their names on disk."""
    prefix, _ = trunk_of(model)
    names = disk_names(model)
    return {names(name): each for name, each in model.named_parameters() if prefix and not name.startswith(prefix)}


def _settings(first: LoRALinear, adapters: Mapping[str, AdapterTensors]) -> AdapterConfig:
    """The settings that most layers share, and the alpha of the others."""
    alphas = {
        disk: each.scale * (math.sqrt(each.rank) if first.rslora else each.rank) for disk, each in adapters.items()
    }
    values = list(alphas.values())
    alpha = max(set(values), key=lambda value: (values.count(value), -value))
    others = {disk: value for disk, value in alphas.items() if value != alpha}
    return AdapterConfig(alpha, first.dropout, first.rslora, first.magnitude is not None, others)


def _target_names(adapted: list[str], places: list[str]) -> list[str]:
    """What PEFT finds exactly the adapted modules by: the last part of their names, where that is enough."""

    def last(disk: str) -> str:
        return disk.rpartition(".")[2]

    partly = {last(disk) for disk in places if disk not in adapted}
    return sorted({last(disk) if last(disk) not in partly else disk for disk in adapted})


def _open(folder: Path) -> SafetensorsFile:
    try:
        return SafetensorsFile(folder / ADAPTER_FILE)
    except MissingFile:
        if (folder / "adapter_model.bin").exists():
            raise ForeignArtifact(
                f"{folder / 'adapter_model.bin'} is a pickle, which can run code and is never read: save the adapter "
                "as safetensors"
            ) from None
        raise


def _checked(
    file: SafetensorsFile, config: AdapterConfig, model: nn.Module
) -> tuple[dict[str, AdapterTensors], list[tuple[nn.Parameter, Tensor]]]:
    """The adapters by layer of `model`, and its heads with their values, once all of the file fits it."""
    places, heads = layers_on_disk(model), _heads(model)
    modules: dict[str, set[str]] = {}
    for name in file.tensors:
        found = _NAME.fullmatch(name.removeprefix(_PREFIX))
        if found:
            modules.setdefault(found[1], set()).add(found[2])
        elif name.removeprefix(_PREFIX) not in heads:
            raise _foreign(file, f"{shown_name(name)} has no place in this model")
    if not modules:
        raise CorruptArtifact(f"{file.path} holds no adapter of a linear layer")
    kinds = {"lora_A.weight", "lora_B.weight"} | ({"lora_magnitude_vector"} if config.dora else set())
    adapters: dict[str, AdapterTensors] = {}
    for module, parts in modules.items():
        if module not in places:
            raise _foreign(file, f"it adapts {shown_name(module)}, which is no linear layer of this model")
        if parts != kinds:
            raise CorruptArtifact(
                f"{file.path}: {shown_name(module)} has {sorted(parts)}, and {CONFIG_FILE} says {sorted(kinds)}"
            )
        adapters |= _of_module(file, config, module, {name: model.get_submodule(name) for name in places[module]})
    missing = [name for name in heads if f"{_PREFIX}{name}" not in file.tensors]
    if missing and len(missing) < len(heads):
        raise CorruptArtifact(f"{file.path} lacks {missing[0]}")
    values = [
        (each, _read(file, f"{_PREFIX}{name}", each.shape)) for name, each in heads.items() if name not in missing
    ]
    expected = file.metadata.get("base", "")
    if expected and expected != base_hash(model):
        raise _foreign(file, "the weights of this model are others than those it was trained on (their hash differs)")
    return adapters, values


def _of_module(
    file: SafetensorsFile, config: AdapterConfig, module: str, layers: Mapping[str, nn.Module]
) -> dict[str, AdapterTensors]:
    """The adapters of the layers that `module` on disk holds."""
    outputs = {name: int(layer.out_features) for name, layer in layers.items()}  # type: ignore[arg-type]
    inputs = int(next(iter(layers.values())).in_features)  # type: ignore[arg-type]
    name = f"{_PREFIX}{module}"
    shape = file.tensors[f"{name}.lora_A.weight"].shape
    if len(shape) != 2 or shape[0] < 1:
        raise _foreign(file, f"{shown_name(module)}.lora_A.weight is {list(shape)}, expected [rank, {inputs}]")
    rank = shape[0]
    scale = config.alpha_of(module) / (math.sqrt(rank) if config.rslora else rank)
    total = sum(outputs.values())
    A, B = _read(file, f"{name}.lora_A.weight", (rank, inputs)), _read(file, f"{name}.lora_B.weight", (total, rank))
    norms = _read(file, f"{name}.lora_magnitude_vector", (total,)) if config.dora else None
    return parts_of(AdapterTensors(A, B, norms, scale), outputs)


def _read(file: SafetensorsFile, name: str, shape: tuple[int, ...]) -> Tensor:
    """A tensor of this shape, in float32."""
    stored = file.tensors[name]
    if stored.shape != tuple(shape):
        raise _foreign(file, f"{shown_name(name)} is {list(stored.shape)}, this model needs {list(shape)}")
    if stored.dtype not in FLOATS:
        raise ForeignArtifact(
            f"{file.path}: {shown_name(name)} is {shown_name(stored.dtype)}; {', '.join(FLOATS)} are read"
        )
    return file.read(name, torch.float32)


def _offset(file: SafetensorsFile, model: nn.Module) -> float | None:
    """The offset of a reward model; None where model or file has none."""
    text = file.metadata.get("reward_offset")
    if text is None or not hasattr(model, "reward_offset"):
        return None
    try:
        offset = float(text[:64])
    except ValueError:
        offset = math.nan
    if not math.isfinite(offset):
        raise CorruptArtifact(f"{file.path}: reward_offset in the metadata is {shown_name(text)}, not a number")
    return offset


def _foreign(file: SafetensorsFile, what: str) -> ForeignArtifact:
    return ForeignArtifact(f"{file.path} is an adapter of another base: {what}. Load the model that it was made for.")
