"""What formats of preferences share: a checked ranked group, prompts in turns, and ranks by score.

Codes of rejections, beside those of `Rankings` and of `data.formats.conversations`:

    no_score           a completion without a usable score
    different_prompts  two dialogues that differ before their last answer, or from the prompt
    no_assistant_turn  a dialogue without an answer
    unknown_winner     a vote for none of the sides
    one_completion     a prompt with one completion: nothing to compare
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from stategpt.data.corpus_rows import message_row
from stategpt.data.formats.conversations import group_in, system_of
from stategpt.data.lines import BadLine, is_unicode, json_type
from stategpt.data.ranked_group import RankedGroup, Vote
from stategpt.data.ranking_dialogues import as_prompt
from stategpt.data.rankings import Rankings
from stategpt.data.records import Message, Place

_MAX_COMPLETIONS = 16
_MAX_CHARACTERS = 1 << 20
"""Up to this many characters a record is surely below the limit of a line, however they are spelled."""


class ScoredAnswer(NamedTuple):
    """One completion of a prompt with a score; records of one prompt are ranked together.

    Attributes:
        prompt: messages that it answers.
        text: the completion.
        score: its score; more is better.
        group: unit of splits.
        where: its place.
    """

    prompt: tuple[Message, ...]
    text: str
    score: float
    group: str
    where: Place


def ranked_group(
    record: Mapping[str, Any],
    where: Place,
    prompt: Sequence[Message],
    completions: Sequence[str],
    ranks: Sequence[int],
    annotator: str = "",
) -> RankedGroup:
    """A checked group of `completions`, with the record's `system` and `group`.

    Raises:
        BadLine: a code of `Rankings`, e.g. `equal_completions_ranked_apart`.
    """
    messages = (*system_of(record, prompt), *prompt)
    group = group_in(record, messages)
    asked = as_prompt(messages)
    found = _plain_group(where, messages, asked, completions, ranks, group)
    if found is None:
        row: dict[str, Any] = {
            "id": place_name(where),
            "messages": [message_row(message) for message in messages],
            "completions": [{"text": text, "rank": rank} for text, rank in zip(completions, ranks, strict=True)],
            "group": group,
        }
        found = group_of_record(row, where)
    return replace(found, votes=(Vote(annotator, tuple(ranks)),)) if annotator else found


def _plain_group(
    where: Place,
    messages: Sequence[Message],
    asked: str | tuple[Message, ...],
    completions: Sequence[str],
    ranks: Sequence[int],
    group: str,
) -> RankedGroup | None:
    """The group that `Rankings` would make of an ordinary record, without writing and reading JSON, or None."""
    name = place_name(where)
    texts = [name, *(message.content for message in messages), *completions]
    if (
        not 2 <= len(completions) <= _MAX_COMPLETIONS
        or len(set(completions)) != len(completions)
        or any(type(rank) is not int or not 1 <= rank < 2**31 for rank in ranks)
        or any(message.tool_calls for message in messages)
        or sum(map(len, texts)) > _MAX_CHARACTERS
        or not all(text.isascii() or is_unicode(text) for text in texts)
    ):
        return None
    places = range(len(ranks))
    pairs = [(better, worse) for better in places for worse in places if ranks[better] < ranks[worse]]
    return RankedGroup(
        id=name,
        prompt=asked,
        completions=tuple(completions),
        ranks=tuple(ranks),
        ended=(True,) * len(completions),
        pairs=np.array(pairs, np.int32).reshape(-1, 2),
        line=where.line,
        byte_offset=where.byte_offset,
        group=group,
        file=where.file,
    )


def group_of_record(row: dict[str, Any], where: Place) -> RankedGroup:
    """The group of a record as `Rankings` reads it. Raises BadLine."""
    found = Rankings.read([row])
    if found.rejected:
        raise BadLine(found.rejected[0].code, found.rejected[0].message)
    return replace(found.groups[0], line=where.line, byte_offset=where.byte_offset, file=where.file)


def place_name(where: Place) -> str:
    """An id for a record that has none."""
    return f"{where.file}:{where.line}"


def ranks_by_score(scores: Sequence[float]) -> list[int]:
    """Ranks from 1, the highest score; equal scores are a tie, and the next rank is that of its place (1, 1, 3)."""
    return [1 + sum(other > score for other in scores) for score in scores]


def score_of(value: object, path: str) -> float:
    """A finite score: a number, or its digits as a string. Raises BadLine, `no_score`."""
    try:
        score = math.nan if isinstance(value, bool) or not isinstance(value, int | float | str) else float(value)
    except (ValueError, OverflowError):
        score = math.nan
    if not math.isfinite(score):
        shown = f"{value!r:.40}" if isinstance(value, int | float | str) else json_type(value)
        raise BadLine("no_score", f"{path} is {shown}, expected a finite number")
    return score


def turns(text: str, start: str, human: str, assistant: str) -> tuple[Message, ...]:
    """A dialogue in one text, cut at its headings; text before the first heading is a system message.

    Args:
        text: the dialogue.
        start: regular expression of what all headings begin with. Plain characters are found fast.
        human: the rest of the heading before what the user says.
        assistant: the rest of that before what the assistant says.
    """
    pieces = re.split(f"{start}(?:({human})|({assistant}))", text)
    messages = [Message("system", pieces[0].strip())] if pieces[0].strip() else []
    for at in range(1, len(pieces), 3):
        role, content = "user" if pieces[at] is not None else "assistant", pieces[at + 2].strip()
        messages.append(Message(role, content, trained=False))  # type: ignore[arg-type]
    return tuple(messages)
