"""Saves and loads the weights of a module: model.safetensors, its tensor names, shapes and number formats."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import save
from torch import Tensor, nn

from stategpt.artifacts import publish_file
from stategpt.config import GPTConfig
from stategpt.errors import CorruptArtifact, ForeignArtifact, InvalidArgument, MissingFile

from .biased_llama import zero_output_biases
from .safetensors_file import FLOATS, SafetensorsFile, shown_name

WEIGHTS_FILE = "model.safetensors"
MANIFEST_FILE = "manifest.json"
MANIFEST_MARK = "checked_by"
"""Metadata of weights that are published with a manifest: without it they are not loaded."""

TensorName = Callable[[str], str]
"""Name of a parameter in the module -> name on disk."""

_Model = TypeVar("_Model", bound=nn.Module)
_EMBEDDING, _PREDICTION = "model.embed_tokens.weight", "lm_head.weight"
# Constants that exporters of 2023 stored; every reader recomputes them.
_CONSTANTS = re.compile(r"model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq")
_INSTEAD = {
    f"{WEIGHTS_FILE}.index.json": "the weights are sharded over several files, which are not read yet: save the model "
    "in one file (transformers: save_pretrained(..., max_shard_size='1TB'))",
    "pytorch_model.bin": "the weights are a pickle, which can run code and is never read: save them as safetensors",
    "pytorch_model.bin.index.json": "the weights are pickles, which can run code and are never read: save them as "
    "safetensors",
}


def common_dtype(model: nn.Module) -> torch.dtype:
    """Returns the number format of all weights of `model`; for mixed ones the narrowest that loses nothing."""
    return reduce(torch.promote_types, {parameter.dtype for parameter in model.parameters()})


def save_weights(
    model: nn.Module,
    build: Callable[[GPTConfig], nn.Module],
    config: GPTConfig,
    folder: Path,
    disk_name: TensorName,
    manifest: bool,
    further: Mapping[str, Tensor],
) -> None:
    """Writes every parameter of `model`, a tied one once, to model.safetensors, all in `common_dtype`.

    `further` are tensors that the format has and the model has not, by their names on disk. With `manifest` the file
    can only be loaded together with a manifest.json.
    Raises `InvalidArgument` for what could not be loaded again: other parameters than a model of `config` has
    (adapters that were not merged), or a format other than float32, bfloat16 and float16.
    """
    dtype = common_dtype(model)
    if dtype not in FLOATS.values():
        raise InvalidArgument(f"the weights are {str(dtype)[6:]}, which folders do not hold; use model.float() first")
    tensors = {disk_name(name): p.detach().to("cpu", dtype).contiguous() for name, p in model.named_parameters()}
    odd = tensors.keys() ^ dict(_expected(build, config, disk_name)).keys()
    if odd:
        raise InvalidArgument(
            f"the model has other parameters than its configuration says: {_listed(odd)}. "
            "Merge adapters into the weights and put the plain layers back before saving."
        )
    tensors |= {name: tensor.to(dtype) for name, tensor in further.items()}
    # "format" is what transformers looks for before it trusts a safetensors file.
    mark = {MANIFEST_MARK: MANIFEST_FILE} if manifest else {}
    publish_file(folder / WEIGHTS_FILE, _with_metadata(save(tensors), {"format": "pt", **mark}))


def _with_metadata(content: bytes, metadata: dict[str, str]) -> bytes:
    """The safetensors file `content` with this metadata.

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
    disk_name: TensorName,
    dtype: torch.dtype | None,
) -> _Model:
    """Builds the model of `config` with the weights of `folder`; no random number is drawn for it.

    The file's header is compared with `config` before anything is allocated; then each tensor is read into its place,
    so that the peak of memory is the weights. `dtype` None keeps the file's format.

    Raises:
        ForeignArtifact: tensors that the model does not have or whose format is none of `FLOATS`; output biases other
            than zero; sharded or pickled weights.
        CorruptArtifact: the file, tensors or the folder's manifest are missing; tensors are unreadable, of another
            shape or not finite.
        InvalidArgument: another `dtype` than float32, bfloat16, float16 and None.
    """
    if dtype is not None and dtype not in FLOATS.values():
        raise InvalidArgument(f"dtype is {dtype!r}; give torch.float32, torch.bfloat16, torch.float16 or None")
    with _open_weights(folder) as file:
        names = _checked_names(file, build, config, disk_name)
        chosen = dtype or reduce(torch.promote_types, {FLOATS[file.tensors[name].dtype] for name in names})
        model = _on_meta(build, config)
        state = {name: file.read(disk_name(name), chosen) for name, _ in model.named_parameters()}
        model.load_state_dict(state, assign=True)
    device = torch.get_default_device()
    return model if device.type == "cpu" else model.to(device)


