"""AdamW over a model's parameter groups (Loshchilov and Hutter 2019, arXiv 1711.05101), and its state on disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from stategpt.config import OptimConfig
from stategpt.model import parameter_groups

MOST_STEPS = 2**24
"""AdamW counts its steps in float32, which holds every whole number up to here."""


def adamw(model: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW over `model` with `config`'s betas, epsilon and weight decay.

    The loop sets the learning rate of each step: that of the schedule times the group's `scale`.
    """
    groups = parameter_groups(model, config.learning_rate, config.weight_decay)
    return torch.optim.AdamW(
        cast("list[dict[str, Any]]", groups),
        lr=config.learning_rate,
        betas=config.betas,
        eps=config.epsilon,
        fused=True,
    )


def clip_gradients(parameters: Iterable[nn.Parameter], max_norm: float) -> Tensor:
    """Scales all gradients so that their global 2-norm is at most `max_norm` (0 = no limit); returns the norm
    before.
    """
    return torch.nn.utils.clip_grad_norm_(list(parameters), max_norm or float("inf"))


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    """The optimizer's state by parameter name, ready for safetensors: `<name>.exp_avg`, `.exp_avg_sq`, `.step`.

    Always of every parameter: one that had no gradient yet has zeros, which is what AdamW starts it with.
    """
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        state = optimizer.state.get(parameter) or _fresh(parameter)
        tensors |= {f"{name}.{key}": torch.as_tensor(state[key]).contiguous() for key in _fresh(parameter)}
    return tensors


def expected_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Names, shapes and dtypes of `optimizer_tensors`, on the meta device: without values."""
    return {
        f"{name}.{key}": value
        for name, parameter in model.named_parameters()
        for key, value in _fresh(parameter.detach().to("meta")).items()
    }


def unusable_tensor(tensors: Mapping[str, Tensor]) -> str | None:
    """What no AdamW can have: steps that are no whole number of 0 .. 2^24, a negative mean of squares; or None."""
    for name, value in tensors.items():
        if name.endswith(".step"):
            steps = float(value)
            if not 0 <= steps <= MOST_STEPS or steps != int(steps):
                return f"{name} is {steps}; a count of steps is a whole number of 0 to {MOST_STEPS}"
        elif name.endswith(".exp_avg_sq") and bool((value < 0).any()):
            return f"{name} has negative values; it is a mean of squares"
    return None


def restore_optimizer(model: nn.Module, optimizer: torch.optim.AdamW, tensors: Mapping[str, Tensor]) -> None:
    """Puts what `optimizer_tensors` gave back, bit for bit.

    The caller has compared `tensors` with `expected_tensors`: AdamW writes through a tensor of another shape without
    looking.
    """
    for name, parameter in model.named_parameters():
        optimizer.state[parameter] = {
            key: tensors[f"{name}.{key}"].to(parameter.device) for key in _fresh(parameter.detach().to("meta"))
        }


def _fresh(parameter: Tensor) -> dict[str, Tensor]:
    """AdamW's state of a parameter before its first step."""
    return {
        "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
        "exp_avg": torch.zeros_like(parameter),
        "exp_avg_sq": torch.zeros_like(parameter),
    }
