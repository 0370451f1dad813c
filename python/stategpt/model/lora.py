"""Low-rank adapters on a model: added in place, switched off, merged into the weights and taken out again.

    model = sg.lora(sg.GPT.from_pretrained(folder), rank=8, alpha=16)
    ...                                     # train it: only the adapters have gradients
    sg.model.lora.merge(model)              # a plain GPT again, ready for save_pretrained

`lora_layer` has the arithmetic and its sources, `adapter` the files.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from stategpt.arguments import instance
from stategpt.errors import InvalidArgument
from stategpt.randomness import bits

from .lora_layer import LoRALinear as LoRALinear
from .lora_merge import merge as merge
from .lora_merge import unmerge as unmerge
from .lora_targets import Model, find_targets, lora_layers, put, trunk_of


def lora(
    model: Model,
    rank: int = 8,
    alpha: float = 16.0,
    targets: str | Sequence[str] = "attention+mlp",
    dropout: float = 0.0,
    rslora: bool = False,
    dora: bool = False,
    *,
    seed: int = 0,
) -> Model:
    """Adds adapters to the `targets` of a `GPT` or `RewardModel`, in place; freezes everything else. -> `model`.

    Its output is the same, bit for bit, until the first step. A head, as a reward model has one, stays trained.

    Args:
        model: changed in place.
        rank: inner width of an adapter.
        alpha: an adapter's output is multiplied by alpha / rank.
        targets: names of layers or groups of them (`lora_targets.find_targets`).
        dropout: share of an adapter's inputs that is set to 0 in training.
        rslora: alpha / sqrt(rank) instead.
        dora: train the norm of each row of the weights too.
        seed: decides the first factors, and in `stategpt.train.fit` the dropout of each step.

    Raises:
        InvalidArgument: a value out of its range, targets that match nothing, a model that has adapters already or is
            neither kind.
    """
    instance("model", model, nn.Module, "As in sg.lora(sg.GPT.from_pretrained(folder)).")
    _, gpt = trunk_of(model)
    if next(lora_layers(model), None) is not None:
        raise InvalidArgument("the model has adapters already; merge them first (stategpt.model.lora.merge)")
    if isinstance(rank, bool) or not isinstance(rank, int) or rank < 1:
        raise InvalidArgument(f"rank is {rank!r}; give a whole number of at least 1")
    if not 0.0 <= dropout < 1.0:
        raise InvalidArgument(f"dropout is {dropout!r}; give a share of at least 0 and below 1")
    if not 0.0 < alpha < float("inf"):
        raise InvalidArgument(f"alpha is {alpha!r}; give a number above 0")
    found = find_targets(gpt, targets)
    gpt.requires_grad_(False)
    for name, base in found.items():
        put(gpt, name, LoRALinear(base, rank, float(alpha), dropout, rslora, dora, seed, name))
    return model


@contextlib.contextmanager
def adapters_off(model: nn.Module) -> Iterator[None]:
    """Makes `model` compute what its base computes, bit for bit, inside the `with`; may be nested."""
    layers = [layer for _, layer in lora_layers(model)]
    before = [layer.enabled for layer in layers]
    try:
        for layer in layers:
            layer.enabled = False
        yield
    finally:
        for layer, enabled in zip(layers, before, strict=True):
            layer.enabled = enabled


def frozen_copy(model: Model) -> Model:
    """Returns the model as it was before training, in eval mode: adapters off, and no memory for what is frozen.

    Frozen parameters and the buffers are those of `model`; only trained parameters other than adapters are copied.
    """
    shared: dict[int, Any] = {id(each): each for each in model.buffers()}
    shared |= {id(each): each for each in model.parameters() if not each.requires_grad}
    for _, layer in lora_layers(model):
        shared[id(layer)] = copy.deepcopy(layer.base, shared)
    copied = copy.deepcopy(model, shared)
    return copied.requires_grad_(False).eval()


@contextlib.contextmanager
def step_randomness(model: nn.Module, step: int) -> Iterator[None]:
    """Makes the dropout of adapters inside the `with` a function of their seed and `step`; torch's state is restored.

    A resumed step then draws what it would have drawn, and checkpointed layers draw the same twice.
    """
    layer = next((layer for _, layer in lora_layers(model) if layer.dropout), None)
    if layer is None:
        yield
        return
    device = layer.lora_A.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(int(bits(layer.seed, "lora dropout", step)) >> 1)
        yield
