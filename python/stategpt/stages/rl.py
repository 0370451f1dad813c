"""Stage 4, reinforcement learning: sample, append the reward token, read the reward, reinforce, stay near SFT.

    R(x, y) = r(x, y) - beta * sum_t [log pi(y_t) - log pi_sft(y_t)]          KL as k1, in the reward
    A_i     = R_i - mean_(j != i) R_j                                          leave-one-out (arXiv 2402.14740)
    loss    = - 1/S sum_i A_i sum_t log pi(y_i,t | x, y_i,<t)                  S completions of the step

`--rl.objective reward_weighted` is the talk's own form: R_i in place of A_i, the language-model loss on completion
tokens weighted by the reward. With `--rl.minibatches` above 1 samples are older than the policy, and both are PPO's
clipped surrogate: the ratio of new to old probability in place of log pi. Where the ratio is 1, on the first minibatch,
its gradient is that of the loss above; the bound of the clip holds for any weight, A_i or R_i.

Differs from the textbook: there is no critic, so a completion is one action with one advantage; advantages are divided
by the step's root mean square (one number for all prompts, so no prompt is favored); the denominator is the number of
completions, not of tokens. Without that division the expected gradient would be that of J = E[r] - beta KL. With it, it
is a ratio of two estimates from one batch, as every normalized advantage: its direction is J's only for large batches
(cosine 0.9999 with 24 prompts of 4 completions, 0.99 with 2 of 4, 0.96 with one of 2). `optim.clip_norm` scales by the
batch's norm likewise wherever it acts (`clipped_updates` in metrics.jsonl).

Prompts are training prompts, distinct in an epoch. Dropout does not exist here; policy, reference and sampler use one
temperature and one mask. Where the KL exceeds `rl.max_kl` the stage ends with the policy of the step before.

metrics.jsonl, by step, means over its samples unless said:
    reward_mean, reward_sd              the reward model's, less no_eos_penalty, before the KL
    kl_nats_per_completion              policy to SFT, k1 on the step's samples; entropy_nats_per_token, length_tokens,
                                        ended_share as named
    zero_variance_share                 prompts whose samples all earned the same
    sampler_gap_nats                    largest difference between the sampler's log-probability and the trainer's
    ratio_mean, ratio_clipped           ratio new / old, and share of tokens that the clip gives no gradient
    kl_old_nats_per_completion          new to old policy, sum of ratio - 1 - log ratio (k3); 0 on the first minibatch
    gradient_norm, clipped_updates      before clipping; share of the step's updates that clip_norm scaled

    stategpt run tiny_cpu --out runs/tiny      # all stages; this one lands in runs/tiny/rl
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stategpt.artifacts import append_line, read_lines
from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import RLConfig, RunConfig
from stategpt.config.stage_names import folder_label
from stategpt.data import chat_prompt
from stategpt.data.corpus import read_corpus
from stategpt.errors import CorruptArtifact
from stategpt.evaluate import FrontierProbe, RewardScorer
from stategpt.evaluate.records import FrontierPoint
from stategpt.generate import Completion
from stategpt.json_records import kind_of, to_json
from stategpt.model import GPT, RewardModel, autocast, undrawn_ids
from stategpt.model.policy import CompletionBatch, completion_log_probs, sum_by_sample
from stategpt.randomness import bits, permutation
from stategpt.stages.context import StageContext
from stategpt.stages.stage import Stage, run_stage
from stategpt.train.loop import Loss, fit
from stategpt.train.losses import (
    clipped_tokens,
    constant_groups,
    kl_penalised_rewards,
    leave_one_out_advantages,
    policy_gradient_loss,
    reward_weighted_loss,
)
from stategpt.train.metrics import early_end

Ids = NDArray[np.uint32]
FRONTIER = "frontier.jsonl"
FRONTIER_POINT = kind_of(FrontierPoint)


@dataclass(frozen=True)
class Rollout:
    """Some completions of a step with everything the loss needs; nothing here carries a gradient."""

    batch: CompletionBatch
    sampled_log_probs_M: Tensor
    """Log-probabilities under the policy that sampled, by the training forward pass."""
    weights_S: Tensor
    """Advantage (rloo) or reward (reward_weighted) of each completion."""


class RLTask:
    """Rollouts and loss; a step's prompts and samples are functions of (seed, step) and of the policy's weights."""

    name = "rl"
    loss_unit = "loss_per_completion"

    def __init__(
        self,
        inputs: StageContext,
        config: RLConfig,
        policy: GPT,
        reference: GPT,
        scorer: RewardScorer,
        prompts: Sequence[Ids],
    ) -> None:
        self.inputs, self.config, self.policy, self.reference = inputs, config, policy, reference
        self.scorer, self.prompts = scorer, prompts
        self.engine = inputs.engine(policy)
        self.steps = config.steps
        self.temperature = inputs.run.sampling.temperature
        self.forbidden = undrawn_ids(policy, inputs.tok)
        self._ended = ""
        self._within = (
            {name: parameter.detach().clone() for name, parameter in policy.named_parameters()}
            if config.max_kl > 0
            else {}
        )
        """Weights of the last step whose KL was within the limit."""
        self._metrics: dict[str, float] = {}

    def updates(self, step: int) -> Iterable[Sequence[Rollout]]:
        """Samples the step's completions, then yields each minibatch of prompts as one update."""
        config = self.config
        chosen = prompts_of_step(len(self.prompts), config.prompts_per_step, self.inputs.run.seed, step)
        prompts = [self.prompts[i] for i in chosen]
        self.policy.eval()
        completions = self.engine.generate(
            prompts,
            n=config.completions,
            temperature=self.temperature,
            max_tokens=self.inputs.run.sampling.max_tokens,
            seed=int(bits(self.inputs.run.seed, "rl samples", step) >> np.uint64(2)),
        )
        self.policy.train()
        repeated = [prompt for prompt in prompts for _ in range(config.completions)]
        rewards_S = torch.from_numpy(self.scorer.scores(repeated, [c.ids for c in completions]))
        ended_S = torch.tensor([completion.ended for completion in completions])
        rewards_S = rewards_S - config.no_eos_penalty * (~ended_S).float()
        share = len(repeated) // config.minibatches
        minibatches = [
            [self._rollout(repeated[part], completions[part]) for part in self._micro_batches(i * share, share)]
            for i in range(config.minibatches)
        ]
        yield from self._weigh(minibatches, rewards_S, completions)

    def _micro_batches(self, first: int, count: int) -> list[slice]:
        """Pieces of `count` samples from `first` on, of whole prompts where a prompt's completions fit one."""
        most, each = self.config.micro_batch_completions, self.config.completions
        size = most // each * each or most
        return [slice(at, min(at + size, first + count)) for at in range(first, first + count, size)]

    def _rollout(
        self, prompts: Sequence[Ids], completions: Sequence[Completion]
    ) -> tuple[CompletionBatch, Tensor, Tensor, Tensor]:
        """The batch with the log-probabilities of policy and reference, and the policy's entropy; no gradient."""
        ids, control, width = [c.ids for c in completions], self.inputs.control, self.policy.config.width
        batch = CompletionBatch.of(prompts, ids, control.pad, self.inputs.device, width)
        with torch.no_grad(), autocast(self.config.precision, self.inputs.device):
            policy_M, entropy_M = completion_log_probs(self.policy, batch, self.temperature, self.forbidden)
            reference_M, _ = completion_log_probs(self.reference, batch, self.temperature, self.forbidden)
        return batch, policy_M, reference_M, entropy_M

    def _weigh(
        self,
        minibatches: Sequence[Sequence[tuple[CompletionBatch, Tensor, Tensor, Tensor]]],
        rewards_S: Tensor,
        completions: Sequence[Completion],
    ) -> Iterable[Sequence[Rollout]]:
        """Turns rewards and KL into the completions' weights, over the whole step; then yields the minibatches, or none
        where the KL ends the training.
        """
        rollouts = [rollout for minibatch in minibatches for rollout in minibatch]
        kl_S = torch.cat([sum_by_sample(p - r, b.sample_M, b.samples) for b, p, r, _ in rollouts]).cpu()
        weights_S, idle_share = completion_weights(rewards_S, kl_S, self.config)
        sampled = torch.from_numpy(np.concatenate([c.logprobs for c in completions]))
        trained = torch.cat([policy_M for _, policy_M, _, _ in rollouts]).cpu()
        self._metrics = {
            "reward_mean": float(rewards_S.mean()),
            "reward_sd": float(rewards_S.std(correction=0)),
            "kl_nats_per_completion": float(kl_S.mean()),
            "entropy_nats_per_token": float(torch.cat([entropy_M for *_, entropy_M in rollouts]).mean()),
            "length_tokens": float(np.mean([len(c.ids) for c in completions])),
            "ended_share": float(np.mean([c.ended for c in completions])),
            "zero_variance_share": idle_share,
            "sampler_gap_nats": float((sampled - trained).abs().max()),
        }
        if not self._keep_within(self._metrics["kl_nats_per_completion"]):
            return
        device = self.inputs.device
        parts = iter(torch.split(weights_S, [b.samples for b, *_ in rollouts]))
        for minibatch in minibatches:
            yield [Rollout(batch, policy_M, next(parts).to(device)) for batch, policy_M, _, _ in minibatch]

    @torch.no_grad()
    def _keep_within(self, kl_nats: float) -> bool:
        """Keeps the weights of a policy within `rl.max_kl`; puts those kept last into one beyond it, and ends."""
        limit = self.config.max_kl
        if limit <= 0:
            return True
        beyond = kl_nats > limit
        for name, parameter in self.policy.named_parameters():
            (parameter if beyond else self._within[name]).copy_(self._within[name] if beyond else parameter)
        if beyond:
            self._ended = (
                f"mean KL to the SFT model is {kl_nats:.1f} nats per completion, above rl.max_kl = {limit:g}; "
                "the policy is that of the step before. To train on, raise rl.beta or lower rl.optim.learning_rate"
            )
        return not beyond

    def weight(self, batch: Rollout) -> float:
        """Completions."""
        return batch.batch.samples

    def tokens(self, batch: Rollout) -> int:
        """Tokens read, padding included."""
        return batch.batch.tokens_N.numel()

    def loss(self, batch: Rollout) -> Loss:
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
        """Reward, KL, entropy, length of the step's rollout, and how far sampler and training forward are apart."""
        return dict(self._metrics)

    def ended(self) -> str:
        """That the KL exceeded `rl.max_kl`; the policy then has the weights of the step before."""
        return self._ended

    def kept(self) -> dict[str, Tensor]:
        """The weights that an end by `rl.max_kl` goes back to."""
        return self._within


