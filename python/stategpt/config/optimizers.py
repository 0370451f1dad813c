"""The optimizers by the name that `optim.optimizer` takes, described without torch so that the planner can read them.

To add one, add its entry to `OPTIMIZERS`: its class is imported where a stage trains, checkpoints save the state that
the entry names, and the planner counts the memory of that state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stategpt.shown_fields import documented

if TYPE_CHECKING:
    from stategpt.config.optim import OptimConfig


@documented
@dataclass(frozen=True)
class Optimizer:
    """A subclass of `torch.optim.Optimizer` and the state it keeps for each parameter."""

    factory: str
    """`module:class`, called with parameter groups, `lr` and `arguments`. Two entries of one class have one state."""
    arguments: Callable[[OptimConfig], Mapping[str, object]]
    """Keyword arguments besides `lr`; weight decay is a value of each parameter group."""
    state: tuple[str, ...]
    """Its tensors of the parameter's shape and dtype, which start as zeros."""
    non_negative: tuple[str, ...] = ()
    """Those of `state` that are never negative; a checkpoint that says otherwise is refused."""
    counts_steps: bool = False
    """It also keeps `step`, a float32 scalar that starts at 0."""
    in_8_bits: bool = False
    """State of large tensors (`is_quantized`) is uint8 of the parameter's shape, with `NAME_scale`, a float32 for each
    block of `STATE_BLOCK` numbers."""

    def state_bytes(self, numbers: int) -> int:
        """Bytes kept for a tensor of `numbers` float32 weights."""
        if self.in_8_bits and is_quantized(numbers):
            return len(self.state) * (numbers + 4 * -(-numbers // STATE_BLOCK))
        return 4 * len(self.state) * numbers


STATE_BLOCK = 256
"""Numbers of 8-bit state that share a scale."""
SMALLEST_QUANTIZED = 4096
"""Smaller tensors keep their state in float32: it is little memory, and norms and biases are sensitive."""


def is_quantized(numbers: int) -> bool:
    """Whether an optimizer with 8-bit state uses it for a tensor of `numbers` numbers."""
    return numbers >= SMALLEST_QUANTIZED


OPTIMIZERS: Mapping[str, Optimizer] = {
    "adamw": Optimizer(
        "torch.optim:AdamW",
        lambda optim: {"betas": optim.betas, "eps": optim.epsilon, "fused": True},
        state=("exp_avg", "exp_avg_sq"),
        non_negative=("exp_avg_sq",),
        counts_steps=True,
    ),
    "adamw8bit": Optimizer(
        "stategpt.train.adamw8bit:AdamW8bit",
        lambda optim: {"betas": optim.betas, "eps": optim.epsilon},
        state=("exp_avg", "exp_avg_sq"),
        non_negative=("exp_avg_sq", "exp_avg_scale", "exp_avg_sq_scale"),
        counts_steps=True,
        in_8_bits=True,
    ),
    "sgd": Optimizer("torch.optim:SGD", lambda optim: {"momentum": optim.betas[0]}, state=("momentum_buffer",)),
}
"""AdamW (arXiv 1711.05101), the same with 8-bit moments (arXiv 2110.02861), and stochastic gradient descent with
momentum."""
