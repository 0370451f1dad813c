"""The optimizer and its learning-rate schedule, as every trained stage uses them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stategpt.config.checks import require, require_choice, require_not_negative, require_positive, require_share
from stategpt.config.optimizers import OPTIMIZERS
from stategpt.shown_fields import documented

Decay = Literal["linear", "cosine"]


@documented
@dataclass(frozen=True)
class OptimConfig:
    """An optimizer with warm-up, a flat part and a decay of its learning rate; all by steps of the optimizer.

    Raises:
        ConfigError: a value out of its range; the message gives the stage's full key where the config came from a file.
    """

    learning_rate: float = 0.0
    """Highest learning rate, reached at the end of the warm-up; 0 = by the width of the model (`config.dial`)."""
    optimizer: str = "adamw"
    """"adamw" (arXiv 1711.05101), "adamw8bit" with moments in 8 bits, or "sgd" with betas[0] as its momentum."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of the running mean of the gradient and (not sgd) of its square, per step."""
    weight_decay: float = 0.1
    """Decay of matrices (adamw: decoupled; sgd: added to the gradient); norms, biases and embeddings have none."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises from 0."""
    flat_fraction: float = 0.0
    """Share of the stage's steps (warm-up included) before the decay begins."""
    final_fraction: float = 0.02
    """Learning rate of the last step, as a share of the highest."""
    decay: Decay = "linear"
    """Form of the decay from the flat part to the last step."""
    clip_norm: float = 1.0
    """Gradients with a larger L2 norm are scaled down to it; 0 = never."""
    epsilon: float = 1e-8
    """Added to the root of the second moment (not sgd)."""

    def __post_init__(self) -> None:
        require_positive("optim", epsilon=self.epsilon)
        require_not_negative(
            "optim",
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            warmup_steps=self.warmup_steps,
            clip_norm=self.clip_norm,
        )
        require_share("optim", flat_fraction=self.flat_fraction, final_fraction=self.final_fraction)
        require(all(0 <= beta < 1 for beta in self.betas), "optim.betas", self.betas, "each must be in [0, 1)")
        require_choice("optim.optimizer", self.optimizer, tuple(OPTIMIZERS))
        require_choice("optim.decay", self.decay, ("linear", "cosine"))
