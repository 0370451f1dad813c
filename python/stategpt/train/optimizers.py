"""Builds the optimizer that the config names, clips gradients, and saves and restores an optimizer's state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, cast

import torch
from torch import Tensor, nn

from stategpt.config import OptimConfig
from stategpt.config.optimizers import OPTIMIZERS, Optimizer
from stategpt.errors import InvalidArgument
from stategpt.model import parameter_groups
from stategpt.model.parameter_groups import trained_parameters

MAX_STEPS = 2**24
"""Steps are counted in float32, which represents every whole number up to here."""


def build_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """Builds the optimizer `config.optimizer` over the parameter groups of `model`.

    The loop sets the learning rate of each step: that of the schedule times the group's `scale`.
    """
    entry = OPTIMIZERS[config.optimizer]
    groups = cast("list[dict[str, Any]]", parameter_groups(model, config.learning_rate, config.weight_decay))
    return _optimizer_class(entry)(groups, lr=config.learning_rate, **entry.arguments(config))


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> Tensor:
    """Scales all gradients so that their global 2-norm is at most `max_norm` (0 = no limit); returns the norm
    before.
    """
    return torch.nn.utils.clip_grad_norm_(list(parameters), max_norm or float("inf"))


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Returns the optimizer's state by parameter name, as in `norm.weight.exp_avg`, ready for safetensors.

    It covers every trained parameter: one that had no gradient yet gets the values that the optimizer starts with.
    Raises `InvalidArgument` for an optimizer that is not in `OPTIMIZERS`.
    """
    entry = _entry_of(optimizer)
    tensors: dict[str, Tensor] = {}
    for name, parameter in trained_parameters(model):
        initial = _initial_state(entry, parameter)
        state = optimizer.state.get(parameter, {})
        tensors |= {f"{name}.{key}": torch.as_tensor(state.get(key, initial[key])).contiguous() for key in initial}
    return tensors


def expected_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Returns names, shapes and dtypes of `optimizer_tensors`, on the meta device: without values."""
    entry = _entry_of(optimizer)
    return {
        f"{name}.{key}": value
        for name, parameter in trained_parameters(model)
        for key, value in _initial_state(entry, parameter.detach().to("meta")).items()
    }


def unusable_tensor(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> str | None:
    """Describes a value that this optimizer cannot have, or returns None.

    Steps are whole numbers of 0 to 2^24; state that is never negative (`Optimizer.non_negative`) is not negative.
    """
    entry = _entry_of(optimizer)
    for name, value in tensors.items():
        key = name.rpartition(".")[2]
        if key == "step" and entry.counts_steps:
            steps = float(value)
            if not 0 <= steps <= MAX_STEPS or steps != int(steps):
                return f"{name} is {steps}; a count of steps is a whole number of 0 to {MAX_STEPS}"
        elif key in entry.non_negative and bool((value < 0).any()):
            return f"{name} has negative values, which this optimizer never gives it"
    return None


def restore_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restores what `optimizer_tensors` returned, bit for bit.

    The caller has compared `tensors` with `expected_tensors`: torch writes through a state tensor of another shape
    without checking it.
    """
    entry = _entry_of(optimizer)
    for name, parameter in trained_parameters(model):
        keys = _initial_state(entry, parameter.detach().to("meta"))
        optimizer.state[parameter] = {key: tensors[f"{name}.{key}"].to(parameter.device) for key in keys}


def _optimizer_class(entry: Optimizer) -> Callable[..., torch.optim.Optimizer]:
    module, _, name = entry.factory.partition(":")
    return cast("type[torch.optim.Optimizer]", getattr(import_module(module), name))


def _entry_of(optimizer: torch.optim.Optimizer) -> Optimizer:
    for entry in OPTIMIZERS.values():
        if type(optimizer) is _optimizer_class(entry):
            return entry
    raise InvalidArgument(
        f"the state of a {type(optimizer).__name__} is not described: OPTIMIZERS has {', '.join(OPTIMIZERS)}. "
        "Add an entry to stategpt.config.optimizers."
    )


def _initial_state(entry: Optimizer, parameter: Tensor) -> dict[str, Tensor]:
    """State of a parameter before its first step."""
    state = {key: torch.zeros_like(parameter) for key in entry.state}
    if entry.counts_steps:
        state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
    return state
