"""The training loop's task: turns a step's rollout into weighted micro-batches, and gives the loss of each.

Old log-probabilities need no forward pass where another one gives them: in exact mode the sampler's are those of the
trainer, and where a step is one micro-batch the forward pass of the loss is made at once and kept for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stategpt.config import RLConfig, SamplingConfig
from stategpt.errors import InvalidArgument, NotExact
from stategpt.generate import Engine
from stategpt.model import GPT, autocast, undrawn_ids
from stategpt.model.exact import set_exact
from stategpt.model.kept_sets import KeptSet
from stategpt.model.policy import CompletionBatch, completion_log_probs, sum_by_sample
from stategpt.shown_fields import documented, short_repr
from stategpt.train.loop import Loss
from stategpt.train.losses import clipped_tokens, policy_gradient_loss, reward_weighted_loss

from .advantages import completion_weights
from .kl_limit import KLLimit
from .rollout import Ids, Rewards, Rollout, roll_out

LogProbs = tuple[Tensor, Tensor]
"""Log-probability of each of M tokens, and entropy of its distribution."""


@documented
@dataclass(frozen=True)
class WeightedBatch:
    """A micro-batch: some completions of a step with everything the loss needs."""

    batch: CompletionBatch
    """Prompts and completions as rows of tokens."""
    sampled_log_probs_M: Tensor
    """Log-probabilities under the policy that sampled, by the training forward pass; no gradient."""
    weights_S: Tensor
    """Advantage (rloo) or reward (reward_weighted) of each completion."""
    kept: tuple[KeptSet, ...] | None = None
    """The ids that each token was drawn among, where samples are drawn from a part of the vocabulary."""
    forward: LogProbs | None = None
    """The policy's forward pass with its graph, where it was made already."""

    __repr__ = short_repr


@dataclass(frozen=True)
class _LogProbs:
    """A micro-batch under policy and reference, before its weights are known."""

    batch: CompletionBatch
    kept: tuple[KeptSet, ...] | None
    policy_M: Tensor
    reference_M: Tensor
    entropy_M: Tensor | None
    """None where the loss computes it, and the log-probabilities are the sampler's."""
    forward: LogProbs | None


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
        if config.exact != engine.exact:
            raise InvalidArgument(
                f"config.exact is {config.exact} and the engine was made with exact={engine.exact}; give both the same"
            )
        if config.exact:
            set_exact(reference, True)
        self.config, self.engine, self.reference = config, engine, reference
        self.rewards, self.prompts = rewards, prompts
        self.sampling, self.seed, self.name = sampling, seed, name
        self.policy = engine.model
        self.steps = config.steps
        self.temperature = sampling.temperature
        self.forbidden = undrawn_ids(self.policy, engine.tok, engine.chat)
        self._limit = KLLimit(self.policy, config.max_kl)
        self._metrics: dict[str, float] = {}
        self._watched = _Watched(False)
        self.weighted: tuple[Rollout, Tensor] | None = None
        """Rollout of the last step and the weight of each of its completions."""

    def updates(self, step: int) -> Iterable[Sequence[WeightedBatch]]:
        """Samples and scores the step's completions, then yields each minibatch of prompts as one update."""
        rollout = roll_out(
            self.engine, self.rewards, self.prompts, self.config, self.sampling, seed=self.seed, step=step
        )
        count = len(rollout.prompts) // self.config.minibatches
        parts = [self._micro_batches(number * count, count) for number in range(self.config.minibatches)]
        alone = len(parts) == len(parts[0]) == 1
        minibatches = [[self._log_probs(rollout, part, alone) for part in minibatch] for minibatch in parts]
        yield from self._weigh(rollout, minibatches)

    def _micro_batches(self, first: int, count: int) -> list[slice]:
        """Parts of `count` samples from `first` on, of whole prompts where a prompt's completions fit one."""
        limit, each = self.config.micro_batch_completions, self.config.completions
        size = limit // each * each or limit
        return [slice(at, min(at + size, first + count)) for at in range(first, first + count, size)]

    @property
    def _takes_sampler_log_probs(self) -> bool:
        """Whether the old log-probabilities are the sampler's own, which the loss compares with the trainer's."""
        return self.config.exact and self.config.minibatches == 1 and not self.config.truncates

    def _log_probs(self, rollout: Rollout, part: slice, alone: bool) -> _LogProbs:
        """Log-probabilities of policy and reference, and the policy's entropy.

        With `alone` the step has no other micro-batch: the policy's forward pass keeps its graph.
        """
        config, device, completions = self.config, self.policy.device, rollout.completions[part]
        batch = CompletionBatch.of(
            rollout.prompts[part],
            [completion.ids for completion in completions],
            self.engine.control.pad,
            device,
            self.policy.config.width,
            flat=config.exact,
        )
        kept = tuple(kept for each in completions for kept in each.kept) if config.truncates else None
        with autocast(config.precision, device):
            with torch.no_grad():
                reference_M, _ = self._forward(self.reference, batch, kept)
            if self._takes_sampler_log_probs:
                sampled_M = torch.from_numpy(np.concatenate([each.log_probs for each in completions]))
                return _LogProbs(batch, kept, sampled_M, reference_M, None, None)
            with torch.set_grad_enabled(alone):
                forward = self._forward(self.policy, batch, kept)
        policy_M, entropy_M = forward
        return _LogProbs(batch, kept, policy_M.detach(), reference_M, entropy_M, forward if alone else None)

    def _forward(self, model: GPT, batch: CompletionBatch, kept: tuple[KeptSet, ...] | None) -> LogProbs:
        return completion_log_probs(model, batch, self.temperature, self.forbidden, kept=kept)

    def _weigh(self, rollout: Rollout, minibatches: Sequence[Sequence[_LogProbs]]) -> Iterable[Sequence[WeightedBatch]]:
        """Turns rewards and KL into the completions' weights, over the whole step; then yields the minibatches, or none
        where the KL ends the training.
        """
        parts = [part for minibatch in minibatches for part in minibatch]
        kl_S = torch.cat(
            [sum_by_sample(p.policy_M - p.reference_M, p.batch.sample_M, p.batch.samples) for p in parts]
        ).cpu()
        weights_S, equal_share = completion_weights(rollout.rewards_S, kl_S, self.config)
        self._metrics = _metrics(rollout, kl_S) | {"zero_variance_share": equal_share}
        self._watched = _Watched(self.config.exact and not self.config.truncates)
        if parts[0].entropy_M is not None:
            sampled_M = torch.from_numpy(np.concatenate([completion.log_probs for completion in rollout.completions]))
            trained_M, entropy_M = (torch.cat([getattr(p, name) for p in parts]) for name in ("policy_M", "entropy_M"))
            self._watched.add(sampled_M, trained_M.cpu(), entropy_M)
        self.weighted = rollout, weights_S
        if not self._limit.holds(self._metrics["kl_nats_per_completion"]):
            self._look_at(parts)
            return
        weights = iter(torch.split(weights_S.to(self.policy.device), [part.batch.samples for part in parts]))
        for minibatch in minibatches:
            yield [
                WeightedBatch(part.batch, part.policy_M, next(weights), part.kept, part.forward) for part in minibatch
            ]

    def _look_at(self, parts: Sequence[_LogProbs]) -> None:
        """Computes what no loss will: entropy and gap of the sampler's log-probabilities."""
        for part in parts:
            if part.entropy_M is None:
                with torch.no_grad(), autocast(self.config.precision, self.policy.device):
                    self._watched.add(part.policy_M, *self._forward(self.policy, part.batch, part.kept))

    def weight(self, batch: WeightedBatch) -> float:
        """Completions."""
        return batch.batch.samples

    def tokens(self, batch: WeightedBatch) -> int:
        """Tokens read, padding included."""
        return batch.batch.tokens_N.numel()

    def loss(self, batch: WeightedBatch) -> Loss:
        """Policy-gradient or reward-weighted loss over the completion tokens, end of text included."""
        config, sample_M, samples = self.config, batch.batch.sample_M, batch.batch.samples
        log_probs_M, entropy_M = batch.forward or self._forward(self.policy, batch.batch, batch.kept)
        if self._takes_sampler_log_probs:
            self._watched.add(batch.sampled_log_probs_M, log_probs_M.detach(), entropy_M)
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
        return self._metrics | self._watched.metrics()

    def ended(self) -> str:
        """That the KL exceeded `rl.max_kl`; the policy then has the weights of the step before."""
        return self._limit.reason

    def kept(self) -> dict[str, Tensor]:
        """The weights that are restored where the KL exceeds `rl.max_kl`."""
        return self._limit.weights


