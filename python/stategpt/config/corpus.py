"""Settings of the corpus, of the tokenizer trained on it, and of how its documents become rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from stategpt import _native
from stategpt.config.checks import (
    require,
    require_choice,
    require_not_negative,
    require_positive,
    require_share,
)
from stategpt.config.control import CONTROL_BLOCK_TOKENS
from stategpt.shown_fields import documented

if TYPE_CHECKING:
    PackingStrategy: TypeAlias = str
else:
    # The strategies are listed once, in rust/packing/src/plan/mod.rs.
    PackingStrategy = Literal[_native.PACKING_STRATEGIES]
OnChange = Literal["refuse", "rebuild"]
Pattern = Literal["gpt2", "gpt4", "o200k", "llama3", "qwen"]

PATTERNS = ("gpt2", "gpt4", "o200k", "llama3", "qwen")
"""Names of `Pattern`."""

_BYTE_TOKENS = 256


MIN_GROUPS = 3
"""Fewer groups cannot be split: training, validation and test need one each."""


def min_groups(validation_share: float, test_share: float) -> int:
    """Smallest number of groups of which each held-out share is at least one group, with one left for training."""
    smallest = min(validation_share, test_share)
    return max(MIN_GROUPS, math.ceil(1 / smallest - 1e-9))


@documented
@dataclass(frozen=True)
class CorpusConfig:
    """Source of the documents, and their split into training, validation and test."""

    source: str = ""
    """Builder of a whole corpus, a module of stategpt.data.sources; not needed with [sources] or data of your own."""
    paths: tuple[str, ...] = ()
    """Paths or names that the source reads; each source documents their meaning."""
    validation_share: float = 0.04
    """Share of the prompts held out for measurements during training and for choosing settings, in whole groups."""
    test_share: float = 0.12
    """Share of the prompts that only gates, report and comparison measure on, in whole groups."""
    split_seed: int = 0
    """Seed of the split by group."""
    min_response_characters: int = 1
    """Shortest response of a conversation that is kept."""
    max_response_characters: int = 0
    """Longest response of a conversation that is kept; 0 = no limit."""
    max_rejected_share: float = 0.01
    """Largest share of the records of an input that may be rejected; above it the run stops and shows the first ten."""
    on_change: OnChange = "refuse"
    """What a run does when an input file was edited, added or removed: refuse, or rebuild what was made from it."""

    def __post_init__(self) -> None:
        rule = "must be the name of a module: letters, digits and _"
        require(not self.source or self.source.isidentifier(), "corpus.source", self.source, rule)
        require(0 < self.validation_share < 1, "corpus.validation_share", self.validation_share, "must be in (0, 1)")
        require(0 < self.test_share < 1, "corpus.test_share", self.test_share, "must be in (0, 1)")
        rule = f"with corpus.validation_share = {self.validation_share} leaves nothing to train on"
        require(self.validation_share + self.test_share < 1, "corpus.test_share", self.test_share, rule)
        require_share("corpus", max_rejected_share=self.max_rejected_share)
        require_choice("corpus.on_change", self.on_change, ("refuse", "rebuild"))
        require_not_negative("corpus", split_seed=self.split_seed, max_response_characters=self.max_response_characters)
        require_positive("corpus", min_response_characters=self.min_response_characters)
        require(
            self.max_response_characters == 0 or self.max_response_characters >= self.min_response_characters,
            "corpus.max_response_characters",
            self.max_response_characters,
            f"must be 0 or at least min_response_characters = {self.min_response_characters}",
        )


@documented
@dataclass(frozen=True)
class TokenizerConfig:
    """The byte-level BPE tokenizer."""

    vocab_size: int = 4096
    """Total number of tokens: 256 bytes, 16 control tokens and the merges."""
    pattern: Pattern = "gpt4"
    """Pre-tokenizer pattern: gpt2, gpt4, o200k, llama3 or qwen."""

    def __post_init__(self) -> None:
        smallest = _BYTE_TOKENS + CONTROL_BLOCK_TOKENS
        rule = f"must be at least {smallest} (256 bytes and {CONTROL_BLOCK_TOKENS} control tokens)"
        require(self.vocab_size >= smallest, "tokenizer.vocab_size", self.vocab_size, rule)
        require(self.vocab_size < 2**32, "tokenizer.vocab_size", self.vocab_size, "must be below 2**32")
        require_choice("tokenizer.pattern", self.pattern, PATTERNS)


@documented
@dataclass(frozen=True)
class DataConfig:
    """How documents become rows of tokens, and how sources are mixed."""

    row_tokens: int = 128
    """Tokens per row."""
    strategy: PackingStrategy = "best_fit"
    """best_fit keeps short documents whole; concat appends end-of-text, concatenates and cuts."""
    isolate_documents: bool = True
    """Documents in one row do not attend to each other."""
    proportions: Mapping[str, float] = field(default_factory=dict)
    """Share of the training tokens of each source that corpus.source gives, in total 1; else sources.NAME.share."""
    maximum_epochs: float = 0.0
    """Times a source may be read; a run that would read one more often is refused; 0 = no limit."""

    def __post_init__(self) -> None:
        require(self.row_tokens >= 2, "data.row_tokens", self.row_tokens, "must be at least 2")
        require_choice("data.strategy", self.strategy, _native.PACKING_STRATEGIES)
        require_not_negative("data", maximum_epochs=self.maximum_epochs)
        for source, share in self.proportions.items():
            rule = "must be above 0 and at most 1; leave a source out instead of giving it 0"
            require(0 < share <= 1 + 1e-6, f"data.proportions.{source}", share, rule)
        total = math.fsum(self.proportions.values())
        shown = dict(self.proportions)
        require(not shown or abs(total - 1) < 1e-6, "data.proportions", shown, f"must add up to 1, not {total:g}")
