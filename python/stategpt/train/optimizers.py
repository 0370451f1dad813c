"""Builds the optimizer that the config names, clips gradients, and saves and restores an optimizer's state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any, cast

import torch
from torch import Tensor, nn

from stategpt.config import OptimConfig
from stategpt.config.optimizers import OPTIMIZERS, STATE_BLOCK, Optimizer, is_quantized
from stategpt.config.stages import Weights
from stategpt.errors import InvalidArgument
from stategpt.model import parameter_groups
from stategpt.model.parameter_groups import trained_parameters
from stategpt.train.master_weights import MasterWeights

MAX_STEPS = 2**24
"""Steps are counted in float32, which represents every whole number up to here."""
MASTER = "master"
"""Name of a float32 copy in the state of an optimizer of 16-bit weights."""


def build_optimizer(model: nn.Module, config: OptimConfig, weights: Weights = "float32") -> torch.optim.Optimizer:
    """Builds the optimizer `config.optimizer` over the parameter groups of `model`; frozen parameters are in none.

    With `weights` "bfloat16" the parameters of `model` become bfloat16, and the optimizer keeps and steps their float32
    values (`MasterWeights`). The loop sets the learning rate of each step: that of the schedule times the group's
    `scale`.
    """
    entry = OPTIMIZERS[config.optimizer]

    def over(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        """Builds it over these groups."""
        return _optimizer_class(entry)(groups, lr=config.learning_rate, **entry.arguments(config))

    groups = cast("list[dict[str, Any]]", parameter_groups(model, config.learning_rate, config.weight_decay))
    return over(groups) if weights == "float32" else MasterWeights(model, groups, over)


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> Tensor:
    """Scales all gradients so that their global 2-norm is at most `max_norm` (0 = no limit); returns the norm
    before, computed in float32 or more.
    """
    trained = [parameter for parameter in parameters if parameter.grad is not None]
    wide = [p.grad for p in trained if p.grad is not None and p.grad.dtype.itemsize >= 4]
    if len(wide) == len(trained):
        return torch.nn.utils.clip_grad_norm_(trained, max_norm or float("inf"))
    norms = [torch.linalg.vector_norm(p.grad, dtype=torch.float32) for p in trained if p.grad is not None]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    torch.nn.utils.clip_grads_with_norm_(trained, max_norm or float("inf"), norm)
    return norm


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Returns the optimizer's state by parameter name, as in `norm.weight.exp_avg`, ready for safetensors.

    It covers every trained parameter: one that had no gradient yet gets the values that the optimizer starts with.
    Float32 copies of 16-bit weights are part of it, as `norm.weight.master`.
    Raises `InvalidArgument` for an optimizer that is not in `OPTIMIZERS`.
    """
    entry, stepping = _entry_of(optimizer), _stepping(optimizer)
    tensors: dict[str, Tensor] = {}
    for name, parameter, stepped in _stepped(model, optimizer):
        initial = _initial_state(entry, stepped)
        state = stepping.state.get(stepped, {})
        tensors |= {f"{name}.{key}": torch.as_tensor(state.get(key, initial[key])).contiguous() for key in initial}
        if stepped is not parameter:
            tensors[f"{name}.{MASTER}"] = stepped.detach()
    return tensors


def expected_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Returns names, shapes and dtypes of `optimizer_tensors`, on the meta device: without values."""
    entry = _entry_of(optimizer)
    expected: dict[str, Tensor] = {}
    for name, parameter, stepped in _stepped(model, optimizer):
        shape = stepped.detach().to("meta")
        expected |= {f"{name}.{key}": value for key, value in _initial_state(entry, shape).items()}
        if stepped is not parameter:
            expected[f"{name}.{MASTER}"] = shape
    return expected


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
    entry, stepping = _entry_of(optimizer), _stepping(optimizer)
    for name, parameter, stepped in _stepped(model, optimizer):
        keys = _initial_state(entry, stepped.detach().to("meta"))
        stepping.state[stepped] = {key: tensors[f"{name}.{key}"].to(stepped.device) for key in keys}
        if stepped is not parameter:
            stepped.data.copy_(tensors[f"{name}.{MASTER}"])


def _stepping(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The optimizer that does the arithmetic."""
    return optimizer.inner if isinstance(optimizer, MasterWeights) else optimizer


def _stepped(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, nn.Parameter, nn.Parameter]]:
    """Trained parameters of `model` by name, each with what the optimizer steps: its float32 copy or itself."""
    masters = optimizer.masters if isinstance(optimizer, MasterWeights) else {}
    for name, parameter in trained_parameters(model):
        yield name, parameter, masters.get(parameter, parameter)


def _optimizer_class(entry: Optimizer) -> Callable[..., torch.optim.Optimizer]:
    module, _, name = entry.factory.partition(":")
    return cast("type[torch.optim.Optimizer]", getattr(import_module(module), name))


def _entry_of(optimizer: torch.optim.Optimizer) -> Optimizer:
    stepping = _stepping(optimizer)
    for entry in OPTIMIZERS.values():
        if type(stepping) is _optimizer_class(entry):
            return entry
    raise InvalidArgument(
        f"the state of a {type(stepping).__name__} is not described: OPTIMIZERS has {', '.join(OPTIMIZERS)}. "
        "Add an entry to stategpt.config.optimizers."
    )


def _initial_state(entry: Optimizer, parameter: Tensor) -> dict[str, Tensor]:
    """State of a parameter before its first step."""
    state: dict[str, Tensor] = {}
    for key in entry.state:
        if entry.in_8_bits and is_quantized(parameter.numel()):
            blocks = -(-parameter.numel() // STATE_BLOCK)
            state[key] = torch.zeros_like(parameter, dtype=torch.uint8)
            state[f"{key}_scale"] = torch.zeros(blocks, dtype=torch.float32, device=parameter.device)
        else:
            state[key] = torch.zeros_like(parameter)
    if entry.counts_steps:
        state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
    return state
