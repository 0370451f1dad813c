"""What was measured of the ranked completions and of the reward model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from stategpt.evaluate.records.fields import Count, Label, Measured, Number, Share
from stategpt.json_reader import Integer
from stategpt.json_records import Limit
from stategpt.shown_fields import documented, short_repr


@documented
@dataclass(frozen=True)
class ScoredCompletion:
    """A ranked completion."""

    text: str = ""
    """The completion."""
    rank: Count = 0
    """1 is best; equal ranks are a tie."""
    ended: bool = True
    """Whether it ended by itself."""
    score: Number | None = None
    """The scorer's."""
    parts: Mapping[str, Number] = field(default_factory=dict)
    """What the score is the sum of, by name."""
    reward: Number | None = None
    """The reward model's score."""


@documented
@dataclass(frozen=True)
class RankedExample:
    """A prompt with its ranked completions."""

    prompt: str = ""
    """The prompt."""
    reference: str = ""
    """The reference answer."""
    completions: Annotated[tuple[ScoredCompletion, ...], Limit(26)] = ()
    """In the order sampled."""
    pairs: Annotated[tuple[tuple[Annotated[int, Integer(0, 25)], Annotated[int, Integer(0, 25)]], ...], Limit(676)] = ()
    """Clear preferences, winner first, as indices into `completions`."""


@documented
@dataclass(frozen=True)
class AnnotatorAgreement:
    """How far the annotators of people's rankings agree (`data.agreement` has the definitions)."""

    annotators: Count = 0
    """Annotators with a name."""
    votes: Count = 0
    """Orders that annotators gave."""
    pairs: Count = 0
    """Pairs of completions of one prompt that two or more annotators compared."""
    conflicting_pairs: Count = 0
    """Those that some order one way and others the other way."""
    alpha: Number | None = None
    """Krippendorff's alpha of these pairs; None where nothing can differ."""
    triples: Count = 0
    """Triples of completions whose three pairs all have a majority."""
    cycles: Count = 0
    """Those whose majorities form a cycle."""


@documented
@dataclass(frozen=True)
class RankingsEvaluation:
    """Counts and mean scores of the ranked completions."""

    scorer: Label = ""
    """Name of the scorer that ranked."""
    groups: Count | None = None
    """Training prompts ranked."""
    test_groups: Count | None = None
    """Test prompts ranked."""
    pairs: Count | None = None
    """Clear preferences of the training prompts."""
    ties: Count | None = None
    """Pairs of training completions without a clear preference."""
    without_clear_pair: Mapping[str, Count] = field(default_factory=dict)
    """Prompts by split from which nothing can be learned: all completions are tied."""
    rejected: Count | None = None
    """Records the reader rejected."""
    equal_pairs: Count | None = None
    """Clear pairs, of all sides, whose completions are the same tokens: nothing can be learned from them."""
    judge_groups: Count | None = None
    """Training prompts kept apart to train the judge; their pairs are not among the pairs above."""
    agreement: AnnotatorAgreement | None = None
    """Of people's rankings, training and test groups together."""
    failed: Count | None = None
    """Completions left out because the scorer gave them no score."""
    score_mean: Number | None = None
    """Mean score of the training completions."""
    parts_mean: Mapping[str, Number] = field(default_factory=dict)
    """Mean of each part of the score."""
    example: RankedExample | None = None
    """One ranked training prompt."""

    __repr__ = short_repr


@documented
@dataclass(frozen=True)
class CalibrationBucket:
    """Test pairs of similar score difference."""

    claimed: Share
    """Mean probability of the order that the reward model claims."""
    observed: Number
    """Share of pairs in that order."""
    margin_low: Number | None = None
    """Least absolute difference of rewards."""
    margin_high: Number | None = None
    """Largest."""
    pairs: Count | None = None
    """Pairs."""


@documented
@dataclass(frozen=True)
class MarginAccuracy:
    """Accuracy on the test pairs whose scores differ by one amount."""

    margin: Number
    """Score of the winner minus that of the loser."""
    pairs: Count
    """Pairs."""
    accuracy: Number
    """Share in the right order."""


@documented
@dataclass(frozen=True)
class RankedFit:
    """What of ranked prompts was cut or left out, since it does not fit the model's context."""

    truncated_prompts: Count = 0
    """Prompts that lost their middle."""
    left_out: Mapping[str, Count] = field(default_factory=dict)
    """Prompts left out with all their completions, by code."""
    equal_pairs: Count = 0
    """Clear pairs whose completions are the same tokens; they are not measured."""


@documented
@dataclass(frozen=True)
class RewardEvaluation:
    """How well the reward model orders held-out pairs."""

    prompts: Count | None = None
    """Test prompts."""
    prompts_with_pairs: Count | None = None
    """Those with a clear pair."""
    pairs: Count | None = None
    """Clear test pairs."""
    pair_accuracy: Measured = None
    """Share of test pairs in the right order."""
    length_only_accuracy: Number | None = None
    """That of a baseline that sees only lengths."""
    length_only_target: Number | None = None
    """The length it prefers; 0 the shorter, None the longer."""
    length_margin: Measured = None
    """Accuracy of the reward model minus the baseline's, on the same pairs."""
    calibration: Annotated[tuple[CalibrationBucket, ...], Limit(1000)] = ()
    """By size of the reward difference."""
    calibration_slope: Number | None = None
    """1 is calibrated, below 1 over-confident; None where all pairs are right or all wrong."""
    accuracy_by_margin: Annotated[tuple[MarginAccuracy, ...], Limit(1000)] = ()
    """By the difference of the scorer's scores."""
    length_correlation: Number | None = None
    """Correlation of reward and length within prompts."""
    rewards: Annotated[Mapping[str, tuple[Number, ...]], Limit(8)] = field(default_factory=dict)
    """Rewards of "demonstrations" (training) and "sft" (test completions)."""
    demonstrations_mean: Number | None = None
    """Mean reward of the demonstrations: 0 but for rounding."""
    reward_offset: Number | None = None
    """What was added to make it 0."""
    fit: Mapping[str, RankedFit] = field(default_factory=dict)
    """What was cut or left out of the prompts, by "train" and "test"."""
    example: RankedExample | None = None
    """One test prompt with rewards."""

    __repr__ = short_repr


@documented
@dataclass(frozen=True)
class WeightedCompletion:
    """A completion of RL with the weight that its tokens have in the loss."""

    tokens: Annotated[tuple[str, ...], Limit(1 << 20)] = ()
    """Text of each sampled token, the end of text included."""
    reward: Number | None = None
    """The scorer's reward."""
    weight: Number | None = None
    """Weight of every token: above 0 it becomes more likely, below 0 less."""


@documented
@dataclass(frozen=True)
class WeightedCompletions:
    """One prompt of an RL step with all its completions."""

    step: Count
    """Training step, from 1."""
    prompt: str = ""
    """The prompt, control tokens included."""
    completions: Annotated[tuple[WeightedCompletion, ...], Limit(10_000)] = ()
    """In the order sampled."""

    __repr__ = short_repr
