"""AdamW whose moments are kept in 8 bits: 2 bytes a weight in the place of 8 (Dettmers et al. 2022, arXiv 2110.02861).

A step restores the moments of some blocks to float32, updates them and the weights as AdamW does, and rounds the
moments again (`ops.dynamic_8bit`); the weights are changed by the moments before they are rounded. Tensors of fewer
than 4,096 numbers (norms, biases) keep float32 moments, as in the paper.

Legend: N numbers of a tensor, in parts of whole blocks, so that what is restored at a time stays within a cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from stategpt.config.optimizers import STATE_BLOCK as BLOCK
from stategpt.config.optimizers import is_quantized
from stategpt.errors import InvalidArgument
from stategpt.ops.dynamic_8bit import dequantize, quantize

PART = 512 * BLOCK
"""Numbers restored at a time: 0.5 MiB a moment."""


class AdamW8bit(torch.optim.Optimizer):
    """AdamW (arXiv 1711.05101) with 8-bit moments.

    Args:
        params: parameters or groups of them, contiguous.
        lr: learning rate.
        betas: decay of the running means of the gradient and of its square.
        eps: added to the root of the second moment.
        weight_decay: share of the weights times `lr` that a step takes off.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Updates every parameter that has a gradient. A `closure` is not called: give the gradients."""
        if closure is not None:
            raise InvalidArgument("AdamW8bit takes no closure; call backward, then step()")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state |= initial_moments(parameter)
        state["step"] += 1
        weight_N, gradient_N = parameter.view(-1), gradient.reshape(-1)
        steps = float(state["step"])
        if not is_quantized(parameter.numel()):
            _adamw(weight_N, gradient_N, state["exp_avg"].view(-1), state["exp_avg_sq"].view(-1), steps, group)
            return
        for first in range(0, len(weight_N), PART):
            part = slice(first, min(first + PART, len(weight_N)))
            blocks = slice(first // BLOCK, -(-part.stop // BLOCK))
            mean_N, square_N = (
                dequantize(state[key].view(-1)[part], state[f"{key}_scale"][blocks], signed)
                for key, signed in _SIGNED.items()
            )
            _adamw(weight_N[part], gradient_N[part], mean_N, square_N, steps, group)
            for (key, signed), moment_N in zip(_SIGNED.items(), (mean_N, square_N), strict=True):
                codes_N, state[f"{key}_scale"][blocks] = quantize(moment_N, signed)
                state[key].view(-1)[part] = codes_N


_SIGNED = {"exp_avg": True, "exp_avg_sq": False}


def initial_moments(parameter: Tensor) -> dict[str, Tensor]:
    """State of a parameter before its first step; a scale of 0 makes a block of zeros of any codes."""
    state = {"step": torch.zeros((), dtype=torch.float32)}
    for key in _SIGNED:
        if is_quantized(parameter.numel()):
            state[key] = torch.zeros_like(parameter, dtype=torch.uint8)
            blocks = -(-parameter.numel() // BLOCK)
            state[f"{key}_scale"] = torch.zeros(blocks, dtype=torch.float32, device=parameter.device)
        else:
            state[key] = torch.zeros_like(parameter, dtype=torch.float32)
    return state


def _adamw(
    weight_N: Tensor, gradient_N: Tensor, mean_N: Tensor, square_N: Tensor, steps: float, group: dict[str, Any]
) -> None:
    """One step of AdamW on float32 moments, in place; weights of 16 bits are changed in float32 and rounded once."""
    (beta1, beta2), rate = group["betas"], group["lr"]
    gradient_N, changed_N = gradient_N.float(), weight_N.float()
    mean_N.lerp_(gradient_N, 1 - beta1)
    square_N.mul_(beta2).addcmul_(gradient_N, gradient_N, value=1 - beta2)
    denominator_N = square_N.sqrt().div_(math.sqrt(1 - beta2**steps)).add_(group["eps"])
    changed_N.mul_(1 - rate * group["weight_decay"]).addcdiv_(mean_N, denominator_N, value=-rate / (1 - beta1**steps))
    if changed_N.dtype != weight_N.dtype:
        weight_N.copy_(changed_N)
