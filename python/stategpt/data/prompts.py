"""Which prompts of a corpus are completed: those given for the purpose, else of the conversations, else of rankings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from stategpt.data.groups import group_of
from stategpt.data.ranked_group import RankedGroup
from stategpt.data.records import Conversation, Prompt
from stategpt.data.splitting import Side

Purpose = Literal["rankings", "rl", "evaluate"]
_OTHERS: tuple[Purpose, ...] = ("rl", "rankings")


class Records(Protocol):
    """What has conversations, rankings and prompts by side: a corpus, or what it is made from."""

    @property
    def conversations(self) -> Mapping[Side, list[Conversation]]:
        """Conversations."""

    @property
    def rankings(self) -> Mapping[Side, list[RankedGroup]]:
        """People's rankings."""

    @property
    def prompts(self) -> Mapping[str, Mapping[Side, list[Prompt]]]:
        """Prompts, by what they are for."""


def prompts_of(corpus: Records, purpose: Purpose, side: Side) -> list[Prompt]:
    """The prompts of one side of the split, in order.

    The first of these that the side has any of: prompts given for the purpose; those before the last answers of the
    conversations; prompts given for another purpose, but never those of the evaluation; those of people's rankings.
    """
    if given := corpus.prompts.get(purpose, {}).get(side):
        return list(given)
    if corpus.conversations[side]:
        return [conversation.prompt() for conversation in corpus.conversations[side]]
    for other in _OTHERS:
        if given := corpus.prompts.get(other, {}).get(side):
            return list(given)
    return _ranked(corpus.rankings.get(side, []))


def _ranked(groups: list[RankedGroup]) -> list[Prompt]:
    """The prompts of ranked groups, each once; people's best answer is no reference."""
    found: dict[object, Prompt] = {}
    for group in groups:
        found.setdefault(group.prompt, prompt_of(group))
    return list(found.values())


def prompt_of(group: RankedGroup) -> Prompt:
    """The prompt of a ranked group as a record."""
    return Prompt(group.messages, group=group_of(group))