class _Watched:
    """Gap between sampler and trainer, and the policy's entropy, of the tokens of a step."""

    def __init__(self, exact: bool) -> None:
        self.exact = exact
        """Whether any gap is an error."""
        self._gap, self._entropy, self._tokens = 0.0, 0.0, 0

    def add(self, sampled_M: Tensor, trained_M: Tensor, entropy_M: Tensor) -> None:
        """Adds tokens. Raises `NotExact` where the two differ and must not."""
        gap_M = (sampled_M - trained_M).abs()
        self._gap = float(np.maximum(self._gap, float(gap_M.max())))  # `max` would lose what is not a number
        self._entropy += float(entropy_M.sum(dtype=torch.float64))
        self._tokens += len(gap_M)
        if self.exact and bool((gap_M != 0).any()):
            at = int(gap_M.argmax())
            raise NotExact(
                f"{int((gap_M != 0).sum())} of {len(gap_M)} tokens have another log-probability in the training "
                f"forward pass than when they were sampled; token {at}: {float(trained_M[at])!r} and "
                f"{float(sampled_M[at])!r}. "
                "Exact mode needs one number of threads for both, and weights that do not change between them; "
                "rl.exact = false accepts the difference"
            )

    def metrics(self) -> dict[str, float]:
        """What metrics.jsonl has of them."""
        if not self._tokens:
            return {}
        return {"entropy_nats_per_token": self._entropy / self._tokens, "sampler_gap_nats": self._gap}


def _metrics(rollout: Rollout, kl_S: Tensor) -> dict[str, float]:
    """Means over the step's samples (`stages.rl` explains each)."""
    rewards_S, completions = rollout.rewards_S[~rollout.rewards_S.isnan()], rollout.completions
    failed = len(rollout.rewards_S) - len(rewards_S)
    return {
        "reward_mean": float(rewards_S.mean()),
        "reward_sd": float(rewards_S.std(correction=0)),
        "kl_nats_per_completion": float(kl_S.mean()),
        "length_tokens": float(np.mean([len(completion.ids) for completion in completions])),
        "ended_share": float(np.mean([completion.ended for completion in completions])),
        **({"scorer_failed": float(failed)} if failed else {}),
    }
