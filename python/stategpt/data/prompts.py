"""Which prompts of a corpus are completed: those given for the purpose, else of the conversations, else of rankings."""

from __future__ import annotations

from typing import Literal

from stategpt.data.corpus import Corpus, Side
from stategpt.data.rankings import RankedGroup
from stategpt.data.records import Prompt

Purpose = Literal["rankings", "rl", "evaluate"]


def prompts_of(corpus: Corpus, purpose: Purpose, side: Side) -> list[Prompt]:
    """The prompts of one side of the split, in order.

    Prompts that are given for the purpose are taken where that side has any; then those before the last answers of the
    conversations; then those of people's rankings, each once.
    """
    given = corpus.prompts.get(purpose, {}).get(side, [])
    if given:
        return list(given)
    if corpus.conversations[side]:
        return [conversation.prompt() for conversation in corpus.conversations[side]]
    return _ranked(corpus.rankings.get(side, []))


def _ranked(groups: list[RankedGroup]) -> list[Prompt]:
    """The prompts of ranked groups, each once; people's best answer is no reference."""
    found: dict[object, Prompt] = {}
    for group in groups:
        found.setdefault(group.prompt, prompt_of(group))
    return list(found.values())


def prompt_of(group: RankedGroup) -> Prompt:
    """The prompt of a ranked group as a record."""
    if isinstance(group.prompt, str):
        return Prompt.of(group.prompt, group=getattr(group, "group", "") or group.prompt)
    return Prompt(tuple(group.prompt), group=getattr(group, "group", ""))
