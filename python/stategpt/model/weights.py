"""Saves and loads the weights of a module: their files, tensor names, shapes and number formats."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import save
from torch import Tensor, nn

from stategpt.artifacts import publish_file
from stategpt.config import GPTConfig
from stategpt.errors import CorruptArtifact, ForeignArtifact, InvalidArgument

from .biased_llama import zero_output_biases
from .quantize import refuse_quantized
from .safetensors_file import FLOATS, shown_name
from .tensor_names import TensorNames
from .weight_files import INDEX_FILE, WEIGHTS_FILE, WeightFiles, shard_name

MANIFEST_FILE = "manifest.json"
MANIFEST_MARK = "checked_by"
"""Metadata of weights that are published with a manifest: without it they are not loaded."""
SHARD_BYTES = 5 * 10**9
"""Tensors of more bytes in total are written to several files, as `transformers` did for years."""

_Model = TypeVar("_Model", bound=nn.Module)
_PREDICTION = "lm_head.weight"


def common_dtype(model: nn.Module) -> torch.dtype:
    """Returns the number format of all weights of `model`; for mixed ones the narrowest that loses nothing."""
    return reduce(torch.promote_types, {parameter.dtype for parameter in model.parameters()})


def save_weights(
    model: nn.Module,
    build: Callable[[GPTConfig], nn.Module],
    config: GPTConfig,
    folder: Path,
    names: TensorNames,
    manifest: bool,
    further: Mapping[str, Tensor],
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Writes every parameter of `model`, a tied one once, to model.safetensors, all in `common_dtype`.

    More than `shard_bytes` of tensors go to several files and an index; a tensor is never divided. `further` are
    tensors that the format has and the model has not, by their names on disk. With `manifest` the files can only be
    loaded together with a manifest.json.
    Raises `InvalidArgument` for what could not be loaded again: other parameters than a model of `config` has
    (adapters that were not merged), or a format other than float32, bfloat16 and float16; and for `shard_bytes` < 1.
    """
    refuse_quantized(model)
    dtype = common_dtype(model)
    if dtype not in FLOATS.values():
        raise InvalidArgument(f"the weights are {str(dtype)[6:]}, which folders do not hold; use model.float() first")
    if shard_bytes < 1:
        raise InvalidArgument(f"shard_bytes is {shard_bytes}; give the most bytes of a file, at least 1")
    parameters = dict(model.named_parameters())
    groups = names.groups(parameters)
    odd = groups.keys() ^ dict(_expected(build, config, names)).keys()
    if odd:
        raise InvalidArgument(
            f"the model has other parameters than its configuration says: {_listed(odd)}. "
            "Merge adapters into the weights and put the plain layers back before saving."
        )
    sizes = {name: sum(parameters[part].numel() for part in parts) for name, parts in groups.items()}
    sizes |= {name: tensor.numel() for name, tensor in further.items()}
    shards = _divided({name: count * dtype.itemsize for name, count in sizes.items()}, shard_bytes)
    # "format" is what transformers looks for before it trusts a safetensors file.
    mark = {MANIFEST_MARK: MANIFEST_FILE} if manifest else {}
    for number, shard in enumerate(shards):
        tensors = {}
        for name in shard:
            parts = [parameters[part].detach().to("cpu", dtype) for part in groups.get(name, ())]
            whole = names.stored(name, parts) if parts else further[name].to(dtype)
            tensors[name] = whole.contiguous()
        content = with_metadata(save(tensors), {"format": "pt", **mark})
        publish_file(folder / shard_name(number, len(shards)), content)
    if len(shards) > 1:
        _write_index(folder, shards, sum(sizes.values()) * dtype.itemsize)
    # Of an earlier model in this folder: readers would take it for this one's.
    (folder / (WEIGHTS_FILE if len(shards) > 1 else INDEX_FILE)).unlink(missing_ok=True)


def _divided(sizes: Mapping[str, int], shard_bytes: int) -> list[list[str]]:
    """Names of the tensors of each file, in the order of `sizes` (bytes)."""
    shards: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if shards[-1] and filled + size > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards


def _write_index(folder: Path, shards: Sequence[Sequence[str]], total_bytes: int) -> None:
    weight_map = {name: shard_name(number, len(shards)) for number, shard in enumerate(shards) for name in shard}
    index = {"metadata": {"total_size": total_bytes}, "weight_map": weight_map}
    publish_file(folder / INDEX_FILE, (json.dumps(index, indent=2, sort_keys=True) + "\n").encode())


