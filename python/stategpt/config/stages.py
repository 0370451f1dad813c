"""The stages that train or sample, and what they share of sampling. Defaults: the default job's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from stategpt.config.checks import (
    require,
    require_choice,
    require_not_negative,
    require_positive,
)
from stategpt.config.optim import OptimConfig
from stategpt.shown_fields import documented

Precision = Literal["auto", "float32", "bfloat16"]
Objective = Literal["rloo", "reward_weighted"]
Arrangement = Literal["rows", "shared_prefix"]
AnyArrangement = Literal["auto", "rows", "shared_prefix"]

PRECISIONS = ("auto", "float32", "bfloat16")
"""Names of `Precision`."""

MOST_RL_SEEDS = 16
"""Policies that `rl.seeds` may ask for."""
LOW_BETA = "rl/low_beta"
"""Folder of the policy that `rl.low_beta` asks for."""


def seed_folder(index: int) -> str:
    """Folder of RL's policy number `index`: rl, rl/seed_1, rl/seed_2, ..."""
    return f"rl/seed_{index}" if index else "rl"


RL_FOLDERS = (*map(seed_folder, range(MOST_RL_SEEDS)), LOW_BETA)
"""Every folder that a policy of RL may have, in the order of the work."""


def _pretrain_optim() -> OptimConfig:
    return OptimConfig(learning_rate=4e-3, warmup_steps=40, flat_fraction=0.4)


def _sft_optim() -> OptimConfig:
    return OptimConfig(learning_rate=1.5e-3, warmup_steps=10)


def _reward_optim() -> OptimConfig:
    return OptimConfig(learning_rate=2e-3, warmup_steps=5)


def _rl_optim() -> OptimConfig:
    return OptimConfig(
        learning_rate=4e-4, warmup_steps=5, flat_fraction=0.2, final_fraction=0.05, weight_decay=0.0, clip_norm=20.0
    )


@documented
@dataclass(frozen=True)
class PretrainConfig:
    """Stage 1: next-token prediction on a mixture of raw documents."""

    tokens: int = 1_050_000
    """Training tokens in all, rounded up to whole steps."""
    batch_rows: int = 8
    """Rows per optimizer step."""
    micro_batch_rows: int = 8
    """Rows per forward and backward pass; gradients of batch_rows / micro_batch_rows passes are added."""
    optim: OptimConfig = field(default_factory=_pretrain_optim)
    """Optimizer and schedule."""
    precision: Precision = "auto"
    """Matrix products in bfloat16 or float32; auto = bfloat16 where the hardware multiplies it natively."""
    log_every_steps: int = 5
    """Steps between lines of metrics.jsonl."""
    checkpoint_every_steps: int = 200
    """Steps between checkpoints from which an interrupted run goes on."""
    sample_at: tuple[int | Literal["end"], ...] = (0, 50, 200, 500, "end")
    """Steps at which the sample prompts are continued, so that one sees the model learn."""
    sample_prompts: tuple[str, ...] = ("Return", "Raised when", "def ", "# ")
    """Beginnings that the model continues at those steps."""
    sample_tokens: int = 48
    """Tokens per sample."""

    def __post_init__(self) -> None:
        require_positive(
            "pretrain",
            tokens=self.tokens,
            batch_rows=self.batch_rows,
            micro_batch_rows=self.micro_batch_rows,
            log_every_steps=self.log_every_steps,
            checkpoint_every_steps=self.checkpoint_every_steps,
            sample_tokens=self.sample_tokens,
        )
        divides = self.batch_rows % self.micro_batch_rows == 0
        rule = f"must divide batch_rows = {self.batch_rows}"
        require(divides, "pretrain.micro_batch_rows", self.micro_batch_rows, rule)
        require_choice("pretrain.precision", self.precision, PRECISIONS)
        for step in self.sample_at:
            known = step == "end" or (isinstance(step, int) and step >= 0)
            require(known, "pretrain.sample_at", self.sample_at, 'each must be a step (0 or more) or "end"')


@documented
@dataclass(frozen=True)
class SFTConfig:
    """Stage 2: the same loss on written responses, response tokens only."""

    epochs: float = 1.0
    """Passes over the training pairs."""
    batch_rows: int = 32
    """Most prompt-and-response sequences per optimizer step; the steps of an epoch differ by one at most."""
    micro_batch_rows: int = 32
    """Most sequences per forward and backward pass; fewer need less memory, and the passes' gradients are added."""
    optim: OptimConfig = field(default_factory=_sft_optim)
    """Optimizer and schedule."""
    precision: Precision = "auto"
    """As in pretraining."""
    log_every_steps: int = 1
    """Steps between lines of metrics.jsonl."""
    checkpoint_every_steps: int = 100
    """Steps between checkpoints from which an interrupted run goes on."""

    def __post_init__(self) -> None:
        require_positive(
            "sft",
            epochs=self.epochs,
            batch_rows=self.batch_rows,
            micro_batch_rows=self.micro_batch_rows,
            log_every_steps=self.log_every_steps,
            checkpoint_every_steps=self.checkpoint_every_steps,
        )
        require_choice("sft.precision", self.precision, PRECISIONS)


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

    prompts: int = 1600
    """Training prompts that get ranked completions."""
    test_prompts: int = 672
    """Test prompts that get ranked completions, to measure the reward model."""
    completions: int = 4
    """K, completions per prompt."""
    tie_below: int = 2
    """A difference of fewer points is a tie, as with people who state clear preferences only."""
    labeler: Literal["docstring_style"] = "docstring_style"
    """Rule that gives a completion its points."""

    def __post_init__(self) -> None:
        require_positive(
            "rankings",
            prompts=self.prompts,
            test_prompts=self.test_prompts,
        )
        require_not_negative("rankings", tie_below=self.tie_below)
        require(self.completions >= 2, "rankings.completions", self.completions, "must be at least 2 to be ranked")
        require_choice("rankings.labeler", self.labeler, ("docstring_style",))


