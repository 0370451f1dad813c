"""What was measured of classifiers and of few-shot prompts on the same test texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from stategpt.evaluate.records.fields import Count, Label, Measured, Number, Share
from stategpt.json_records import Limit
from stategpt.shown_fields import documented, short_repr

_MOST_TEXTS = 1 << 24
_MOST_ARMS = 10_000


@documented
@dataclass(frozen=True)
class ArmResult:
    """One method on one set of labels."""

    method: Label
    """full, lora, few_shot or random."""
    texts: Count
    """Labeled texts that it was given: trained on, or shown in the prompt."""
    seed: Count
    """Number of the draw of label sets, from 0."""
    predicted: Annotated[tuple[Count, ...], Limit(_MOST_TEXTS)] = ()
    """Number of the label given to each test text."""
    train_tokens: Count = 0
    """Tokens read while training, padding included."""
    test_tokens: Count = 0
    """Tokens of the test texts as it read them, with the examples of the prompt."""

    __repr__ = short_repr


@documented
@dataclass(frozen=True)
class Arms:
    """Results of all methods and label sets on the same test texts."""

    labels: Annotated[tuple[Label, ...], Limit(1 << 16)] = ()
    """Names of the classes."""
    truth: Annotated[tuple[Count, ...], Limit(_MOST_TEXTS)] = ()
    """Number of each test text's label."""
    groups: Annotated[tuple[Label, ...], Limit(_MOST_TEXTS)] = ()
    """Group of each test text, which intervals resample."""
    arms: Annotated[tuple[ArmResult, ...], Limit(_MOST_ARMS)] = ()
    """In the order of the methods, the counts and the seeds."""

    __repr__ = short_repr


@documented
@dataclass(frozen=True)
class ClassifierMeasures:
    """A method with one number of labels, over all draws."""

    method: Label
    """full, lora, few_shot or random."""
    labels: Count
    """Labeled texts that could be used."""
    used: Count = 0
    """Those that were: fewer where a prompt has no room for all."""
    seeds: Count = 0
    """Draws of label sets."""
    accuracy: Measured = None
    """Share of test texts with the right label, mean over the draws; the interval is for other texts and draws."""
    by_seed: Annotated[tuple[Share, ...], Limit(100)] = ()
    """The same of each draw."""
    macro_f1: Number | None = None
    """Mean over classes of F1, mean over the draws."""
    train_tokens: Number = 0.0
    """Tokens read while training, mean over the draws."""
    test_tokens: Number = 0.0
    """Tokens read while testing, mean over the draws."""


@documented
@dataclass(frozen=True)
class MethodGain:
    """Two methods with the same number of labels, on the same test texts and draws."""

    labels: Count
    """Labeled texts that could be used."""
    method: Label
    """The first method."""
    other: Label
    """The one it is compared with."""
    accuracy: Measured = None
    """Accuracy of the first minus that of the other."""


@documented
@dataclass(frozen=True)
class ClassifyEvaluation:
    """How far few labels go: every method with every number of labels."""

    labels: Annotated[tuple[Label, ...], Limit(1 << 16)] = ()
    """Names of the classes."""
    train_texts: Count | None = None
    """Labeled texts on the training side, from which label sets are drawn."""
    test_texts: Count | None = None
    """Held-out texts that every method was measured on."""
    duplicates: Count | None = None
    """Records left out before the split, as copies of others."""
    max_tokens: Count | None = None
    """Longest text in tokens; of a longer one the first are read."""
    cut_texts: Count | None = None
    """Test texts that are longer."""
    majority_share: Share | None = None
    """Accuracy of always giving the most frequent label of the test texts."""
    calibrated: bool = False
    """Whether few-shot scores are relative to those after a text without content."""
    measures: Annotated[tuple[ClassifierMeasures, ...], Limit(_MOST_ARMS)] = ()
    """By method and number of labels."""
    gains: Annotated[tuple[MethodGain, ...], Limit(_MOST_ARMS)] = ()
    """Full fine-tuning against each other method."""
    confusion: Mapping[str, Annotated[tuple[Count, ...], Limit(1 << 16)]] = field(default_factory=dict)
    """Of the published classifier: by label, how many texts of it were given each label."""
    few_shot_document: str = ""
    """A few-shot prompt, up to where the label follows."""

    __repr__ = short_repr
