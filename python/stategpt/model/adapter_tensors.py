"""The tensors of an adapter as PEFT's files have them: by the family's names, joined where it joins layers.

A family that joins layers in one matrix (Phi-3's qkv_proj, GPT-2's c_attn) has one adapter for it. Adapters of its
parts are joined exactly: A's rows one after another, B's blocks on the diagonal, the rank the sum of theirs. One that
is read gives every part the same A and its rows of B, and is written back as it was read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stategpt.errors import InvalidArgument

from . import hf
from .lora_layer import LoRALinear, weight_of
from .lora_targets import adaptable, trunk_of
from .tensor_names import TensorNames


@dataclass(frozen=True)
class AdapterTensors:
    """One adapter on disk: of a layer, or of several that the family joins."""

    A: Tensor
    """[R, I]."""
    B: Tensor
    """[O, R]."""
    magnitude: Tensor | None
    """[O], with DoRA."""
    scale: float

    @property
    def rank(self) -> int:
        """R."""
        return self.A.shape[0]


def disk_names(model: nn.Module) -> TensorNames:
    """Returns the names on disk of the parameters of `model`, a GPT or one with a head."""
    prefix, gpt = trunk_of(model)
    return hf.names_of(hf.saved_family(gpt.config), hf.reward_tensor_name if prefix else hf.gpt_tensor_name)


def layers_on_disk(model: nn.Module) -> dict[str, list[str]]:
    """Returns the adaptable and adapted layers of `model` by the module that holds them on disk, in its order."""
    found = {name: module for name, module in model.named_modules() if isinstance(module, LoRALinear)}
    prefix, gpt = trunk_of(model)
    inside = tuple(f"{name}." for name in found)
    for name, module in gpt.named_modules(prefix=prefix.rstrip(".")):
        if adaptable(module) and not name.startswith(inside):
            found[name] = module
    order = [name for name, _ in model.named_modules() if name in found]
    groups = disk_names(model).groups(f"{name}.weight" for name in order)
    return {
        disk.removesuffix(".weight"): [name.removesuffix(".weight") for name in names] for disk, names in groups.items()
    }


def joined(layers: Sequence[nn.Module]) -> AdapterTensors | None:
    """Returns the adapter of layers that share a matrix on disk; None where none of them has one."""
    adapted = [layer for layer in layers if isinstance(layer, LoRALinear)]
    if not adapted:
        return None
    if len({(layer.magnitude is None, layer.rslora) for layer in adapted}) > 1:
        raise InvalidArgument("adapters of several kinds (LoRA, rsLoRA, DoRA) are in one matrix on disk; use one kind")
    first = adapted[0]
    magnitude = None if first.magnitude is None else torch.cat([_magnitude(layer) for layer in layers])
    alike = all(torch.equal(layer.lora_A, first.lora_A) and layer.scale == first.scale for layer in adapted)
    if alike and len(adapted) == len(layers):
        return AdapterTensors(
            first.lora_A.detach(), torch.cat([layer.lora_B for layer in adapted]).detach(), magnitude, first.scale
        )
    blocks, column, rank = [], 0, sum(layer.rank for layer in adapted)
    for layer in layers:
        rows = torch.zeros(int(layer.out_features), rank, device=first.lora_B.device)  # type: ignore[arg-type]
        if isinstance(layer, LoRALinear):
            rows[:, column : column + layer.rank] = layer.lora_B.detach() * (layer.scale / first.scale)
            column += layer.rank
        blocks.append(rows)
    return AdapterTensors(
        torch.cat([layer.lora_A for layer in adapted]).detach(), torch.cat(blocks), magnitude, first.scale
    )


def parts_of(whole: AdapterTensors, outputs: Mapping[str, int]) -> dict[str, AdapterTensors]:
    """Divides an adapter of a matrix into those of its layers, given their numbers of outputs."""
    sizes = list(outputs.values())
    B = torch.split(whole.B, sizes)
    magnitude = [None] * len(sizes) if whole.magnitude is None else torch.split(whole.magnitude, sizes)
    return {
        name: AdapterTensors(whole.A, rows, norms, whole.scale)
        for name, rows, norms in zip(outputs, B, magnitude, strict=True)
    }


def _magnitude(layer: nn.Module) -> Tensor:
    """DoRA's m of a layer; of one without an adapter the norms of its rows, which change nothing."""
    if isinstance(layer, LoRALinear) and layer.magnitude is not None:
        return layer.magnitude.detach()
    return torch.linalg.vector_norm(weight_of(layer).detach().float(), dim=1)  # type: ignore[no-any-return]
