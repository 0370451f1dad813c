"""What the log-likelihood of each completion is weighted by: one function per objective.

The reward of a completion that the scorer failed on is NaN. It is left out: it is in no baseline and no spread, and its
weight is 0. The loss is divided by the completions sampled, as ever.

To add an objective, add its function to `OBJECTIVES` and its name to `config.stages.Objective`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from stategpt.config import RLConfig
from stategpt.train.losses import constant_groups, filled, kl_penalized_rewards, leave_one_out_advantages

Objective = Callable[[Tensor, Tensor, float, int], Tensor]
"""(rewards_S, kl_S, beta, completions per prompt) -> weights_S; prompt-major."""


def rloo(rewards_S: Tensor, kl_S: Tensor, beta: float, completions: int) -> Tensor:
    """Leave-one-out advantages of the KL-penalized rewards, divided by the root mean square of all of the step."""
    # A KL near 0 is a difference of log-probabilities of some nats, so its rounding error is that of those.
    size_S = rewards_S.abs() + beta * (1 + kl_S.abs())
    advantages_S = leave_one_out_advantages(kl_penalized_rewards(rewards_S, kl_S, beta), completions, size_S)
    spread = advantages_S[~rewards_S.isnan()].square().mean().sqrt()
    return advantages_S / spread if spread > 0 else advantages_S


def reward_weighted(rewards_S: Tensor, kl_S: Tensor, beta: float, completions: int) -> Tensor:
    """The KL-penalized rewards themselves: the talk's own form."""
    return kl_penalized_rewards(rewards_S, kl_S, beta)


OBJECTIVES: Mapping[str, Objective] = {"rloo": rloo, "reward_weighted": reward_weighted}
"""By the name that `rl.objective` takes."""


def completion_weights(rewards_S: Tensor, kl_S: Tensor, config: RLConfig) -> tuple[Tensor, float]:
    """Returns the weights by `config.objective`, and the share of prompts whose samples all have the same reward,
    before the KL penalty and up to rounding.
    """
    equal_share = float(constant_groups(filled(rewards_S, config.completions), config.completions).float().mean())
    weights_S = OBJECTIVES[config.objective](rewards_S, kl_S, config.beta, config.completions)
    return weights_S.masked_fill(rewards_S.isnan(), 0.0), equal_share
