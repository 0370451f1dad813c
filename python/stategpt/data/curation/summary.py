"""The summary of a curation: counts by source and rule that add up, lengths, and examples of what was removed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from stategpt.data.curation.removed import Removed
from stategpt.data.records import Document
from stategpt.data.rejections import Tally
from stategpt.json_reader import Integer, Text
from stategpt.json_records import Limit, read_versioned, versioned
from stategpt.shown_fields import documented, short_repr

FORMAT_VERSION = 2
"""Version of summary.json."""
SUMMARY = "summary.json"
EXAMPLES_PER_RULE = 3
"""Removed documents that the summary shows of each rule."""
EXCERPT_CHARACTERS = 240
"""Characters of a removed document that its record and the examples show."""
LENGTH_CLASSES = 32
"""Classes of the histogram of lengths: class c has documents of 2^(c-1) to 2^c - 1 characters; class 0, empty ones."""

_RULES = Limit(1000)
_COUNT = Integer(0)


@documented
@dataclass(frozen=True)
class SourceSummary:
    """Counts of one source; `documents` is `kept` plus all of `removed`."""

    documents: Annotated[int, _COUNT]
    """Documents that came in."""
    characters: Annotated[int, _COUNT]
    """Characters of those."""
    kept: Annotated[int, _COUNT]
    """Documents that were kept."""
    kept_characters: Annotated[int, _COUNT]
    """Characters of those, as they are kept."""
    edited: Annotated[int, _COUNT]
    """Documents that were kept with another text."""
    removed: Annotated[Mapping[str, int], _RULES]
    """Removed documents by rule."""
    lines_removed: Annotated[Mapping[str, int], _RULES]
    """Lines removed from documents that the rules of texts kept, by rule."""
    pii_replaced: Annotated[Mapping[str, int], _RULES]
    """Parts replaced by a placeholder, by kind."""
    paragraphs_removed: Annotated[int, _COUNT]
    """Duplicate paragraphs cut out of documents that were kept."""
    paragraph_characters_removed: Annotated[int, _COUNT]
    """Characters of those, with the blank lines after them."""
    lengths: tuple[int, ...]
    """Documents that came in, by class of length (`LENGTH_CLASSES`)."""
    kept_lengths: tuple[int, ...]
    """Documents that were kept, by class of length."""

    __repr__ = short_repr


@documented
@dataclass(frozen=True)
class RemovedExample:
    """A removed document, shown."""

    rule: str
    """Why it was removed."""
    source: str
    """Its source."""
    where: str
    """File, line and byte; empty where it is from no file."""
    evidence: str
    """What the rule found."""
    excerpt: Annotated[str, Text(max_chars=2 * EXCERPT_CHARACTERS)]
    """How it starts."""


@documented
@dataclass(frozen=True)
class Comparison:
    """What the steps that compare documents with each other, or with the evaluation, looked for and could not see."""

    skipped_pairs: Annotated[int, _COUNT] = 0
    """Pairs that the search for near-duplicates did not compare: over 1,000 different documents agree in one band."""
    prompts: Annotated[int, _COUNT] = 0
    """Evaluation prompts that documents were searched for, those that cannot be found among them."""
    unsearchable: Annotated[int, _COUNT] = 0
    """Evaluation prompts that cannot be found: of fewer than 4 words, or of phrases that over 16 prompts share."""
    unsearchable_first: tuple[str, ...] = ()
    """The first ten of those."""

    __repr__ = short_repr

    def __add__(self, other: Comparison) -> Comparison:
        """What two steps did."""
        return Comparison(
            self.skipped_pairs + other.skipped_pairs,
            self.prompts + other.prompts,
            self.unsearchable + other.unsearchable,
            (*self.unsearchable_first, *other.unsearchable_first),
        )


@documented
@dataclass(frozen=True)
class CurationSummary:
    """What a curation did."""

    documents: Annotated[int, _COUNT]
    """Documents that came in: `kept` plus all of `removed`."""
    kept: Annotated[int, _COUNT]
    """Documents that were kept."""
    removed: Annotated[Mapping[str, int], _RULES]
    """Removed documents by rule, the most frequent first."""
    sources: Annotated[Mapping[str, SourceSummary], Limit(10_000)]
    """Counts by source, sorted by name."""
    examples: tuple[RemovedExample, ...]
    """The first removed documents of each rule, in the order of `removed`."""
    thresholds: Annotated[Mapping[str, float], _RULES] = field(default_factory=dict)
    """Thresholds of the rules that were asked."""
    compared: Comparison = field(default_factory=Comparison)
    """What the comparing steps looked for."""
    inputs: Annotated[Mapping[str, Tally], Limit(10_000)] = field(default_factory=dict)
    """What the reader of the documents counted, by source: the kept ones are those that came in."""

    __repr__ = short_repr


class Counts:
    """Counts documents of one source as they pass."""

    def __init__(self) -> None:
        self.characters = self.kept_characters = self.kept = self.edited = 0
        self.paragraphs_removed = self.paragraph_characters_removed = 0
        self.removed: Counter[str] = Counter()
        self.lines_removed: Counter[str] = Counter()
        self.pii_replaced: Counter[str] = Counter()
        self.lengths = [0] * LENGTH_CLASSES
        self.kept_lengths = [0] * LENGTH_CLASSES

    @property
    def documents(self) -> int:
        """Documents that came in."""
        return sum(self.lengths)

    def enter(self, document: Document) -> None:
        """Counts a document that came in."""
        self.characters += len(document.text)
        self.lengths[_length_class(document)] += 1

    def keep(self, document: Document, edited: bool) -> None:
        """Counts a document that was kept."""
        self.kept += 1
        self.edited += edited
        self.kept_characters += len(document.text)
        self.kept_lengths[_length_class(document)] += 1

    def add(self, other: SourceSummary) -> None:
        """Adds the counts of another pass, or of other documents."""
        self.characters += other.characters
        self.kept += other.kept
        self.kept_characters += other.kept_characters
        self.edited += other.edited
        self.paragraphs_removed += other.paragraphs_removed
        self.paragraph_characters_removed += other.paragraph_characters_removed
        self.removed.update(other.removed)
        self.lines_removed.update(other.lines_removed)
        self.pii_replaced.update(other.pii_replaced)
        self.lengths = list(map(int.__add__, self.lengths, other.lengths))
        self.kept_lengths = list(map(int.__add__, self.kept_lengths, other.kept_lengths))

    def summary(self) -> SourceSummary:
        """The counts so far."""
        return SourceSummary(
            documents=self.documents,
            characters=self.characters,
            kept=self.kept,
            kept_characters=self.kept_characters,
            edited=self.edited,
            removed=_ordered(self.removed),
            lines_removed=_ordered(self.lines_removed),
            pii_replaced=_ordered(self.pii_replaced),
            paragraphs_removed=self.paragraphs_removed,
            paragraph_characters_removed=self.paragraph_characters_removed,
            lengths=tuple(self.lengths),
            kept_lengths=tuple(self.kept_lengths),
        )


def summarize(counts: Mapping[str, Counts], examples: Mapping[str, list[RemovedExample]]) -> CurationSummary:
    """The summary of all sources; `examples` are by rule."""
    removed = _ordered(sum((each.removed for each in counts.values()), Counter()))
    return CurationSummary(
        documents=sum(each.documents for each in counts.values()),
        kept=sum(each.kept for each in counts.values()),
        removed=removed,
        sources={name: counts[name].summary() for name in sorted(counts)},
        examples=tuple(example for rule in removed for example in examples.get(rule, ())),
    )


def write_summary(summary: CurationSummary, folder: Path) -> None:
    """Writes summary.json. Escaped where it is not ASCII: an excerpt may hold half a character."""
    text = json.dumps(versioned(summary, FORMAT_VERSION), indent=2)
    (folder / SUMMARY).write_text(text + "\n", encoding="utf-8")


def read_summary(folder: Path) -> CurationSummary:
    """Reads `write_summary`. Raises ForeignArtifact and DataError as `read_versioned`."""
    return read_versioned(folder / SUMMARY, CurationSummary, FORMAT_VERSION)


def example_of(document: Document, removed: Removed) -> RemovedExample:
    """A removed document as the summary shows it."""
    where = str(document.where) if document.where else ""
    return RemovedExample(removed.rule, document.source, where, removed.evidence, excerpt_of(document))


def excerpt_of(document: Document) -> str:
    """How a document starts."""
    return document.text[:EXCERPT_CHARACTERS]


def _length_class(document: Document) -> int:
    return min(len(document.text).bit_length(), LENGTH_CLASSES - 1)


def _ordered(counts: Counter[str]) -> dict[str, int]:
    """The most frequent first, equal ones by name."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
