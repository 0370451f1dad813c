"""What the log-likelihood of each completion is weighted by: one function per objective.

The reward of a completion that the scorer failed on is NaN. It is left out: it is in no baseline and no spread, and its
weight is 0. The loss is divided by the completions sampled, as ever.

To add an objective, add its function to `OBJECTIVES` and its name to `config.stages.Objective`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from stategpt.config import RLConfig
from stategpt.train.losses import constant_groups, kl_penalized_rewards, leave_one_out_advantages

Objective = Callable[[Tensor, Tensor, float, int], Tensor]
"""(rewards_S, kl_S, beta, completions per prompt) -> weights_S; prompt-major."""


def rloo(rewards_S: Tensor, kl_S: Tensor, beta: float, completions: int) -> Tensor:
    """Leave-one-out advantages of the KL-penalized rewards, divided by the root mean square of all of the step."""
    if rewards_S.isnan().any():
        return _rloo_of_scored(kl_penalized_rewards(rewards_S, kl_S, beta), completions)
    # A KL near 0 is a difference of log-probabilities of some nats, so its rounding error is that of those.
    size_S = rewards_S.abs() + beta * (1 + kl_S.abs())
    advantages_S = leave_one_out_advantages(kl_penalized_rewards(rewards_S, kl_S, beta), completions, size_S)
    spread = advantages_S.square().mean().sqrt()
    return advantages_S / spread if spread > 0 else advantages_S


def _rloo_of_scored(penalized_S: Tensor, completions: int) -> Tensor:
    """The same where some rewards are NaN: the baseline of a completion is the mean of the others that have one."""
    groups_PK = penalized_S.reshape(-1, completions)
    scored_PK = ~groups_PK.isnan()
    counts_P1 = scored_PK.sum(dim=1, keepdim=True)
    values_PK = groups_PK.nan_to_num(0.0)
    others_PK = (values_PK.sum(dim=1, keepdim=True) - values_PK) / (counts_P1 - 1).clamp(min=1)
    advantages_S = torch.where(scored_PK & (counts_P1 > 1), values_PK - others_PK, 0.0).flatten()
    spread = advantages_S[scored_PK.flatten()].square().mean().sqrt()
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
    failed_S = rewards_S.isnan()
    equal_share = float(constant_groups(_filled(rewards_S, config.completions), config.completions).float().mean())
    weights_S = OBJECTIVES[config.objective](rewards_S, kl_S, config.beta, config.completions)
    return torch.where(failed_S, 0.0, weights_S) if failed_S.any() else weights_S, equal_share


def _filled(rewards_S: Tensor, completions: int) -> Tensor:
    """The rewards with the least of its prompt's in the place of one that is NaN; 0 where all of a prompt's are."""
    if not rewards_S.isnan().any():
        return rewards_S
    groups_PK = rewards_S.reshape(-1, completions)
    least_P1 = groups_PK.nan_to_num(torch.inf, posinf=torch.inf).amin(dim=1, keepdim=True)
    return torch.where(groups_PK.isnan(), least_P1.nan_to_num(posinf=0.0), groups_PK).flatten()
