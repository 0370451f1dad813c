"""The steps that compare documents with each other or with the evaluation: duplicates and contamination."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from stategpt.config.curate import CurateConfig
from stategpt.data.curation.contamination import Decontamination
from stategpt.data.curation.duplicates import DuplicateFinder, NearDuplicates
from stategpt.data.curation.removed import Removed
from stategpt.data.curation.summary import Comparison
from stategpt.data.records import Document, Prompt

_SHOWN_PROMPTS, _SHOWN_CHARACTERS = 10, 120


class Found(NamedTuple):
    """What a step found."""

    removed: Mapping[int, Removed]
    """The documents that go, by number."""
    compared: Comparison = Comparison()
    """What it looked for and could not see."""


class Find(Protocol):
    """Finds what a step removes."""

    def __call__(self, documents: Iterator[tuple[int, Document]], /) -> Found:
        """The documents that go, of those given."""


class CorpusStep(NamedTuple):
    """A step that sees all documents."""

    name: str
    """What progress shows."""
    find: Find
    """Reads the numbered documents once and says which go."""


def corpus_steps(config: CurateConfig, prompts: tuple[Prompt, ...], work_folder: Path) -> list[CorpusStep]:
    """The steps that `config` asks for, in order; temporary files go into `work_folder`."""
    steps = []
    if config.exact_duplicates:
        steps.append(CorpusStep("exact duplicates", partial(_duplicates, work_folder, None)))
    if config.near_duplicates:
        near = NearDuplicates(config.near_duplicate_threshold)
        steps.append(CorpusStep("near-duplicates", partial(_duplicates, work_folder, near)))
    if config.decontaminate:
        steps.append(CorpusStep("contamination", partial(_contaminated, Decontamination(prompts))))
    return steps


def _duplicates(folder: Path, near: NearDuplicates | None, documents: Iterator[tuple[int, Document]]) -> Found:
    numbers = array("Q")
    finder = DuplicateFinder(near, folder=folder)
    finder.add(_without_numbers(documents, numbers))
    counts = finder.compare()
    return Found(dict(finder.removed(numbers)), Comparison(skipped_pairs=counts.skipped_pairs))


def _contaminated(finder: Decontamination, documents: Iterator[tuple[int, Document]]) -> Found:
    numbers = array("Q")
    filtered = finder.filter(_without_numbers(documents, numbers))
    removed = {numbers[at]: removed for at, (_, removed) in enumerate(filtered) if removed is not None}
    return Found(removed, _searched(finder))


def _searched(finder: Decontamination) -> Comparison:
    hidden = finder.unsearchable
    shown = tuple(_shown(prompt) for prompt in hidden[:_SHOWN_PROMPTS])
    return Comparison(prompts=len(finder.prompts), unsearchable=len(hidden), unsearchable_first=shown)


def _shown(prompt: Prompt) -> str:
    """As in `chats.jsonl:7 (byte 512): Why?`."""
    text = prompt.text if len(prompt.text) <= _SHOWN_CHARACTERS else f"{prompt.text[:_SHOWN_CHARACTERS]}..."
    return f"{prompt.where}: {text}" if prompt.where else text


def _without_numbers(documents: Iterator[tuple[int, Document]], numbers: array[int]) -> Iterator[Document]:
    """The documents; their numbers are appended to `numbers` as they pass."""
    for number, document in documents:
        numbers.append(number)
        yield document
