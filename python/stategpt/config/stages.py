"""The stages that train or sample, and what they share. Defaults suit any size; recipes set what a run needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from stategpt.config.checks import (
    require,
    require_choice,
    require_not_negative,
    require_patterns,
    require_positive,
)
from stategpt.config.lora import require_train
from stategpt.config.optim import OptimConfig
from stategpt.shown_fields import documented

Precision = Literal["auto", "float32", "bfloat16"]
Weights = Literal["float32", "bfloat16"]
LossOn = Literal["all", "last"]
TooLong = Literal["reject", "keep_last_turns"]
Objective = Literal["rloo", "reward_weighted"]
Arrangement = Literal["rows", "shared_prefix"]
AnyArrangement = Literal["auto", "rows", "shared_prefix"]

PRECISIONS = ("auto", "float32", "bfloat16")
"""Names of `Precision`."""

MAX_RL_SEEDS = 16
"""Largest `rl.seeds`."""
MAX_EXTRA_BETAS = 8
"""Largest number of `rl.extra_betas`."""


@documented
@dataclass(frozen=True)
class LoopConfig:
    """Settings of the training loop, shared by every stage that trains."""

    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimizer and schedule."""
    precision: Precision = "auto"
    """Matrix products in bfloat16 or float32; auto = bfloat16 where the hardware multiplies it natively."""
    weights: Weights = "float32"
    """bfloat16: weights, gradients and activations of 2 bytes; the optimizer steps float32 copies, which are saved."""
    gradient_checkpointing: bool = False
    """Of each block only the input is kept, and the block computed again for its gradient: a third more time."""
    log_every_steps: int = 1
    """Steps between lines of metrics.jsonl."""
    checkpoint_every_steps: int = 100
    """Steps between checkpoints."""

    def _require_loop(self, section: str) -> None:
        require_positive(
            section,
            log_every_steps=self.log_every_steps,
            checkpoint_every_steps=self.checkpoint_every_steps,
        )
        require_choice(f"{section}.precision", self.precision, PRECISIONS)
        require_choice(f"{section}.weights", self.weights, ("float32", "bfloat16"))
        rule = 'must be "auto" or "bfloat16" with weights = "bfloat16", which are multiplied as they are'
        fits = self.weights == "float32" or self.precision != "float32"
        require(fits, f"{section}.precision", self.precision, rule)


@documented
@dataclass(frozen=True)
class FineTuneConfig(LoopConfig):
    """Settings of a stage that continues a model: with `lora.rank` its adapters are trained, else what `train` says."""

    train: str = "all"
    """What is trained: all, no_embedding (all but embeddings, tied prediction included), or the last N blocks and the
    last norm as in last_2_layers. A head always is."""

    def _require_loop(self, section: str) -> None:
        super()._require_loop(section)
        require_train(f"{section}.train", self.train)


def _require_divisor(section: str, micro_batch_rows: int, batch_rows: int) -> None:
    rule = f"must divide batch_rows = {batch_rows}"
    require(batch_rows % micro_batch_rows == 0, f"{section}.micro_batch_rows", micro_batch_rows, rule)


@documented
@dataclass(frozen=True)
class PretrainConfig(LoopConfig):
    """Stage 1: next-token prediction on a mixture of raw documents."""

    tokens: int = 0
    """Total training tokens, rounded up to whole steps; 0 = 20 per parameter (arXiv 2203.15556)."""
    batch_rows: int = 8
    """Rows per optimizer step."""
    micro_batch_rows: int = 8
    """Rows per forward and backward pass; gradients of batch_rows / micro_batch_rows passes are added."""
    sample_at: tuple[int | Literal["end"], ...] = (0, "end")
    """Steps at which the sample prompts are continued, to show what the model has learned."""
    sample_prompts: tuple[str, ...] = ()
    """Prompts that the model continues at those steps; empty: the beginnings of held-out documents."""
    sample_tokens: int = 48
    """Tokens per sample."""

    def __post_init__(self) -> None:
        self._require_loop("pretrain")
        require_not_negative("pretrain", tokens=self.tokens)
        require_positive(
            "pretrain",
            batch_rows=self.batch_rows,
            micro_batch_rows=self.micro_batch_rows,
            sample_tokens=self.sample_tokens,
        )
        _require_divisor("pretrain", self.micro_batch_rows, self.batch_rows)
        for step in self.sample_at:
            known = step == "end" or (isinstance(step, int) and step >= 0)
            require(known, "pretrain.sample_at", self.sample_at, 'each must be a step (0 or more) or "end"')


