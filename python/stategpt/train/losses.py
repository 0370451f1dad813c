"""The losses of the four stages, and the estimators of reinforcement learning.

Legend: N tokens or targets, S samples (completions), P pairs, V vocabulary. Every loss is a SUM, returned without
division: the loop divides by the weight of the whole optimizer step, so accumulation and batch shape do not change the
gradient.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from stategpt.errors import InvalidArgument
from stategpt.ops import cross_entropy

ROUNDING_UNITS = 128
"""Rewards that differ by at most this many units in the last place are equal: 1.5e-5 of their size in float32, which
is above what a forward pass rounds (some 1e-6) and below what a reward model can tell apart."""


def next_token_loss(logits_NV: Tensor, targets_N: Tensor) -> Tensor:
    """Sum over N targets of the cross-entropy in nats, computed in float32. Zero targets give 0 with a graph, not
    NaN.
    """
    return cross_entropy(logits_NV.float(), targets_N)


def ranking_loss(scores_S: Tensor, pairs_P2: Tensor, weights_P: Tensor) -> Tensor:
    """Pairwise Bradley-Terry loss over ranked completions, summed with `weights_P`.

    `-log sigmoid(score[winner] - score[loser])` (Ouyang et al. 2022, arXiv 2203.02155, equation 1). With weights
    1/pairs per prompt a prompt counts once however many completions it has. `logsigmoid` in float32: `log(1 + exp(-x))`
    overflows.

    Shapes: scores_S one scalar a completion; pairs_P2 (winner, loser) indices into S; weights_P.
    """
    margin_P = scores_S.float()[pairs_P2[:, 0]] - scores_S.float()[pairs_P2[:, 1]]
    return -(F.logsigmoid(margin_P) * weights_P).sum()


def kl_penalized_rewards(rewards_S: Tensor, log_ratio_S: Tensor, beta: float) -> Tensor:
    """`r - beta * k1`, with k1 = sum over the completion's tokens of log pi(y_t) - log pi_ref(y_t).

    In the reward, k1's score-function gradient is the exact KL gradient; in the loss its expected gradient would be
    zero (checked by enumeration in tests/stages/test_exact_world.py). Carries no gradient.
    """
    return rewards_S - beta * log_ratio_S.detach()


def constant_groups(values_S: Tensor, completions: int, size_S: Tensor | None = None) -> Tensor:
    """Whether all values of a prompt are equal up to rounding. -> bool[prompts].

    `values_S` is prompt-major with `completions` values a prompt. Values within `ROUNDING_UNITS` units of the
    last place of the group's largest size are the same; `size_S` is the size of what each value was computed from,
    where terms have canceled (the values' own size without it).
    """
    groups = values_S.view(-1, completions)
    size = (values_S if size_S is None else size_S).abs().view(-1, completions).amax(dim=1)
    range_G = groups.amax(dim=1) - groups.amin(dim=1)
    return range_G <= ROUNDING_UNITS * torch.finfo(values_S.dtype).eps * size


def leave_one_out_advantages(rewards_S: Tensor, completions: int, size_S: Tensor | None = None) -> Tensor:
    """Reward minus the mean reward of the prompt's other completions (RLOO; Ahmadian et al. 2024, arXiv 2402.14740).

    `rewards_S` is prompt-major with `completions` >= 2 samples a prompt. A prompt whose samples all earn the same but
    for rounding (`constant_groups`, which `size_S` is for) gets advantage 0, exactly: a residue of 1e-8 would become an
    advantage of 1 wherever advantages are divided by their size, and an update of full length under Adam, which divides
    too. A sample whose reward is NaN is in no baseline and gets advantage 0.
    """
    if completions < 2 or rewards_S.numel() % completions:
        raise InvalidArgument(
            f"{rewards_S.numel()} rewards with {completions} completions a prompt: leave-one-out needs at least 2 "
            "completions of every prompt. Raise rl.completions."
        )
    failed = rewards_S.isnan().view(-1, completions)
    if failed.any():
        rewards_S, size_S = filled(rewards_S, completions), None if size_S is None else size_S.nan_to_num(0.0)
    groups = rewards_S.view(-1, completions)
    # From the first reward on: equal rewards are zeros before anything is rounded.
    groups = groups - groups[:, :1]
    others = (groups.sum(dim=1, keepdim=True) - groups) / (completions - 1)
    constant_G = constant_groups(rewards_S, completions, size_S)
    advantages = (groups - others).masked_fill(constant_G[:, None], 0.0)
    if failed.any():
        # With the others' mean in the place of those that failed: K/(K-1) (r - mean). Of n rewards it is n/(n-1).
        rewarded = completions - failed.sum(dim=1, keepdim=True)
        scale = rewarded * (completions - 1) / (completions * (rewarded - 1).clamp(min=1))
        advantages = (advantages * scale).masked_fill(failed, 0.0)
    return advantages.view(-1)


def filled(values_S: Tensor, completions: int) -> Tensor:
    """The values with the mean of their prompt's others in the place of NaN, or 0 where a prompt has none."""
    groups = values_S.view(-1, completions)
    return torch.where(groups.isnan(), groups.nanmean(dim=1, keepdim=True).nan_to_num(0.0), groups).view(-1)


def policy_gradient_loss(
    log_probs_N: Tensor, sampled_log_probs_N: Tensor, advantages_N: Tensor, clip_ratio: float | None = None
) -> Tensor:
    """Sum over N completion tokens of the (clipped) policy-gradient loss.

    ratio = pi / pi_sampled; loss = -min(ratio * A, clip(ratio, 1 - c, 1 + c) * A) (PPO; Schulman et al. 2017, equation
    7). On the first minibatch of a rollout the ratio is 1, and the gradient is REINFORCE's, -A * grad log pi.
    """
    ratio_N = torch.exp(log_probs_N - sampled_log_probs_N)
    gain_N = ratio_N * advantages_N
    if clip_ratio is not None:
        gain_N = torch.minimum(gain_N, ratio_N.clamp(1 - clip_ratio, 1 + clip_ratio) * advantages_N)
    return -gain_N.sum()


def clipped_tokens(ratio_N: Tensor, advantages_N: Tensor, clip_ratio: float) -> Tensor:
    """Which of N tokens the clip of `policy_gradient_loss` leaves without a gradient: 1, else 0. -> float32[N]."""
    above = (ratio_N > 1 + clip_ratio) & (advantages_N > 0)
    below = (ratio_N < 1 - clip_ratio) & (advantages_N < 0)
    return (above | below).float()


def reward_weighted_loss(log_probs_N: Tensor, rewards_N: Tensor) -> Tensor:
    """The talk's own form: the language-model loss on completion tokens, each weighted by its completion's reward.

    For samples of the policy itself. Those of an older one need `policy_gradient_loss` with the rewards as advantages;
    where the ratio is 1 its gradient is this one's.
    """
    return -(log_probs_N * rewards_N).sum()
