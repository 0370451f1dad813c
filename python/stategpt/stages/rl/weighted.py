"""What an RL step does to the tokens of one prompt's completions, for the report: each with its weight in the loss."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from stategpt.evaluate.records import WeightedCompletion, WeightedCompletions
from stategpt.tokenizer import AnyTokenizer

from .rollout import Rollout


def weighted_completions(
    step: int, rollout: Rollout, weights_S: Tensor, completions: int, tok: AnyTokenizer
) -> WeightedCompletions:
    """The prompt of a step whose weights differ by the median amount, with its `completions` completions.

    The median, because the prompt with the most different ones would show a failure rather than what is usual.
    """
    weights_PK = weights_S.detach().cpu().numpy().reshape(-1, completions)
    order = np.argsort(np.ptp(weights_PK, axis=1), kind="stable")
    prompt = int(order[len(order) // 2])
    chosen = range(prompt * completions, (prompt + 1) * completions)
    return WeightedCompletions(
        step,
        tok.decode(rollout.prompts[chosen.start]),
        tuple(
            WeightedCompletion(
                tokens=tuple(tok.decode(rollout.completions[s].ids[i : i + 1]) for i in range(_length(rollout, s))),
                reward=float(rollout.rewards_S[s]),
                weight=float(weights_S[s]),
            )
            for s in chosen
        ),
    )


def _length(rollout: Rollout, sample: int) -> int:
    return len(rollout.completions[sample].ids)