@documented
@dataclass(frozen=True)
class SFTConfig(FineTuneConfig):
    """Stage 2: the same loss on written responses, response tokens only."""

    epochs: float = 1.0
    """Passes over the training pairs."""
    row_tokens: int = 0
    """Tokens per row of packed conversations; 0 = model.context_tokens."""
    batch_rows: int = 8
    """Rows per optimizer step."""
    micro_batch_rows: int = 8
    """Rows per forward and backward pass; gradients of batch_rows / micro_batch_rows passes are added."""
    data: tuple[str, ...] = ()
    """Files of conversations, as paths or globs: JSONL, JSON or Parquet, also packed with gz or zst."""
    format: str = ""
    """Format of these files; empty: recognized by the keys of the first record."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """The format's field names that are called otherwise in these files: field = "name in the file"."""
    loss_on: LossOn = "all"
    """Assistant messages that are trained on: all of a conversation, or the last."""
    too_long: TooLong = "reject"
    """A conversation longer than its row: reject (counted), or keep_last_turns that fit."""

    def __post_init__(self) -> None:
        self._require_loop("sft")
        require_choice("sft.loss_on", self.loss_on, ("all", "last"))
        require_choice("sft.too_long", self.too_long, ("reject", "keep_last_turns"))
        require_patterns("sft.data", self.data)
        require_positive(
            "sft",
            epochs=self.epochs,
            batch_rows=self.batch_rows,
            micro_batch_rows=self.micro_batch_rows,
        )
        require_not_negative("sft", row_tokens=self.row_tokens)
        _require_divisor("sft", self.micro_batch_rows, self.batch_rows)


@documented
@dataclass(frozen=True)
class SamplingConfig:
    """The distribution of every completion after pretraining: rankings, policy, reference and evaluation share it.

    One setting, so that the reward model meets the lengths it was trained on, and KL and win rate are those of the
    policy that was trained.
    """

    temperature: float = 0.7
    """Temperature of rankings, policy, reference and evaluation alike."""
    max_tokens: int = 48
    """Longest completion in tokens."""

    def __post_init__(self) -> None:
        require_positive("sampling", temperature=self.temperature, max_tokens=self.max_tokens)


@documented
@dataclass(frozen=True)
class RankingsConfig:
    """Between stages 2 and 3: K completions per prompt, ranked."""

    data: tuple[str, ...] = ()
    """Files of people's rankings, as paths or globs; given, nothing is sampled and no scorer is needed."""
    format: str = ""
    """Format of these files; empty: recognized by the keys of the first record."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """The format's field names that are called otherwise in these files: field = "name in the file"."""
    prompts: tuple[str, ...] = ()
    """Files of prompts to be answered and ranked, as paths or globs; empty: the prompts of the conversations."""
    train_prompts: int = 1600
    """Training prompts that get ranked completions."""
    test_prompts: int = 672
    """Test prompts that get ranked completions, to measure the reward model."""
    completions: int = 4
    """K, completions per prompt."""
    tie_below: float = 0.0
    """Scores that differ by less are a tie, as with people who state clear preferences only."""
    scorer: str = ""
    """Gives a completion its score: a built-in name or module:function."""
    scorer_options: Mapping[str, str] = field(default_factory=dict)
    """Options of the scorer, e.g. pattern = "yes|no"."""
    judge_share: float = 0.5
    """Share of the training groups of people's rankings that trains the judge, where no evaluate.scorer is set."""

    def __post_init__(self) -> None:
        require_positive(
            "rankings",
            train_prompts=self.train_prompts,
            test_prompts=self.test_prompts,
        )
        require_not_negative("rankings", tie_below=self.tie_below)
        rule = "must be above 0 and below 1"
        require(0 < self.judge_share < 1, "rankings.judge_share", self.judge_share, rule)
        for name in ("data", "prompts"):
            require_patterns(f"rankings.{name}", getattr(self, name))
        rule = "with rankings.data, which is ranked already, they are not read; give one of the two"
        require(not (self.data and self.prompts), "rankings.prompts", self.prompts, rule)
        require(self.completions >= 2, "rankings.completions", self.completions, "must be at least 2 to be ranked")


@documented
@dataclass(frozen=True)
class RewardConfig(FineTuneConfig):
    """Stage 3: the reward model, from the SFT weights; one batch element holds all pairs of a prompt."""

    epochs: float = 1.0
    """Passes over the ranked prompts."""
    prompts_per_batch: int = 16
    """Most prompts, each with its K completions, per optimizer step; the steps of an epoch differ by one at most."""
    micro_batch_prompts: int = 16
    """Most prompts per forward and backward pass; fewer need less memory, and the passes' gradients are added."""
    arrange: AnyArrangement = "auto"
    """rows: each completion with a copy of its prompt; shared_prefix: one prompt, K branches; auto: the cheaper."""

    def __post_init__(self) -> None:
        self._require_loop("reward")
        require_positive(
            "reward",
            epochs=self.epochs,
            prompts_per_batch=self.prompts_per_batch,
            micro_batch_prompts=self.micro_batch_prompts,
        )
        require_choice("reward.arrange", self.arrange, ("auto", "rows", "shared_prefix"))