@documented
@dataclass(frozen=True)
class RewardConfig:
    """Stage 3: the reward model, from the SFT weights; one batch element holds all pairs of a prompt."""

    epochs: float = 1.0
    """Passes over the ranked prompts."""
    prompts_per_batch: int = 16
    """Most prompts, each with its K completions, per optimizer step; the steps of an epoch differ by one at most."""
    micro_batch_prompts: int = 16
    """Most prompts per forward and backward pass; fewer need less memory, and the passes' gradients are added."""
    arrange: AnyArrangement = "auto"
    """rows: each completion with a copy of its prompt; shared_prefix: one prompt, K branches; auto: the cheaper."""
    optim: OptimConfig = field(default_factory=_reward_optim)
    """Optimizer and schedule."""
    precision: Precision = "auto"
    """As in pretraining."""
    log_every_steps: int = 1
    """Steps between lines of metrics.jsonl."""
    checkpoint_every_steps: int = 50
    """Steps between checkpoints from which an interrupted run goes on."""

    def __post_init__(self) -> None:
        require_positive(
            "reward",
            epochs=self.epochs,
            prompts_per_batch=self.prompts_per_batch,
            micro_batch_prompts=self.micro_batch_prompts,
            log_every_steps=self.log_every_steps,
            checkpoint_every_steps=self.checkpoint_every_steps,
        )
        require_choice("reward.arrange", self.arrange, ("auto", "rows", "shared_prefix"))
        require_choice("reward.precision", self.precision, PRECISIONS)


@documented
@dataclass(frozen=True)
class RLConfig:
    """Stage 4: sample, append the reward token, read the reward, weight the completion by it, stay near SFT."""

    objective: Objective = "rloo"
    """rloo: leave-one-out baseline (arXiv 2402.14740); reward_weighted: likelihood times reward, the talk's form."""
    steps: int = 50
    """Rounds of sampling; each gives `minibatches` optimizer steps."""
    prompts_per_step: int = 24
    """Prompts per round of sampling."""
    completions: int = 8
    """Samples per prompt; a sample's baseline is the mean of the others."""
    minibatches: int = 1
    """Optimizer steps per round of sampling."""
    micro_batch_completions: int = 192
    """Most samples per forward and backward pass; fewer need less memory, and the passes' gradients are added."""
    beta: float = 0.8
    """Weight of the KL to the SFT model, per token, taken from the reward (k1 estimator)."""
    no_eos_penalty: float = 0.0
    """Taken from the reward of a completion that did not end."""
    clip_ratio: float = 0.2
    """A ratio new / old that is outside 1 -+ this and would go on gives no gradient; from the second minibatch on."""
    max_kl: float = 50.0
    """Mean KL to the SFT model (nats per completion) that ends the stage with the policy of a step before; 0: none."""
    seeds: int = 3
    """Policies trained alike but for their random numbers, so that intervals can tell what a seed changes."""
    low_beta: float = 0.04
    """One more policy is trained at this beta to show over-optimisation; 0 = leave it out."""
    optim: OptimConfig = field(default_factory=_rl_optim)
    """Optimizer and schedule."""
    precision: Precision = "auto"
    """As in pretraining; sampling has its own, evaluate.precision."""
    log_every_steps: int = 1
    """Steps between lines of metrics.jsonl."""
    checkpoint_every_steps: int = 10
    """Steps between checkpoints from which an interrupted run goes on."""
    evaluate_every_steps: int = 10
    """Steps between measurements of reward, KL and wins on validation prompts (the frontier of the report)."""

    def __post_init__(self) -> None:
        require_choice("rl.objective", self.objective, ("rloo", "reward_weighted"))
        require_choice("rl.precision", self.precision, PRECISIONS)
        require_positive(
            "rl",
            steps=self.steps,
            prompts_per_step=self.prompts_per_step,
            minibatches=self.minibatches,
            seeds=self.seeds,
            micro_batch_completions=self.micro_batch_completions,
            clip_ratio=self.clip_ratio,
            log_every_steps=self.log_every_steps,
            checkpoint_every_steps=self.checkpoint_every_steps,
            evaluate_every_steps=self.evaluate_every_steps,
        )
        require_not_negative(
            "rl", beta=self.beta, no_eos_penalty=self.no_eos_penalty, max_kl=self.max_kl, low_beta=self.low_beta
        )
        require(self.seeds <= MOST_RL_SEEDS, "rl.seeds", self.seeds, f"must be at most {MOST_RL_SEEDS}")
        least = 2 if self.objective == "rloo" else 1
        rule = f"objective {self.objective} needs at least {least}"
        require(self.completions >= least, "rl.completions", self.completions, rule)
        rule = f"must divide prompts_per_step = {self.prompts_per_step}"
        require(self.prompts_per_step % self.minibatches == 0, "rl.minibatches", self.minibatches, rule)

    @property
    def seed_folders(self) -> tuple[str, ...]:
        """Folders of the policies at `beta`, which differ by their seed alone."""
        return RL_FOLDERS[: self.seeds]

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders of all policies that are trained."""
        return (*self.seed_folders, *((LOW_BETA,) if self.low_beta > 0 else ()))
