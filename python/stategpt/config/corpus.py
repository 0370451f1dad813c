"""What a run is made from: the corpus, the tokenizer trained on it, and how its documents become rows."""

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
)
from stategpt.config.control import CONTROL_BLOCK_TOKENS
from stategpt.shown_fields import documented

CorpusKind = Literal["python_library", "files", "packages"]
if TYPE_CHECKING:
    PackingStrategy: TypeAlias = str
else:
    # The strategies are listed once, in rust/packing/src/plan/mod.rs.
    PackingStrategy = Literal[_native.PACKING_STRATEGIES]
Pattern = Literal["gpt2", "gpt4", "o200k", "llama3", "qwen"]

PATTERNS = ("gpt2", "gpt4", "o200k", "llama3", "qwen")
"""Names of `Pattern`."""

SOURCES = ("code", "docstrings", "comments")
"""Sources that every corpus of Python files is split into."""

_BYTE_TOKENS = 256


@documented
@dataclass(frozen=True)
class CorpusConfig:
    """Where the documents come from, and how they are split into training, validation and test."""

    kind: CorpusKind = "python_library"
    """python_library: this interpreter's standard library; files: folders of .py files; packages: importable names."""
    paths: tuple[str, ...] = ()
    """Folders (kind files) or package names (kind packages); empty for the standard library."""
    validation_share: float = 0.04
    """Share of the prompts held out for what is looked at in training and for choosing settings, in whole modules."""
    test_share: float = 0.12
    """Share of the prompts that only gates, report and comparison measure on, in whole top-level modules."""
    split_seed: int = 0
    """Another seed gives another split by module."""
    minimum_pair_characters: int = 12
    """Shortest first sentence of a docstring that becomes an SFT response."""
    maximum_pair_characters: int = 140
    """Longest first sentence of a docstring that becomes an SFT response."""

    def __post_init__(self) -> None:
        require_choice("corpus.kind", self.kind, ("python_library", "files", "packages"))
        own_paths = self.kind != "python_library"
        wish = "needs at least one" if own_paths else 'reads none; to read folders set corpus.kind = "files"'
        rule = f"corpus.kind = {self.kind!r} {wish}"
        require(bool(self.paths) == own_paths, "corpus.paths", list(self.paths), rule)
        require(0 < self.validation_share < 1, "corpus.validation_share", self.validation_share, "must lie in (0, 1)")
        require(0 < self.test_share < 1, "corpus.test_share", self.test_share, "must lie in (0, 1)")
        rule = f"with corpus.validation_share = {self.validation_share} leaves nothing to train on"
        require(self.validation_share + self.test_share < 1, "corpus.test_share", self.test_share, rule)
        require_not_negative("corpus", split_seed=self.split_seed)
        require_positive("corpus", minimum_pair_characters=self.minimum_pair_characters)
        require(
            self.maximum_pair_characters >= self.minimum_pair_characters,
            "corpus.maximum_pair_characters",
            self.maximum_pair_characters,
            f"must be at least minimum_pair_characters = {self.minimum_pair_characters}",
        )


@documented
@dataclass(frozen=True)
class TokenizerConfig:
    """The byte-level BPE tokenizer."""

    vocab_size: int = 4096
    """Tokens in all: 256 bytes, 16 control tokens and the merges."""
    pattern: Pattern = "gpt4"
    """How text is cut before merging: gpt2, gpt4, o200k, llama3 or qwen."""

    def __post_init__(self) -> None:
        smallest = _BYTE_TOKENS + CONTROL_BLOCK_TOKENS
        rule = f"must be at least {smallest} (256 bytes and {CONTROL_BLOCK_TOKENS} control tokens)"
        require(self.vocab_size >= smallest, "tokenizer.vocab_size", self.vocab_size, rule)
        require(self.vocab_size < 2**32, "tokenizer.vocab_size", self.vocab_size, "must be below 2**32")
        require_choice("tokenizer.pattern", self.pattern, PATTERNS)


def _default_proportions() -> dict[str, float]:
    return {"code": 0.3, "docstrings": 0.6, "comments": 0.1}


@documented
@dataclass(frozen=True)
class DataConfig:
    """How documents become rows of tokens, and how sources are mixed."""

    row_tokens: int = 128
    """Tokens per row."""
    strategy: PackingStrategy = "best_fit"
    """best_fit keeps short documents whole; concat appends end-of-text, concatenates and cuts."""
    isolate_documents: bool = True
    """Documents that share a row do not see each other."""
    proportions: Mapping[str, float] = field(default_factory=_default_proportions)
    """Share of the training tokens that each source gives; together 1."""
    maximum_epochs: float = 0.0
    """Times a source may be read; a run that would read one more often is refused; 0 = no limit."""

    def __post_init__(self) -> None:
        require(self.row_tokens >= 2, "data.row_tokens", self.row_tokens, "must be at least 2")
        require_choice("data.strategy", self.strategy, _native.PACKING_STRATEGIES)
        require_not_negative("data", maximum_epochs=self.maximum_epochs)
        require(bool(self.proportions), "data.proportions", self.proportions, "must name at least one source")
        for source, share in self.proportions.items():
            rule = "must be above 0 and at most 1; leave a source out instead of giving it 0"
            require(0 < share <= 1 + 1e-6, f"data.proportions.{source}", share, rule)
        total = math.fsum(self.proportions.values())
        shown = dict(self.proportions)
        require(abs(total - 1) < 1e-6, "data.proportions", shown, f"must add up to 1, not {total:g}")
