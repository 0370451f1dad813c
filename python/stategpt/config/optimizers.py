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

    @property
    def state_numbers(self) -> int:
        """Numbers kept per weight, which is what the planner needs."""
        return len(self.state)


OPTIMIZERS: Mapping[str, Optimizer] = {
    "adamw": Optimizer(
        "torch.optim:AdamW",
        lambda optim: {"betas": optim.betas, "eps": optim.epsilon, "fused": True},
        state=("exp_avg", "exp_avg_sq"),
        non_negative=("exp_avg_sq",),
        counts_steps=True,
    ),
    "sgd": Optimizer("torch.optim:SGD", lambda optim: {"momentum": optim.betas[0]}, state=("momentum_buffer",)),
}
"""AdamW (arXiv 1711.05101), and stochastic gradient descent with momentum."""