def completion_weights(rewards_S: Tensor, kl_S: Tensor, config: RLConfig) -> tuple[Tensor, float]:
    """What each completion's log-likelihood is weighted by, and the share of prompts whose samples all earned the same
    reward, before the KL penalty and but for rounding.

    rloo: leave-one-out advantages of the KL-penalised rewards, divided by the step's standard deviation.
    reward_weighted: the KL-penalised rewards themselves.
    """
    idle_share = float(constant_groups(rewards_S, config.completions).float().mean())
    penalised_S = kl_penalised_rewards(rewards_S, kl_S, config.beta)
    if config.objective == "reward_weighted":
        return penalised_S, idle_share
    # A KL near 0 is a difference of log-probabilities of some nats: it is rounded as those are.
    size_S = rewards_S.abs() + config.beta * (1 + kl_S.abs())
    advantages_S = leave_one_out_advantages(penalised_S, config.completions, size_S)
    spread = advantages_S.square().mean().sqrt()
    return (advantages_S / spread if spread > 0 else advantages_S), idle_share


def prompts_of_step(prompts: int, per_step: int, seed: int, step: int) -> NDArray[np.int64]:
    """Indices of a step's prompts: consecutive pieces of a fresh permutation every epoch, none repeated within one."""
    first = step * per_step
    epochs = range(first // prompts, (first + per_step - 1) // prompts + 1)
    orders = np.concatenate([permutation(prompts, seed, "rl prompts", epoch) for epoch in epochs])
    offset = first - epochs.start * prompts
    return orders[offset : offset + per_step]


def rl(run: RunConfig, folder: RunFolder) -> None:
    """Trains `rl.seeds` policies at `rl.beta`, which differ by their random numbers alone, and one at each of
    `rl.extra_betas`; a policy that is there already is left as it is.
    """
    for index, stage in enumerate(run.rl.seed_folders):
        train_policy(run, folder, run.rl, stage, policy_seed(run.seed, index))
    for stage, beta in run.rl.beta_folders.items():
        train_policy(run, folder, replace(run.rl, beta=beta, extra_betas=()), stage, run.seed)


def policy_seed(seed: int, index: int) -> int:
    """Seed of policy number `index` of a run with `seed`: the run's own for the first, 52 bits of a hash for others."""
    return int(bits(seed, "rl policy", index) >> np.uint64(12)) if index else seed


def train_policy(run: RunConfig, folder: RunFolder, config: RLConfig, stage: str, seed: int) -> None:
    """One policy from the SFT weights under `config`, published in `stage`; returns at once when it is already there.

    `seed` decides the order of its prompts and its samples. SFT model and reward model are those of the run.
    """
    context = StageContext.of(run, folder)

    def measure(_: GPT | None) -> dict[str, Any]:
        """Nothing beyond the frontier, which was measured while it trained."""
        _refuse_lost_frontier(folder.stage(stage), config)
        return {}

    work = Stage(
        stage,
        (folder.model("sft"), folder.model("reward")),
        artifact="model",
        make=lambda fingerprint: _train(context, config, stage, fingerprint, seed),
        save=context.save_model,
        measure=measure,
        logs={FRONTIER: FRONTIER_POINT},
    )
    run_stage(context, work)


def _train(context: StageContext, config: RLConfig, stage: str, fingerprint: str, seed: int) -> GPT:
    run, folder = context.run, context.folder
    corpus = read_corpus(folder.corpus)
    policy, reference = context.load_model("sft"), context.load_model("sft").requires_grad_(False)
    scorer = RewardScorer(RewardModel.from_pretrained(folder.model("reward")).to(context.device), context.tok)
    prompts = [chat_prompt(context.tok, one.prompt()) for one in corpus.conversations["train"]]
    probe = FrontierProbe.of(run, corpus, context.tok, reference, scorer)
    seeded = replace(context, run=replace(run, seed=seed))
    task = RLTask(seeded, config, policy, reference, scorer, prompts)
    task.name = folder_label(stage)

    def hook(step: int) -> None:
        if step in _measured_steps(config) or task.ended():
            _append_once(folder.stage(stage) / FRONTIER, step, probe, policy)

    fit(task, policy, context.loop("rl", stage, fingerprint, {FRONTIER: FRONTIER_POINT}), hook=hook)
    return policy


def _measured_steps(config: RLConfig) -> set[int]:
    return {*range(0, config.steps, config.evaluate_every_steps), config.steps}


def _append_once(path: Path, step: int, probe: FrontierProbe, policy: GPT) -> None:
    """A step that was measured before an interruption is not measured into the file twice."""
    if all(line["step"] != step for line in read_lines(path, FRONTIER_POINT)):
        append_line(path, to_json(probe.measure(step, policy)))


def _refuse_lost_frontier(folder: Path, config: RLConfig) -> None:
    """The frontier was measured during training: what is lost of it cannot be measured on the finished policy."""
    measured = _measured_steps(config)
    end = early_end(folder / "metrics.jsonl")
    if end is not None:
        measured = {*(step for step in measured if step < end["step"]), end["step"]}
    lost = measured - {line["step"] for line in read_lines(folder / FRONTIER, FRONTIER_POINT)}
    if lost:
        raise CorruptArtifact(
            f"{folder / FRONTIER} lacks step {min(lost)}, which only training measures. Restore the folder evaluation "
            f"beside it from a copy, or delete {folder} to train this stage again."
        )
