"""Learning-rate schedule of a stage: linear warm-up, flat, then cosine or linear decay."""

from __future__ import annotations

import math

from stategpt.config import OptimConfig


def learning_rate_at(step: int, steps: int, config: OptimConfig) -> float:
    """Learning rate of optimizer step `step` (from 0) out of `steps`.

    A step has a fixed number of tokens, so a fraction of the steps is a fraction of the tokens, whatever the
    accumulation or world size. Warm-up rises to the peak over `warmup_steps`; the rate is flat until `flat_fraction`
    of the steps and then falls to `final_fraction` of the peak on the last one (`decay`: "cosine" after Loshchilov and
    Hutter 2017, or "linear").
    """
    # A short stage must reach its peak too: warm-up takes at most a tenth of it.
    warmup = min(config.warmup_steps, max(1, steps // 10))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    flat_until = max(warmup, config.flat_fraction * steps)
    if step < flat_until:
        return config.learning_rate
    done = min(1.0, (step + 1 - flat_until) / max(1.0, steps - flat_until))
    shape = (1 + math.cos(math.pi * done)) / 2 if config.decay == "cosine" else 1 - done
    return config.learning_rate * (config.final_fraction + (1 - config.final_fraction) * shape)