def with_metadata(content: bytes, metadata: dict[str, str]) -> bytes:
    """Returns the safetensors file `content` with this metadata.

    The library writes several metadata keys in an order that differs from call to call; equal weights must give equal
    bytes, since a run's fingerprints cover them.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    header = {"__metadata__": metadata, **json.loads(content[8:end])}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the tensors begin at a multiple of 8 bytes, as the library has it
    return b"".join((len(text).to_bytes(8, "little"), text, memoryview(content)[end:]))


def load_model(
    build: Callable[[GPTConfig], _Model],
    config: GPTConfig,
    folder: Path,
    names: TensorNames,
    dtype: torch.dtype | None,
) -> _Model:
    """Builds the model of `config` with the weights of `folder`; no random number is drawn for it.

    The files' headers are compared with `config` before anything is allocated; then each tensor is read into its
    place, so that the peak of memory is the weights. `dtype` None keeps the files' format.

    Raises:
        ForeignArtifact: tensors that the model does not have or whose format is none of `FLOATS`; output biases other
            than zero; pickled weights.
        CorruptArtifact: a file, tensors or the folder's manifest are missing; tensors are unreadable, of another shape
            or not finite; an index that does not agree with the files.
        InvalidArgument: another `dtype` than float32, bfloat16, float16 and None.
    """
    if dtype is not None and dtype not in FLOATS.values():
        raise InvalidArgument(f"dtype is {dtype!r}; give torch.float32, torch.bfloat16, torch.float16 or None")
    with WeightFiles(folder, names.family.prefix) as files:
        _require_manifest(files, folder)
        stored = _checked_names(files, build, config, names)
        chosen = dtype or reduce(torch.promote_types, {FLOATS[files.tensors[name].dtype] for name in stored})
        model = _on_meta(build, config)
        shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
        state: dict[str, Tensor] = {}
        for name, parts in names.groups(shapes).items():
            state |= names.parameters(name, files.read(name, chosen), {part: shapes[part] for part in parts})
        model.load_state_dict(state, assign=True)
    device = torch.get_default_device()
    return model if device.type == "cpu" else model.to(device)


def _require_manifest(files: WeightFiles, folder: Path) -> None:
    """Weights that were published with a manifest come with it."""
    marked = any(metadata.get(MANIFEST_MARK) == MANIFEST_FILE for metadata in files.metadata)
    if marked and not (folder / MANIFEST_FILE).exists():
        raise CorruptArtifact(
            f"{files.path} was published with a {MANIFEST_FILE}, which is missing: nothing can tell whether the files "
            "are intact. Copy the folder again, with all its files."
        )


def _checked_names(
    files: WeightFiles, build: Callable[[GPTConfig], nn.Module], config: GPTConfig, names: TensorNames
) -> list[str]:
    """Names on disk of the model's tensors, once the files have exactly these."""
    held = {name for name in files.tensors if not re.fullmatch(names.family.constants, name)}
    if config.depth > len(held):  # before as many names are made
        raise CorruptArtifact(
            f"{files.path} holds {len(held)} tensors, config.json says {config.depth} layers; the files are not of "
            "one model: export or download it again"
        )
    expected = dict(_expected(build, config, names))
    tied = _PREDICTION not in expected and {_PREDICTION, names.embedding} <= held
    if tied and files.same_bytes(_PREDICTION, names.embedding):
        held.discard(_PREDICTION)  # some exporters store a tied matrix a second time
    held -= zero_output_biases(files, config)
    if unknown := held - expected.keys():
        raise ForeignArtifact(f"{files.path} holds tensors that config.json has no place for: {_listed(unknown)}")
    if missing := expected.keys() - held:
        raise CorruptArtifact(f"{files.path} lacks {_listed(missing)}; export or download the model again")
    for name, shape in expected.items():
        stored = files.tensors[name]
        if stored.shape != shape:
            raise CorruptArtifact(f"{files.path}: {name} is {list(stored.shape)}, config.json says {list(shape)}")
        if stored.dtype not in FLOATS:
            raise ForeignArtifact(
                f"{files.path}: {name} is {shown_name(stored.dtype)}; only {', '.join(FLOATS)} are read"
            )
    return list(expected)


def _expected(
    build: Callable[[GPTConfig], nn.Module], config: GPTConfig, names: TensorNames
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names on disk and shapes of every tensor of a model of `config`, from one block of it on the meta device."""
    shapes = {name: tuple(p.shape) for name, p in _on_meta(build, replace(config, depth=1)).named_parameters()}
    for parts in names.groups(shapes).values():
        for layer in range(config.depth if "layers.0." in parts[0] else 1):
            name = names(parts[0].replace("layers.0.", f"layers.{layer}.", 1))
            yield name, names.stored_shape(name, [shapes[part] for part in parts])


def _on_meta(build: Callable[[GPTConfig], _Model], config: GPTConfig) -> _Model:
    """Shapes without memory; modules on this device draw no initial weights."""
    with torch.device("meta"):
        return build(config)


def _listed(names: set[str]) -> str:
    shown = ", ".join(map(shown_name, sorted(names)[:5]))
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
