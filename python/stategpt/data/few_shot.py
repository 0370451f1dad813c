"""The base model as an assistant: a document of questions and answers that ends where the next answer begins.

A base model continues documents. Show it one in which questions are answered and it answers the last question (Brown et
al. 2020, arXiv 2005.14165, section 2.1; the talk's "trick the base model into being an assistant").
"""

from __future__ import annotations

from collections.abc import Sequence

from stategpt.data.sources.python_library import Pair
from stategpt.errors import InvalidArgument
from stategpt.randomness import permutation

STOP = "\n"
"""Where an answer ends: the document puts each on one line."""
_LONGEST_EXAMPLE_CHARACTERS = 60


def choose_examples(pairs: Sequence[Pair], count: int, seed: int) -> list[Pair]:
    """`count` short examples drawn from `pairs`, of kind "what"; short, so that the document leaves room to answer."""
    short = [pair for pair in pairs if pair.kind == "what" and len(pair.response) <= _LONGEST_EXAMPLE_CHARACTERS]
    if len(short) < count:
        raise InvalidArgument(f"{count} examples asked for and {len(short)} short ones there; lower few_shot_examples")
    return [short[i] for i in permutation(len(short), seed, "few-shot")[:count]]


def few_shot_document(examples: Sequence[Pair], question: str) -> str:
    """The examples as `Question:` and `Answer:` lines, then `question` and an open answer."""
    shown = "".join(f"Question: {pair.prompt}\nAnswer: {pair.response.strip()}\n\n" for pair in examples)
    return f"{shown}Question: {question}\nAnswer:"
