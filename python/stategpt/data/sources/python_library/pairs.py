"""From docstrings to pairs: what a thing does, in the first sentence its author wrote.

Two kinds are made from the same sentences:

    what      What does `str.upper` do?                                    Return a copy of the string converted to ...
    complete  Complete the docstring of `str.upper`: Return a copy         of the string converted to uppercase.

A sentence that two docstrings share is used once, and that is settled before the split: else "Return True if ..." would
stand in training and be asked for in validation.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from stategpt.data.sources.python_library.docstrings import starts_with_call
from stategpt.data.sources.python_library.records import Entry, Pair, PairKind
from stategpt.data.sources.python_library.units import fraction

_SENTENCE_END = re.compile(r"(?<=[.!?])['\"`)]*(?=\s|$)")
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|cf|resp|approx|incl|Mr|Dr|[A-Z])|\.\.)\.$")
_DUNDER = re.compile(r"__\w+__")
_FEWEST_WORDS = 3
_PREFIX_WORDS = (2, 3, 4)


@dataclass(frozen=True, slots=True)
class Summary:
    """An entry and its first sentence."""

    entry: Entry
    sentence: str


def first_sentence(text: str, name: str) -> str:
    """The first sentence of a docstring on one line, without a signature in front; all of it when nothing ends it."""
    lines = text.split("\n")
    while lines and (not lines[0].strip() or starts_with_call(lines[0], name)):
        del lines[0]
    paragraph: list[str] = []
    for line in lines:
        if not line.strip():
            break
        paragraph.append(line)
    joined = " ".join(" ".join(paragraph).split())
    for end in _SENTENCE_END.finditer(joined):
        sentence = joined[: end.end()]
        if not _ABBREVIATION.search(sentence) and not joined[end.end() :].lstrip()[:1].islower():
            return sentence
    return joined


def summaries(entries: Iterable[Entry], minimum: int, maximum: int, dropped: Counter[str]) -> list[Summary]:
    """The usable first sentences, `minimum` to `maximum` characters long; every other entry is counted by reason."""
    kept: list[Summary] = []
    sentences: set[str] = set()
    names: set[str] = set()
    for entry in entries:
        sentence = first_sentence(entry.text, entry.name)
        reason = _unusable(entry, sentence, minimum, maximum)
        if reason is None and sentence.casefold() in sentences:
            reason = "duplicate_sentence"
        if reason is None and entry.name in names:
            reason = "duplicate_name"
        if reason is not None:
            dropped[reason] += 1
            continue
        sentences.add(sentence.casefold())
        names.add(entry.name)
        kept.append(Summary(entry, sentence))
    return kept


def _unusable(entry: Entry, sentence: str, minimum: int, maximum: int) -> str | None:
    """Why an entry gives no pair."""
    reasons = {
        "module": entry.kind == "module",
        "local": entry.local,
        "dunder_name": _DUNDER.search(entry.name) is not None,
        "no_final_stop": not sentence.endswith((".", "!", "?")),
        "no_capital": not sentence[:1].isupper(),
        "too_short": len(sentence) < minimum or len(sentence.split()) < _FEWEST_WORDS,
        "too_long": len(sentence) > maximum,
        "signature_or_example": "->" in sentence or ">>>" in sentence,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def training_pair(summary: Summary, seed: int) -> Pair:
    """One pair of a name; its kind is drawn by hash, half and half."""
    kind: PairKind = "what" if fraction("kind", seed, summary.entry.name) < 0.5 else "complete"
    return make_pair(summary, kind, seed)


def make_pair(summary: Summary, kind: PairKind, seed: int) -> Pair:
    """The pair of `kind`. For kind complete, 2 to 4 words by hash are given, and at least one is left to say."""
    entry, sentence = summary.entry, summary.sentence
    prompt, response = f"What does `{entry.name}` do?", sentence
    if kind == "complete":
        words = sentence.split(" ")
        given = _PREFIX_WORDS[int(fraction("prefix", seed, entry.name) * len(_PREFIX_WORDS))]
        prefix = " ".join(words[: min(given, len(words) - 1)])
        prompt, response = f"Complete the docstring of `{entry.name}`: {prefix}", sentence[len(prefix) :]
    return Pair(kind, entry.name, prompt, response, entry.unit, sentence, entry.signature)
