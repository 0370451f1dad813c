"""Parameter groups of a model: which parameters decay, and which have a scaled learning rate.

Decoupled weight decay as in AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypedDict, runtime_checkable

from torch import nn

from stategpt.config.dial import LORA_RATE_FACTOR

from .lora_layer import LoRALinear


class ParameterGroup(TypedDict):
    """One group as `torch.optim` takes it."""

    params: list[nn.Parameter]
    lr: float
    """The given learning rate times `scale`. A scheduler of `torch.optim` changes all groups in proportion."""
    weight_decay: float
    """The given decay divided by `scale`, since optimizers multiply it by the group's rate."""
    scale: float
    """For a loop that sets the rates itself: `group["lr"] = rate * group["scale"]`."""


@runtime_checkable
class Scaled(Protocol):
    """A module with parameters whose learning rate is scaled."""

    def learning_rate_scales(self) -> dict[str, float]:
        """Factor on the learning rate by parameter name, for those whose factor is not 1."""
        ...


def trained_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yields the parameters that are not frozen, with their names: what optimizer and checkpoints hold."""
    return ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)


def decay_groups(model: nn.Module) -> tuple[list[str], list[str]]:
    """Returns the names of the trained parameters with and without weight decay.

    Matrices of linear layers decay; norms, biases and the embedding table do not (a tied table counts once, as an
    embedding): a token's row that is not in the batch would otherwise shrink at every step.
    """
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    decayed: list[str] = []
    kept: list[str] = []
    for name, parameter in trained_parameters(model):
        decays = parameter.ndim >= 2 and id(parameter) not in embeddings
        (decayed if decays else kept).append(name)
    return decayed, kept


def learning_rate_scales(model: nn.Module) -> dict[str, float]:
    """Collects the factors of `model` and of every module inside it, by the parameter's name in `model`.

    Beside adapters, whose rate is `LORA_RATE_FACTOR` times that of whole matrices, a head keeps the latter.
    """
    scales = {
        f"{prefix}.{name}" if prefix else name: scale
        for prefix, module in model.named_modules()
        if isinstance(module, Scaled)
        for name, scale in module.learning_rate_scales().items()
    }
    adapted = [name for name, module in model.named_modules() if isinstance(module, LoRALinear)]
    if adapted:
        inside = tuple(f"{name}." for name in adapted)
        heads = [name for name, _ in trained_parameters(model) if not name.startswith(inside)]
        scales |= {name: scales.get(name, 1.0) / LORA_RATE_FACTOR for name in heads}
    return scales


def parameter_groups(model: nn.Module, lr: float, weight_decay: float) -> list[ParameterGroup]:
    """Puts every trained parameter of `model` into the group with its weight decay and its learning rate.

    A step takes lr * weight_decay of every tensor that decays, whatever its scale.
    """
    decayed, scales = set(decay_groups(model)[0]), learning_rate_scales(model)
    members: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in trained_parameters(model):
        scale = scales.get(name, 1.0)
        decay = weight_decay / scale if name in decayed else 0.0
        members.setdefault((decay, scale), []).append(parameter)
    return [
        {"params": params, "lr": lr * scale, "weight_decay": decay, "scale": scale}
        for (decay, scale), params in members.items()
    ]
