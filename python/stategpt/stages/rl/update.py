"""The training loop's task: turns a step's rollout into weighted micro-batches, and gives the loss of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stategpt.config import RLConfig, SamplingConfig
from stategpt.generate import Engine
from stategpt.model import GPT, autocast, undrawn_ids
from stategpt.model.policy import CompletionBatch, completion_log_probs, sum_by_sample
from stategpt.shown_fields import documented, short_repr
from stategpt.train.loop import Loss
from stategpt.train.losses import clipped_tokens, policy_gradient_loss, reward_weighted_loss

from .advantages import completion_weights
from .kl_limit import KLLimit
from .rollout import Ids, Rewards, Rollout, roll_out


@documented
@dataclass(frozen=True)
class WeightedBatch:
    """A micro-batch: some completions of a step with everything the loss needs; nothing here carries a gradient."""

    batch: CompletionBatch
    """Prompts and completions as rows of tokens."""
    sampled_log_probs_M: Tensor
    """Log-probabilities under the policy that sampled, by the training forward pass."""
    weights_S: Tensor
    """Advantage (rloo) or reward (reward_weighted) of each completion."""

    __repr__ = short_repr


@dataclass(frozen=True)
class _LogProbs:
    """A micro-batch under policy and reference, before its weights are known."""

    batch: CompletionBatch
    policy_M: Tensor
    reference_M: Tensor
    entropy_M: Tensor


class RLTask:
    """Rollouts and loss; a step's prompts and samples are functions of `seed`, the step and the policy's weights.

    Args:
        config: objective, sizes and limits.
        engine: samples from the policy, which is its model.
        reference: the model that the KL is measured to; it is not trained.
        rewards: gives the rewards of the completions.
        prompts: token ids of the training prompts.
        sampling: temperature and length of the samples; log-probabilities are of the same distribution.
        seed: decides the order of the prompts and the samples.
        name: what progress and messages call this policy.
    """

    loss_unit = "loss_per_completion"

    def __init__(
        self,
        config: RLConfig,
        engine: Engine,
        reference: GPT,
        rewards: Rewards,
        prompts: Sequence[Ids],
        *,
        sampling: SamplingConfig,
        seed: int,
        name: str = "rl",
    ) -> None:
        self.config, self.engine, self.reference = config, engine, reference
        self.rewards, self.prompts = rewards, prompts
        self.sampling, self.seed, self.name = sampling, seed, name
        self.policy = engine.model
        self.steps = config.steps
        self.temperature = sampling.temperature
        self.forbidden = undrawn_ids(self.policy, engine.tok, engine.chat)
        self._limit = KLLimit(self.policy, config.max_kl)
        self._metrics: dict[str, float] = {}
        self.weighted: tuple[Rollout, Tensor] | None = None
        """Rollout of the last step and the weight of each of its completions."""

    def updates(self, step: int) -> Iterable[Sequence[WeightedBatch]]:
        """Samples and scores the step's completions, then yields each minibatch of prompts as one update."""
        rollout = roll_out(
            self.engine, self.rewards, self.prompts, self.config, self.sampling, seed=self.seed, step=step
        )
        count = len(rollout.prompts) // self.config.minibatches
        minibatches = [
            [self._log_probs(rollout, part) for part in self._micro_batches(number * count, count)]
            for number in range(self.config.minibatches)
        ]
        yield from self._weigh(rollout, minibatches)

    def _micro_batches(self, first: int, count: int) -> list[slice]:
        """Parts of `count` samples from `first` on, of whole prompts where a prompt's completions fit one."""
        limit, each = self.config.micro_batch_completions, self.config.completions
        size = limit // each * each or limit
        return [slice(at, min(at + size, first + count)) for at in range(first, first + count, size)]

    def _log_probs(self, rollout: Rollout, part: slice) -> _LogProbs:
        """Log-probabilities of policy and reference, and the policy's entropy; no gradient."""
        ids, device = [completion.ids for completion in rollout.completions[part]], self.policy.device
        pad, width = self.engine.control.pad, self.policy.config.width
        batch = CompletionBatch.of(rollout.prompts[part], ids, pad, device, width)
        with torch.no_grad(), autocast(self.config.precision, device):
            policy_M, entropy_M = completion_log_probs(self.policy, batch, self.temperature, self.forbidden)
            reference_M, _ = completion_log_probs(self.reference, batch, self.temperature, self.forbidden)
        return _LogProbs(batch, policy_M, reference_M, entropy_M)

    def _weigh(self, rollout: Rollout, minibatches: Sequence[Sequence[_LogProbs]]) -> Iterable[Sequence[WeightedBatch]]:
        """Turns rewards and KL into the completions' weights, over the whole step; then yields the minibatches, or none
        where the KL ends the training.
        """
        parts = [part for minibatch in minibatches for part in minibatch]
        kl_S = torch.cat(
            [sum_by_sample(p.policy_M - p.reference_M, p.batch.sample_M, p.batch.samples) for p in parts]
        ).cpu()
        weights_S, equal_share = completion_weights(rollout.rewards_S, kl_S, self.config)
        self._metrics = _metrics(rollout, parts, kl_S) | {"zero_variance_share": equal_share}
        self.weighted = rollout, weights_S
        if not self._limit.holds(self._metrics["kl_nats_per_completion"]):
            return
        weights = iter(torch.split(weights_S.to(self.policy.device), [part.batch.samples for part in parts]))
        for minibatch in minibatches:
            yield [WeightedBatch(part.batch, part.policy_M, next(weights)) for part in minibatch]

    def weight(self, batch: WeightedBatch) -> float:
        """Completions."""
        return batch.batch.samples

    def tokens(self, batch: WeightedBatch) -> int:
        """Tokens read, padding included."""
        return batch.batch.tokens_N.numel()

    def loss(self, batch: WeightedBatch) -> Loss:
        """Policy-gradient or reward-weighted loss over the completion tokens, end of text included."""
        config, sample_M, samples = self.config, batch.batch.sample_M, batch.batch.samples
        log_probs_M, _ = completion_log_probs(self.policy, batch.batch, self.temperature, self.forbidden)
        weights_M = batch.weights_S[sample_M]
        if config.objective == "reward_weighted" and config.minibatches == 1:
            total = reward_weighted_loss(log_probs_M, weights_M)
        else:
            total = policy_gradient_loss(log_probs_M, batch.sampled_log_probs_M, weights_M, config.clip_ratio)
        log_ratio_M = log_probs_M.detach() - batch.sampled_log_probs_M
        ratio_M = log_ratio_M.exp()
        tokens_S = torch.bincount(sample_M, minlength=samples)
        by_completion = {"ratio_mean": ratio_M, "ratio_clipped": clipped_tokens(ratio_M, weights_M, config.clip_ratio)}
        sums = {
            name: float((sum_by_sample(v, sample_M, samples) / tokens_S).sum()) for name, v in by_completion.items()
        }
        return Loss(total, {**sums, "kl_old_nats_per_completion": float((ratio_M - 1 - log_ratio_M).sum())})

    def step_metrics(self) -> dict[str, float]:
        """Reward, KL, entropy and length of the step's rollout, and the gap between sampler and training forward."""
        return dict(self._metrics)

    def ended(self) -> str:
        """That the KL exceeded `rl.max_kl`; the policy then has the weights of the step before."""
        return self._limit.reason

    def kept(self) -> dict[str, Tensor]:
        """The weights that are restored where the KL exceeds `rl.max_kl`."""
        return self._limit.weights


def _metrics(rollout: Rollout, parts: Sequence[_LogProbs], kl_S: Tensor) -> dict[str, float]:
    """Means over the step's samples (`stages.rl` explains each)."""
    rewards_S, completions = rollout.rewards_S[~rollout.rewards_S.isnan()], rollout.completions
    failed = len(rollout.rewards_S) - len(rewards_S)
    sampled = torch.from_numpy(np.concatenate([completion.log_probs for completion in completions]))
    trained = torch.cat([part.policy_M for part in parts]).cpu()
    return {
        "reward_mean": float(rewards_S.mean()),
        "reward_sd": float(rewards_S.std(correction=0)),
        "kl_nats_per_completion": float(kl_S.mean()),
        "entropy_nats_per_token": float(torch.cat([part.entropy_M for part in parts]).mean()),
        "length_tokens": float(np.mean([len(completion.ids) for completion in completions])),
        "ended_share": float(np.mean([completion.ended for completion in completions])),
        "sampler_gap_nats": float((sampled - trained).abs().max()),
        **({"scorer_failed": float(failed)} if failed else {}),
    }