def _open_weights(folder: Path) -> SafetensorsFile:
    path = folder / WEIGHTS_FILE
    try:
        file = SafetensorsFile(path)
    except MissingFile:
        for name, message in _INSTEAD.items():
            if (folder / name).exists():
                raise ForeignArtifact(f"{folder} holds {name}: {message}") from None
        raise CorruptArtifact(f"{path} is missing; the folder was not fully written or copied") from None
    if file.metadata.get(MANIFEST_MARK) == MANIFEST_FILE and not (folder / MANIFEST_FILE).exists():
        file.__exit__(None, None, None)
        raise CorruptArtifact(
            f"{path} was published with a {MANIFEST_FILE}, which is missing: nothing can tell whether the files are "
            "intact. Copy the folder again, with all its files."
        )
    return file


def _checked_names(
    file: SafetensorsFile, build: Callable[[GPTConfig], nn.Module], config: GPTConfig, disk_name: TensorName
) -> list[str]:
    """Names on disk of the model's tensors, once the file has exactly these."""
    held = {name for name in file.tensors if not _CONSTANTS.fullmatch(name)}
    if config.depth > len(held):  # before as many names are made
        raise CorruptArtifact(
            f"{file.path} holds {len(held)} tensors, config.json says {config.depth} layers; the files are not of "
            "one model: export or download it again"
        )
    expected = dict(_expected(build, config, disk_name))
    if _PREDICTION not in expected and {_PREDICTION, _EMBEDDING} <= held and file.same_bytes(_PREDICTION, _EMBEDDING):
        held.discard(_PREDICTION)  # some exporters store a tied matrix a second time
    held -= zero_output_biases(file, config)
    if unknown := held - expected.keys():
        raise ForeignArtifact(f"{file.path} holds tensors that config.json has no place for: {_listed(unknown)}")
    if missing := expected.keys() - held:
        raise CorruptArtifact(f"{file.path} lacks {_listed(missing)}; export or download the model again")
    for name, shape in expected.items():
        stored = file.tensors[name]
        if stored.shape != shape:
            raise CorruptArtifact(f"{file.path}: {name} is {list(stored.shape)}, config.json says {list(shape)}")
        if stored.dtype not in FLOATS:
            raise ForeignArtifact(
                f"{file.path}: {name} is {shown_name(stored.dtype)}; only {', '.join(FLOATS)} are read"
            )
    return list(expected)


def _expected(
    build: Callable[[GPTConfig], nn.Module], config: GPTConfig, disk_name: TensorName
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names on disk and shapes of every tensor of a model of `config`, from one block of it on the meta device."""
    for name, parameter in _on_meta(build, replace(config, depth=1)).named_parameters():
        for layer in range(config.depth if "layers.0." in name else 1):
            yield disk_name(name.replace("layers.0.", f"layers.{layer}.", 1)), tuple(parameter.shape)


def _on_meta(build: Callable[[GPTConfig], _Model], config: GPTConfig) -> _Model:
    """Shapes without memory; modules on this device draw no initial weights."""
    with torch.device("meta"):
        return build(config)


def _listed(names: set[str]) -> str:
    shown = ", ".join(map(shown_name, sorted(names)[:5]))
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
