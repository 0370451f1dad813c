"""Decontamination: documents that give away evaluation prompts together with their answers.

A document that only quotes a prompt, or only shares a phrase or an answer with it, is innocent: most of what plain
n-gram matching flags is of this kind. A prompt leaks where one of these holds, by lower-case words without punctuation:

* `prompt_and_answer`: at least `min_coverage` of the prompt's words occur in the document in order, with words changed,
  left out or added between them (longest common subsequence; all words of a prompt of fewer than 8), and the reference
  is near. A reference of up to 8 words must occur as a whole within `answer_distance` words after the prompt or before
  it (one word: within 10 words after it); of a longer one, half of its runs of 3 words.
* `verbatim`: a run of `verbatim_words` words of the prompt or of the reference.

A prompt is compared where 4 of its words in a row occur, and no more than 16 prompts share them. Prompts that have no
such run cannot be found by it (`Decontamination.unsearchable`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from stategpt import _native
from stategpt.arguments import instance, real, several, whole
from stategpt.data.curation.duplicates import batches, surrogate_error, threads_of
from stategpt.data.curation.removed import Removed
from stategpt.data.records import Document, Prompt
from stategpt.shown_fields import documented, short_repr

CONTAMINATED = "contaminated"
LeakRule = Literal["prompt_and_answer", "verbatim"]
_SHOWN_CHARACTERS = 200


@documented
@dataclass(frozen=True, slots=True)
class Leak:
    """A prompt found in a document."""

    prompt: Prompt
    """The prompt."""
    rule: LeakRule
    """Why it counts as leaked."""
    start: int
    """First character of the match in the document."""
    end: int
    """Character after the match."""
    text: str
    """The document from `start` to `end`."""
    answer: tuple[int, int] | None
    """First character of the answer, and the one after it; None for `verbatim`."""
    matched_words: int
    """Words that match."""
    coverage: float
    """Matched share of the words of the prompt; for `verbatim` of the prompt or the reference."""

    __repr__ = short_repr


class Decontamination:
    """Evaluation prompts that documents are searched for."""

    def __init__(
        self,
        prompts: Iterable[Prompt],
        *,
        min_coverage: float = 0.7,
        answer_distance: int = 50,
        verbatim_words: int = 50,
        threads: int | None = None,
    ) -> None:
        """Indexes the last message of each prompt, and its reference.

        Args:
            prompts: evaluation prompts; one without a reference is found by `verbatim` only.
            min_coverage: share of a prompt's words, above 0 to 1.
            answer_distance: words between prompt and answer.
            verbatim_words: length of a run that is a leak without an answer, at least 4.
            threads: threads that search; None uses all available cores.

        Raises:
            InvalidArgument: a setting is out of range.
        """
        several("prompts", prompts)
        self._prompts = tuple(prompts)
        for prompt in self._prompts:
            instance("prompt", prompt, Prompt, "Give Prompt records.")
        self._threads = threads_of(threads)
        self._finder = _native.LeakFinder(
            [(prompt.text, prompt.reference) for prompt in self._prompts],
            real("min_coverage", min_coverage),
            whole("answer_distance", answer_distance),
            whole("verbatim_words", verbatim_words),
        )

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """The prompts that documents are searched for."""
        return self._prompts

    @property
    def unsearchable(self) -> list[Prompt]:
        """Prompts shorter than 4 words, or of phrases that more than 16 prompts share."""
        return [self._prompts[number] for number in self._finder.unsearchable]

    def leaks(self, documents: Sequence[Document]) -> list[list[Leak]]:
        """The leaks of each document, at most one per prompt.

        Raises:
            DataError: a text holds a lone surrogate.
        """
        texts = [document.text for document in documents]
        try:
            found = self._finder.find(texts, self._threads)
        except UnicodeEncodeError as error:
            raise surrogate_error(documents, error) from None
        return [[self._leak(text, *leak) for leak in leaks] for text, leaks in zip(texts, found, strict=True)]

    def filter(self, documents: Iterable[Document]) -> Iterator[tuple[Document, Removed | None]]:
        """Each document, read once, with None or with the prompt that it gives away and the matched text.

        Raises:
            DataError: a text holds a lone surrogate.
        """
        for batch in batches(documents):
            for document, leaks in zip(batch, self.leaks(batch), strict=True):
                yield document, Removed(CONTAMINATED, _evidence(document, leaks)) if leaks else None

    def _leak(
        self,
        text: str,
        item: int,
        rule: str,
        span: tuple[int, int],
        answer: tuple[int, int] | None,
        matched_words: int,
        coverage: float,
    ) -> Leak:
        start, end = _characters(text, span)
        found = None if answer is None else _characters(text, answer)
        named: LeakRule = "verbatim" if rule == "verbatim" else "prompt_and_answer"
        return Leak(self._prompts[item], named, start, end, text[start:end], found, matched_words, coverage)


def decontaminate(
    documents: Iterable[Document], prompts: Iterable[Prompt], *, threads: int | None = None
) -> Iterator[tuple[Document, Removed | None]]:
    """`Decontamination(prompts).filter(documents)`: each document with None, or with the prompt that it gives away.

    Raises:
        InvalidArgument, DataError: as those.
    """
    return Decontamination(prompts, threads=threads).filter(documents)


def _evidence(document: Document, leaks: Sequence[Leak]) -> str:
    leak = leaks[0]
    prompt = str(leak.prompt.where or _shortened(leak.prompt.text))
    found = f"characters {leak.start}-{leak.end}: {_shortened(leak.text)!r}"
    more = f"; {len(leaks) - 1} more prompts" if len(leaks) > 1 else ""
    if leak.answer is None:
        return f"{leak.matched_words} words of prompt {prompt} at {found}{more}"
    answer = (
        f"answer at characters {leak.answer[0]}-{leak.answer[1]}: {_shortened(document.text[slice(*leak.answer)])!r}"
    )
    return f"{leak.coverage:.0%} of prompt {prompt} at {found}, {answer}{more}"


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _characters(text: str, span: tuple[int, int]) -> tuple[int, int]:
    """A span of bytes as one of characters."""
    if text.isascii():
        return span
    data = text.encode()
    start = len(data[: span[0]].decode())
    return start, start + len(data[span[0] : span[1]].decode())
