"""The steps that compare documents with each other or with the evaluation: duplicates and contamination."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from stategpt.config.curate import CurateConfig
from stategpt.data.curation.removed import Removed
from stategpt.data.records import Document, Prompt


class Find(Protocol):
    """Finds what a step removes."""

    def __call__(self, documents: Iterator[tuple[int, Document]], /) -> Mapping[int, Removed]:
        """The documents that go, by number."""


class CorpusStep(NamedTuple):
    """A step that sees all documents."""

    name: str
    """What progress shows."""
    find: Find
    """Reads the numbered documents once and says which go."""


def corpus_steps(config: CurateConfig, prompts: tuple[Prompt, ...], work_folder: Path) -> list[CorpusStep]:
    """The steps that `config` asks for, in order; temporary files go into `work_folder`."""
    return []
