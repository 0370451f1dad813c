"""What was measured of all systems on the same prompts, and the gates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from stategpt.config.stages import MAX_RL_SEEDS
from stategpt.evaluate.records.fields import Count, Label, Measured, Number
from stategpt.json_reader import Text
from stategpt.json_records import Limit
from stategpt.shown_fields import documented, short_repr

Severity = Literal["fail", "warn"]


@documented
@dataclass(frozen=True)
class FrontierPoint:
    """A policy at a step of its training, on validation prompts; step 0 is the SFT model itself."""

    step: Count | None = None
    """Training step."""
    prompts: Count | None = None
    """Prompts behind the point."""
    kl: Measured = None
    """KL to the SFT model, nats per completion."""
    reward: Measured = None
    """Mean reward."""
    win_rate: Measured = None
    """Wins against the SFT model by the scorer, ties one half; at step 0 exactly 0.5."""


@documented
@dataclass(frozen=True)
class SeedMeasures:
    """Measures of the answers of one policy."""

    stage: Label = ""
    """Folder of the policy in the run; empty for a system that is not a policy of RL."""
    win_rate_vs_sft: Measured = None
    """Wins against one SFT sample by the scorer, ties one half."""
    score_mean: Number | None = None
    """Mean score."""
    reward_mean: Number | None = None
    """Mean reward."""
    kl: Measured = None
    """KL to the SFT model, nats per completion."""
    distinct_2: Number | None = None
    """Different bigrams over all bigrams, of equally many bigrams of every system."""
    unique_share: Measured = None
    """Different answers over all answers."""
    length_tokens: Number | None = None
    """Mean length."""
    ended_share: Number | None = None
    """Share of answers that ended by themselves."""


@documented
@dataclass(frozen=True)
class RepeatedAnswer:
    """An answer that was given to several prompts."""

    text: str
    """The answer."""
    count: Count
    """Prompts that got it, of all seeds."""


@documented
@dataclass(frozen=True)
class SystemMeasures(SeedMeasures):
    """Measures of one system; of "rlhf" they are means over its seeds."""

    beta: Number | None = None
    """Weight of the KL in the reward; of RL policies only."""
    kl_bound: Number | None = None
    """Upper bound of the KL to the SFT model; of best-of-n only."""
    answers: Count | None = None
    """Answers measured: prompts times seeds."""
    repeated: Annotated[tuple[RepeatedAnswer, ...], Limit(100)] = ()
    """The ten answers given most often, if to two prompts or more."""
    seeds: Annotated[tuple[SeedMeasures, ...], Limit(MAX_RL_SEEDS)] = ()
    """Of "rlhf": each seed's policy alone."""


@documented
@dataclass(frozen=True)
class PairedGain:
    """One system minus another, prompt by prompt."""

    wins: Measured = None
    """Difference of the win rates against SFT."""
    reward: Measured = None
    """Difference of the rewards."""
    kl_bound: Number | None = None
    """The other system's bound on the KL, where it is best-of-n."""


@documented
@dataclass(frozen=True)
class DiversityChange:
    """RLHF minus SFT, over answers to the same prompts."""

    distinct_2: Measured = None
    """Of distinct-2, on equally many bigrams."""
    unique_share: Measured = None
    """Of the share of different answers."""


@documented
@dataclass(frozen=True)
class SystemAnswer:
    """A system's answer to an example prompt."""

    text: str = ""
    """The answer."""
    score: Number | None = None
    """The scorer's."""
    reward: Number | None = None
    """The reward model's."""


@documented
@dataclass(frozen=True)
class ComparedPrompt:
    """A prompt with every system's answer."""

    prompt: str = ""
    """The prompt."""
    answers: Mapping[str, SystemAnswer] = field(default_factory=dict)
    """By system, "reference" included."""


@documented
@dataclass(frozen=True)
class ComparisonEvaluation:
    """All systems on the same held-out prompts."""

    scorer: Label = ""
    """Name of the scorer behind scores and wins; "judge" for the second reward model."""
    optimized: Label = ""
    """Name of the scorer behind rewards, which RL maximized."""
    prompts: Count | None = None
    """Prompts answered by each system."""
    failed_prompts: Count | None = None
    """Prompts left out of all systems because a scorer failed on an answer to them; not among `prompts`."""
    subjects: Count | None = None
    """Different things they ask about; None where prompts name none."""
    seeds: Count | None = None
    """Policies behind "rlhf"."""
    distinct_2_bigrams: Count | None = None
    """Bigrams of each system that distinct-2 is measured on."""
    systems: Mapping[str, SystemMeasures] = field(default_factory=dict)
    """In the order of the report."""
    against_best_of: Mapping[str, PairedGain] = field(default_factory=dict)
    """"rlhf" minus best-of-n, by n."""
    against_rlhf: Mapping[str, PairedGain] = field(default_factory=dict)
    """A policy of `rl.extra_betas` minus "rlhf", by system."""
    elo: Mapping[str, Measured] = field(default_factory=dict)
    """Bradley-Terry strength on the Elo scale by system; SFT is 1000."""
    diversity_change: DiversityChange = field(default_factory=DiversityChange)
    """What RL did to the variety of answers; information, not a gate."""
    frontiers: Mapping[str, Annotated[tuple[FrontierPoint, ...], Limit(1 << 20)]] = field(default_factory=dict)
    """Points over training by folder of the policy: "rl", those of other seeds, those of `rl.extra_betas`."""
    examples: Annotated[tuple[ComparedPrompt, ...], Limit(10_000)] = ()
    """Prompts with all answers."""

    __repr__ = short_repr

    @property
    def is_independent(self) -> bool:
        """Whether wins are decided by something else than what RL maximized: else no claim rests on them."""
        return not self.optimized or self.scorer != self.optimized


@documented
@dataclass(frozen=True)
class GateResult:
    """One gate, checked."""

    name: Label
    """Name, e.g. "rl_win_rate"."""
    label: Label
    """What it is about, for a reader."""
    rule: Annotated[str, Text(max_chars=2000)]
    """The rule in words, with its threshold."""
    passed: bool
    """Whether the rule holds."""
    value: Number | None = None
    """The measured value; None when the run did not measure it."""
    interval: Measured = None
    """Its interval, where it has one."""
    severity: Severity = "fail"
    """"fail": `run --check` exits non-zero when not passed; "warn": only reported."""


@documented
@dataclass(frozen=True)
class GateResults:
    """gates.json."""

    gates: Annotated[tuple[GateResult, ...], Limit(64)] = ()
    """In the order of the stages."""
