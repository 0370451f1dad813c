"""Decontamination: precision and recall on planted leaks, beside matching of 8 words alone, and speed."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence

from stategpt.data.curation.contamination import Decontamination
from stategpt.data.records import Document, Prompt

from .bench import Bench, Row, rates

GRAM = 8
_WORD = re.compile(r"\w+")


def rows(bench: Bench) -> Iterator[Row]:
    """All figures of this section."""
    of = random.Random(5)
    prompts, leaks, innocent = planted(bench, of, 300 if bench.rounds > 3 else 100)
    finder = Decontamination(prompts, threads=1)
    flags = [removed is not None for _, removed in finder.filter([*leaks, *innocent])]
    plain = _plain(prompts, [*leaks, *innocent])
    precision, recall = quality(flags, len(leaks))
    plain_precision, plain_recall = quality(plain, len(leaks))
    yield Row("precision on planted leaks", "share", precision, {"8 words alone": plain_precision}, ">= 0.95")
    yield Row("recall on planted leaks", "share", recall, {"8 words alone": plain_recall}, ">= 0.9")
    seconds = bench.seconds({"stategpt": lambda: finder.leaks(bench.documents)})
    yield Row("search", "MB/s", rates(seconds, {"stategpt": bench.bytes})["stategpt"])


def planted(bench: Bench, of: random.Random, count: int) -> tuple[list[Prompt], list[Document], list[Document]]:
    """Questions out of real text; leaks verbatim and edited; innocent: prompt, answer or shared phrase alone."""
    words = [word for document in bench.documents[:200] for word in document.text.split() if word.isalpha()]
    template = "Read the following passage and say what comes next".split()  # noqa: SIM905

    def some(least: int, most: int) -> list[str]:
        start, length = of.randrange(len(words) - most), of.randint(least, most)
        return words[start : start + length]

    prompts, leaks, innocent = [], [], []
    for number in range(count):
        question = template + some(10, 40)
        answer = [f"answer{number}"] if number % 4 == 0 else [f"a{number}", *some(2, 30)]
        prompts.append(Prompt.of(" ".join(question), " ".join(answer)))
        edited = [word if of.random() > 0.1 else "changed" for word in question]
        between = some(1, 3)
        for parts in ((question, answer), (edited, answer), (question, between, answer)):
            leaks.append(_document(some, parts))
        for parts in ((question,), (answer,), (template, answer), (question[: len(question) // 2], answer)):
            innocent.append(_document(some, parts))
    return prompts, leaks, innocent


def quality(flags: Sequence[bool], leaks: int) -> tuple[float, float]:
    """Precision and recall where the first documents are the leaks."""
    met, wrong = sum(flags[:leaks]), sum(flags[leaks:])
    return met / max(1, met + wrong), met / leaks


def _document(some: Callable[[int, int], list[str]], parts: Sequence[Sequence[str]]) -> Document:
    words = [*some(80, 160), *(word for part in parts for word in part), *some(80, 160)]
    return Document(" ".join(words))


def _plain(prompts: Sequence[Prompt], documents: Sequence[Document]) -> list[bool]:
    """Whether any 8 words in a row of any prompt or reference occur: the usual rule, without looking at the answer."""
    known = {gram for prompt in prompts for text in (prompt.text, prompt.reference or "") for gram in _grams(text)}
    return [not known.isdisjoint(_grams(document.text)) for document in documents]


def _grams(text: str) -> Iterator[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    return zip(*(words[at:] for at in range(GRAM)), strict=False)
