"""What was measured of the base model and of the SFT model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from stategpt.evaluate.records.fields import Count, Measured, Number
from stategpt.json_records import Limit
from stategpt.shown_fields import documented, short_repr


@documented
@dataclass(frozen=True)
class SourceBits:
    """Bits per byte on held-out documents, of one source or of the mixture."""

    bits_per_byte: Number | None = None
    """Of the base model."""
    kneser_ney_bits_per_byte: Number | None = None
    """Of a byte-level Kneser-Ney n-gram model on the same bytes."""
    documents: Count | None = None
    """Documents measured."""
    bytes: Count | None = None
    """Bytes measured."""
    difference: Measured = None
    """Base model minus Kneser-Ney, in bits per byte; of the mixture only."""
    start_bits_per_byte: Number | None = None
    """Of the start model, before it was trained on, on the same documents; None where weights began at random."""


@documented
@dataclass(frozen=True)
class PretrainEvaluation:
    """How well the base model predicts held-out text."""

    sources: Mapping[str, SourceBits] = field(default_factory=dict)
    """By source."""
    mixed: SourceBits = field(default_factory=SourceBits)
    """Weighted as the training mixture weights the sources."""
    kneser_ney_order: Count | None = None
    """n of the n-gram model."""
    kneser_ney_trained_on_bytes: Count | None = None
    """Bytes the n-gram model was trained on: those the base model saw."""

    __repr__ = short_repr


@documented
@dataclass(frozen=True)
class DrawnSource:
    """What the mixture drew of one source."""

    rows: Count | None = None
    """Rows."""
    tokens: Count | None = None
    """Tokens."""
    share: Number | None = None
    """Share of all tokens."""
    epochs: Number | None = None
    """Passes over the source's training documents."""
    documents: Count | None = None
    """Documents of its training split."""
    bytes: Count | None = None
    """Their size in UTF-8."""


@documented
@dataclass(frozen=True)
class MixtureDrawn:
    """The training mixture, as it was planned and as it was drawn."""

    planned: Mapping[str, Number] = field(default_factory=dict)
    """Share of the tokens by source, as the settings say."""
    drawn: Mapping[str, DrawnSource] = field(default_factory=dict)
    """By source."""


@documented
@dataclass(frozen=True)
class RowToken:
    """One token of a packed row."""

    id: Count
    """Its id."""
    text: str
    """Its text."""
    document: Count
    """Number of its document within the row, from 0."""
    is_end: bool
    """Whether it is the end-of-text token."""
    target: str
    """Text of the token to predict from it."""


@documented
@dataclass(frozen=True)
class PackedRows:
    """The first rows of pretraining, as the model reads them."""

    rows: Annotated[tuple[Annotated[tuple[RowToken, ...], Limit(1 << 20)], ...], Limit(64)] = ()
    """Tokens by row."""

    __repr__ = short_repr


@documented
@dataclass(frozen=True)
class Sample:
    """What the base model wrote at a step of its training."""

    step: Count
    """Training step."""
    prompt: str
    """The beginning it was given."""
    text: str
    """Its continuation."""
    draw: Count = 1
    """0: the most likely token at every position; 1, 2, ...: drawn at random."""


@documented
@dataclass(frozen=True)
class ValidationLoss:
    """Loss on validation documents at a step of pretraining."""

    step: Count
    """Training step."""
    nats_per_token: Number
    """Mean loss, sources weighted as in the mixture."""


@documented
@dataclass(frozen=True)
class LossReferences:
    """What baselines without context lose on the same validation documents, in nats per token."""

    uniform: Number | None = None
    """ln V: every token of the vocabulary is equally likely."""
    unigram: Number | None = None
    """Every token as likely as it is frequent in the training rows."""
    tokens: Count | None = None
    """Predicted tokens of the validation documents."""


@documented
@dataclass(frozen=True)
class MentionsSubject:
    """Share of answers that use a word of what they were asked about; None where prompts name no subject."""

    sft: Measured = None
    """Of the SFT model's answers."""
    reference: Number | None = None
    """Of the reference answers."""


@documented
@dataclass(frozen=True)
class AnsweredPrompt:
    """One held-out prompt with its reference answer and each system's."""

    prompt: str = ""
    """The prompt."""
    reference: str = ""
    """The reference answer."""
    answers: Mapping[str, str] = field(default_factory=dict)
    """Text by system: sft, base, prompted_base."""


@documented
@dataclass(frozen=True)
class MaskedToken:
    """A token of a training conversation."""

    text: str
    """Its text; a control token's name."""
    trained: bool
    """Whether the loss counts its prediction."""


@documented
@dataclass(frozen=True)
class SFTEvaluation:
    """How the SFT model answers held-out prompts; chrF is a similarity of texts from 0 to 1."""

    samples: Count | None = None
    """Prompts answered."""
    ended_share: Measured = None
    """Share of SFT answers that end with end-of-text."""
    base_ended_share: Number | None = None
    """The same of the base model."""
    chrf: Mapping[str, Number] = field(default_factory=dict)
    """Mean chrF to the reference by system: sft, base, prompted_base."""
    chrf2: Mapping[str, Number] = field(default_factory=dict)
    """The same, with recall weighted twice."""
    chrf_shuffled: Number | None = None
    """Mean chrF of SFT answers to another prompt's reference."""
    difference_to_base: Measured = None
    """chrF of SFT minus that of the base model, prompt by prompt."""
    difference_to_prompted_base: Measured = None
    """chrF of SFT minus that of the base model prompted with examples."""
    difference_to_shuffled: Measured = None
    """chrF of SFT to the right reference minus to a shuffled one."""
    mentions_subject: MentionsSubject = field(default_factory=MentionsSubject)
    """How often answers use a word of the subject."""
    few_shot_document: str = ""
    """The document that prompts the base model, for the first example."""
    training_example: tuple[MaskedToken, ...] = ()
    """One training conversation with its loss mask."""
    examples: Annotated[tuple[AnsweredPrompt, ...], Limit(10_000)] = ()
    """Prompts with all answers."""

    __repr__ = short_repr