@documented
@dataclass(frozen=True)
class RLConfig(FineTuneConfig):
    """Stage 4: sample, score, weight the completion's tokens by the score, stay near the SFT model."""

    objective: Objective = "rloo"
    """rloo: leave-one-out baseline (arXiv 2402.14740); reward_weighted: likelihood times reward, the talk's form."""
    steps: int = 100
    """Rounds of sampling; each gives `minibatches` optimizer steps."""
    prompts_per_step: int = 24
    """Prompts per round of sampling."""
    completions: int = 8
    """Samples per prompt; a sample's baseline is the mean of the others."""
    minibatches: int = 1
    """Optimizer steps per round of sampling."""
    micro_batch_completions: int = 192
    """Most samples per forward and backward pass; fewer need less memory, and the passes' gradients are added."""
    beta: float = 0.1
    """Weight of the KL to the SFT model, per token, taken from the reward (k1 estimator)."""
    no_eos_penalty: float = 0.0
    """Penalty subtracted from the reward of a completion that did not end."""
    clip_ratio: float = 0.2
    """A ratio new / old outside 1 -+ this that would move further away gives no gradient; from the second minibatch."""
    top_k: int = 0
    """Samples are drawn from the k most likely tokens; 0: from all. The policy is then the distribution over what each
    token was drawn among: these ids are stored, and old, new and reference probabilities are over them."""
    top_p: float = 1.0
    """The same with the fewest most likely tokens that hold this probability; 1: from all."""
    exact: bool = False
    """Sampler and trainer compute equal log-probabilities, to the last bit: the first ratio is exactly 1, and a
    difference is an error. On a CPU with precision "float32"; what it costs is in docs/decisions/0052."""
    max_kl: float = 50.0
    """Mean KL to the SFT model (nats per completion) that ends the stage with the previous step's policy; 0: none."""
    seeds: int = 1
    """Policies trained with different random numbers, so that intervals include what a seed changes."""
    extra_betas: tuple[float, ...] = ()
    """One more policy is trained at each of these, to show what another weight of the KL changes."""
    prompts: tuple[str, ...] = ()
    """Files of prompts, as paths or globs; empty: those of the conversations, else of the rankings."""
    scorer: str = "reward_model"
    """Gives a completion its reward: a built-in name or module:function."""
    scorer_options: Mapping[str, str] = field(default_factory=dict)
    """Options of the scorer, e.g. pattern = "yes|no"."""
    evaluate_every_steps: int = 10
    """Steps between measurements of reward, KL and wins on validation prompts (the frontier of the report)."""

    def __post_init__(self) -> None:
        self._require_loop("rl")
        require_patterns("rl.prompts", self.prompts)
        require_choice("rl.objective", self.objective, ("rloo", "reward_weighted"))
        require_positive(
            "rl",
            steps=self.steps,
            prompts_per_step=self.prompts_per_step,
            minibatches=self.minibatches,
            seeds=self.seeds,
            micro_batch_completions=self.micro_batch_completions,
            clip_ratio=self.clip_ratio,
            evaluate_every_steps=self.evaluate_every_steps,
        )
        require_not_negative(
            "rl", beta=self.beta, no_eos_penalty=self.no_eos_penalty, max_kl=self.max_kl, top_k=self.top_k
        )
        require(0 < self.top_p <= 1, "rl.top_p", self.top_p, "must be above 0 and at most 1")
        if self.exact:
            rule = 'must be "float32" with rl.exact, whose sums are not rounded to fewer bits'
            require(self.precision == "float32", "rl.precision", self.precision, rule)
            require(self.weights == "float32", "rl.weights", self.weights, rule)
        require(self.seeds <= MAX_RL_SEEDS, "rl.seeds", self.seeds, f"must be at most {MAX_RL_SEEDS}")
        betas = self.extra_betas
        rule = f"must be at most {MAX_EXTRA_BETAS} different weights, 0 or more, none of them rl.beta = {self.beta:g}"
        apart = len({f"{beta:g}" for beta in (self.beta, *betas)}) == 1 + len(betas)
        known = all(math.isfinite(beta) and beta >= 0 for beta in betas)
        require(apart and known and len(betas) <= MAX_EXTRA_BETAS, "rl.extra_betas", betas, rule)
        least = 2 if self.objective == "rloo" else 1
        rule = f"objective {self.objective} needs at least {least}"
        require(self.completions >= least, "rl.completions", self.completions, rule)
        rule = f"must divide prompts_per_step = {self.prompts_per_step}"
        require(self.prompts_per_step % self.minibatches == 0, "rl.minibatches", self.minibatches, rule)

    @property
    def truncates(self) -> bool:
        """Whether samples are drawn from a part of the vocabulary."""
        return self.top_k > 0 or self.top_p < 1

    @property
    def seed_folders(self) -> tuple[str, ...]:
        """Folders of the policies at `beta`, which differ by their seed alone: rl, rl/seed_1, rl/seed_2, ..."""
        return ("rl", *(f"rl/seed_{index}" for index in range(1, self.seeds)))

    @property
    def beta_folders(self) -> dict[str, float]:
        """Folder -> beta of each policy of `extra_betas`: rl/beta_0.04."""
        return {f"rl/beta_{beta:g}": beta for beta in self.extra_betas}

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders of all policies that are trained, in the order of the work."""
        return (*self.seed_folders, *self.beta_folders)
