"""Sampling and scoring: draws the prompts of a step, samples completions of the policy and gets their rewards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stategpt.config import RLConfig, SamplingConfig
from stategpt.generate import Completion, Engine
from stategpt.randomness import bits, permutation
from stategpt.shown_fields import documented, short_repr

Ids = NDArray[np.uint32]


Rewards = Callable[[Sequence[int], Sequence[Completion]], NDArray[np.float32]]
"""Gives the reward of each completion; the numbers say which of the stage's prompts it continues."""


@documented
@dataclass(frozen=True)
class Rollout:
    """The S completions of a step with their rewards, those of one prompt next to each other."""

    prompts: list[Ids]
    """The prompt of each completion."""
    completions: list[Completion]
    """As the policy sampled them."""
    rewards_S: Tensor
    """The rewards, less `rl.no_eos_penalty` where a completion did not end."""

    __repr__ = short_repr


def roll_out(
    engine: Engine,
    rewards: Rewards,
    prompts: Sequence[Ids],
    config: RLConfig,
    sampling: SamplingConfig,
    *,
    seed: int,
    step: int,
) -> Rollout:
    """Samples `config.completions` completions of each prompt of the step and scores them.

    Prompts and samples are a function of `seed`, `step` and the policy's weights.
    """
    numbers = prompts_of_step(len(prompts), config.prompts_per_step, seed, step).tolist()
    chosen = [prompts[i] for i in numbers]
    policy = engine.model.eval()
    completions = engine.generate(
        chosen,
        n=config.completions,
        temperature=sampling.temperature,
        top_k=config.top_k or None,
        top_p=config.top_p if config.top_p < 1 else None,
        kept_sets=config.truncates,
        max_tokens=sampling.max_tokens,
        seed=int(bits(seed, "rl samples", step) >> np.uint64(2)),
    )
    policy.train()
    repeated = [prompt for prompt in chosen for _ in range(config.completions)]
    continued = [number for number in numbers for _ in range(config.completions)]
    rewards_S = torch.from_numpy(rewards(continued, completions))
    ended_S = torch.tensor([completion.ended for completion in completions])
    return Rollout(repeated, completions, rewards_S - config.no_eos_penalty * (~ended_S).float())


def prompts_of_step(prompts: int, per_step: int, seed: int, step: int) -> NDArray[np.int64]:
    """Returns the indices of a step's prompts: consecutive parts of a new permutation of all prompts every epoch."""
    first = step * per_step
    epochs = range(first // prompts, (first + per_step - 1) // prompts + 1)
    orders = np.concatenate([permutation(prompts, seed, "rl prompts", epoch) for epoch in epochs])
    offset = first - epochs.start * prompts
    return orders[offset : offset + per_step]
