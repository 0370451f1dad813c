"""Training: the one loop of all stages, what it trains on, losses, optimizer, schedule, checkpoints.

A task gives batches and a loss; `fit` does the rest (accumulation, clipping, schedule, checkpoints, Ctrl-C):

    task = NextTokenTask("mine", model, batches)     # batches: .steps, .updates(step)
    fit(task, model, LoopSettings(optim=OptimConfig(), folder=Path("mine"), fingerprint="1"))

`stategpt.train.losses` holds the losses as plain functions of tensors. A name that needs torch is imported when it is
first used (`MissingExtra` where it is not installed); progress alone works without.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from stategpt.extras import require

if TYPE_CHECKING:
    from .batches import PaddedSequences as PaddedSequences
    from .batches import TokenBatch as TokenBatch
    from .batches import pad_sequences as pad_sequences
    from .checkpoint import LoopState as LoopState
    from .checkpoint import load_latest_checkpoint as load_latest_checkpoint
    from .checkpoint import save_checkpoint as save_checkpoint
    from .loop import LoopSettings as LoopSettings
    from .loop import Loss as Loss
    from .loop import Task as Task
    from .loop import fit as fit
    from .next_token import NextTokenTask as NextTokenTask
    from .next_token import TokenBatches as TokenBatches
    from .optim import adamw as adamw
    from .policy import CompletionBatch as CompletionBatch
    from .policy import completion_log_probs as completion_log_probs
    from .schedule import learning_rate_at as learning_rate_at

_MODULE_OF = {
    "CompletionBatch": "policy",
    "LoopSettings": "loop",
    "LoopState": "checkpoint",
    "Loss": "loop",
    "NextTokenTask": "next_token",
    "PaddedSequences": "batches",
    "Task": "loop",
    "TokenBatch": "batches",
    "TokenBatches": "next_token",
    "adamw": "optim",
    "completion_log_probs": "policy",
    "fit": "loop",
    "learning_rate_at": "schedule",
    "load_latest_checkpoint": "checkpoint",
    "pad_sequences": "batches",
    "save_checkpoint": "checkpoint",
}
_SUBMODULES = ("losses",)

__all__ = [
    "CompletionBatch",
    "LoopSettings",
    "LoopState",
    "Loss",
    "NextTokenTask",
    "PaddedSequences",
    "Task",
    "TokenBatch",
    "TokenBatches",
    "adamw",
    "completion_log_probs",
    "fit",
    "learning_rate_at",
    "load_latest_checkpoint",
    "losses",
    "pad_sequences",
    "save_checkpoint",
]


def __getattr__(name: str) -> Any:
    module = name if name in _SUBMODULES else _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'stategpt.train' has no attribute {name!r}")
    require("torch", f"stategpt.train.{name}")
    loaded = importlib.import_module(f"stategpt.train.{module}")
    value = loaded if name in _SUBMODULES else getattr(loaded, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__all__", "__doc__", "__file__", "__name__", "__path__", "__spec__"]
