"""Few-shot prompting of a base model: a document of questions and answers that ends where the next answer begins.

A base model continues documents. Show it one in which questions are answered and it answers the last question (Brown et
al. 2020, arXiv 2005.14165, section 2.1; the talk's "trick the base model into being an assistant").
"""

from __future__ import annotations

from collections.abc import Sequence

from stategpt.data.records import Prompt
from stategpt.errors import InvalidArgument
from stategpt.randomness import permutation

STOP = "\n"
"""Ends an answer: the document has each on one line."""
_LONGEST_EXAMPLE_CHARACTERS = 60


def choose_examples(prompts: Sequence[Prompt], count: int, seed: int) -> list[Prompt]:
    """`count` of the `prompts` that quote no opening and have a short reference, so that the document leaves room.

    Raises:
        InvalidArgument: there are fewer.
    """
    short = [
        prompt for prompt in prompts if not prompt.opening and len(prompt.messages) == 1 and _is_short(prompt.reference)
    ]
    if len(short) < count:
        raise InvalidArgument(f"{count} examples are needed and {len(short)} are short enough; lower few_shot_examples")
    return [short[i] for i in permutation(len(short), seed, "few-shot")[:count]]


def few_shot_document(examples: Sequence[Prompt], question: str) -> str:
    """The examples as `Question:` and `Answer:` lines, then `question` and an open answer."""
    shown = "".join(f"Question: {prompt.text}\nAnswer: {(prompt.reference or '').strip()}\n\n" for prompt in examples)
    return f"{shown}Question: {question}\nAnswer:"


def _is_short(reference: str | None) -> bool:
    return reference is not None and len(reference) <= _LONGEST_EXAMPLE_CHARACTERS
