"""From docstrings to conversations: what a thing does, in the first sentence its author wrote.

Two kinds are made from the same sentences:

    what      What does `str.upper` do?                                    Return a copy of the string converted to ...
    complete  Complete the docstring of `str.upper`: Return a copy         of the string converted to uppercase.

A sentence that two docstrings share is used once, which is decided before the split: else "Return True if ..." would be
trained on and asked about in validation.

`meta` of a conversation: subject (the dotted name), kind, summary (the whole sentence), signature, and for kind
complete opening (the words of the summary that the prompt quotes; the answer starts with the space that joins them).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from stategpt.data.records import Conversation
from stategpt.data.sources.python_library.docstrings import starts_with_call
from stategpt.data.sources.python_library.records import Entry
from stategpt.data.sources.python_library.units import fraction

ConversationKind = Literal["what", "complete"]

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
    """First sentences of `minimum` to `maximum` characters (0 = no limit) that can be used; others are counted."""
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
    """Why an entry gives no conversation."""
    reasons = {
        "module": entry.kind == "module",
        "local": entry.local,
        "dunder_name": _DUNDER.search(entry.name) is not None,
        "no_final_stop": not sentence.endswith((".", "!", "?")),
        "no_capital": not sentence[:1].isupper(),
        "too_short": len(sentence) < minimum or len(sentence.split()) < _FEWEST_WORDS,
        "too_long": 0 < maximum < len(sentence),
        "signature_or_example": "->" in sentence or ">>>" in sentence,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def training_conversation(summary: Summary, seed: int) -> Conversation:
    """One conversation per name; its kind is drawn by hash, half and half."""
    kind: ConversationKind = "what" if fraction("kind", seed, summary.entry.name) < 0.5 else "complete"
    return make_conversation(summary, kind, seed)


def make_conversation(summary: Summary, kind: ConversationKind, seed: int) -> Conversation:
    """The conversation of `kind`. For kind complete the prompt quotes 2 to 4 words by hash and leaves at least one."""
    entry, sentence = summary.entry, summary.sentence
    meta = {"subject": entry.name, "kind": kind, "summary": sentence, "signature": entry.signature}
    if kind == "what":
        return Conversation.of(f"What does `{entry.name}` do?", sentence, group=entry.unit, meta=meta)
    words = sentence.split(" ")
    given = _PREFIX_WORDS[int(fraction("prefix", seed, entry.name) * len(_PREFIX_WORDS))]
    opening = " ".join(words[: min(given, len(words) - 1)])
    prompt = f"Complete the docstring of `{entry.name}`: {opening}"
    return Conversation.of(prompt, sentence[len(opening) :], group=entry.unit, meta=meta | {"opening": opening})
