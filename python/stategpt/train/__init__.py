"""Training: one loop for all stages, losses, optimizer, schedule, checkpoints.

A task gives batches and a loss; `fit` does the rest (accumulation, clipping, schedule, checkpoints, Ctrl-C):

    task = NextTokenTask("mine", model, batches)     # batches: .steps, .updates(step)
    fit(task, model, LoopSettings(optim=OptimConfig(), folder=Path("mine"), fingerprint="1"))

`stategpt.train.losses` holds the losses as plain functions of tensors. Names need torch (`MissingExtra` where it is not
installed).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stategpt.lazy_names import lazy_names

if TYPE_CHECKING:
    from . import losses as losses
    from .checkpoint import LoopState as LoopState
    from .checkpoint import load_latest_checkpoint as load_latest_checkpoint
    from .checkpoint import save_checkpoint as save_checkpoint
    from .loop import LoopSettings as LoopSettings
    from .loop import Loss as Loss
    from .loop import Task as Task
    from .loop import fit as fit
    from .next_token import NextTokenTask as NextTokenTask
    from .next_token import TokenBatches as TokenBatches
    from .optimizers import build_optimizer as build_optimizer
    from .reward import RewardTask as RewardTask
    from .schedule import learning_rate_at as learning_rate_at

__all__ = [
    "LoopSettings",
    "LoopState",
    "Loss",
    "NextTokenTask",
    "RewardTask",
    "Task",
    "TokenBatches",
    "build_optimizer",
    "fit",
    "learning_rate_at",
    "load_latest_checkpoint",
    "losses",
    "save_checkpoint",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "checkpoint": (
            "LoopState",
            "load_latest_checkpoint",
            "save_checkpoint",
        ),
        "loop": (
            "LoopSettings",
            "Loss",
            "Task",
            "fit",
        ),
        "next_token": (
            "NextTokenTask",
            "TokenBatches",
        ),
        "optimizers": ("build_optimizer",),
        "reward": ("RewardTask",),
        "schedule": ("learning_rate_at",),
    },
    submodules=("losses",),
    torch=True,
)
