"""Weights in bfloat16 whose float32 values the optimizer keeps: what a step adds to a weight is seldom 1/256 of it.

    master <- step(master, float32(gradient))        weight <- bfloat16(master), rounded to nearest

Forward and backward pass read 2 bytes a weight and keep activations in bfloat16 (Micikevicius et al. 2018, arXiv
1710.03740; Kalamkar et al. 2019, arXiv 1905.12322).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from stategpt.errors import InvalidArgument

Groups = list[dict[str, Any]]


class MasterWeights(torch.optim.Optimizer):
    """Steps float32 copies of a model's trained parameters and rounds them into the model.

    Turns every parameter of `model` into bfloat16. The copies take over the float32 memory; frozen parameters have
    none.

    Args:
        model: its parameters are float32.
        groups: groups of its trained parameters.
        build: gives the optimizer that steps the copies, from their groups.
    """

    def __init__(self, model: nn.Module, groups: Groups, build: Callable[[Groups], torch.optim.Optimizer]) -> None:
        super().__init__(groups, {})
        self.masters = {parameter: _master(parameter) for group in groups for parameter in group["params"]}
        """Parameter -> its float32 value."""
        for parameter in model.parameters():
            parameter.data = parameter.data.to(torch.bfloat16)
        copied = [{**group, "params": [self.masters[p] for p in group["params"]]} for group in groups]
        self.inner = build(copied)
        """The optimizer of the float32 values; the state is its."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Steps the parameters that have a gradient, one by one: one gradient exists in float32 at a time."""
        if closure is not None:
            raise InvalidArgument("MasterWeights takes no closure; call backward, then step()")
        groups = self.inner.param_groups
        try:
            for mine, group in zip(self.param_groups, groups, strict=True):
                group["lr"] = mine["lr"]
                for parameter in mine["params"]:
                    if parameter.grad is not None:
                        self._step_one(parameter, group)
        finally:
            self.inner.param_groups = groups

    def _step_one(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        master = self.masters[parameter]
        master.grad = parameter.grad.float() if parameter.grad is not None else None
        self.inner.param_groups = [{**group, "params": [master]}]
        self.inner.step()
        master.grad = None
        parameter.copy_(master)

    @torch.no_grad()
    def give_back(self, model: nn.Module) -> None:
        """Makes `model` float32 again: trained parameters get their float32 values, frozen ones keep what they are.

        A tensor that is no longer its rounded float32 value was replaced by the task (the policy of an earlier step);
        it keeps its own value.
        """
        for parameter in model.parameters():
            master = self.masters.get(parameter)
            kept = master is not None and torch.equal(master.to(parameter.dtype), parameter)
            parameter.data = master.data if master is not None and kept else parameter.data.float()


def _master(parameter: nn.Parameter) -> nn.Parameter:
    if parameter.dtype != torch.float32:
        raise InvalidArgument(
            f'a weight of {list(parameter.shape)} is {str(parameter.dtype)[6:]}; weights = "bfloat16" begins with '
            "float32 weights, whose exact values the optimizer keeps. Load the model with dtype=torch.float32."
        )
    return nn.Parameter(parameter.data, requires_grad=True)
