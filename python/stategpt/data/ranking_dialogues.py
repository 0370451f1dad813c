"""Ranking records with a dialogue for a prompt, a group, or the votes of several annotators.

    {"id": "9", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}],
     "completions": [{"text": "Because."}, {"text": "Rain."}], "group": "page 4",
     "votes": [{"annotator": "ann", "ranks": [1, 2]}, {"annotator": "bob", "ranks": [1, null]}]}

Votes are never averaged into one order. `majority` takes each pair of completions by itself: more annotators prefer the
one, or the other, or neither. A majority may prefer a to b, b to c and c to a; then the three pairs are kept, and the
three completions have one rank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .lines import BadLine, json_type, require_unicode
from .message_records import messages_of
from .ranked_group import RankedGroup, Vote
from .records import Message, Prompt

EXTENDED_FIELDS = frozenset({"messages", "group", "votes"})
"""Fields that the compiled reader of rankings does not know."""
_MAX_COMPLETIONS = 16
_STANDS_FOR_DIALOGUE = "messages"


def extended_record(row: Mapping[str, Any]) -> tuple[dict[str, Any], Callable[[RankedGroup], RankedGroup]]:
    """The record without its `EXTENDED_FIELDS`, and what puts them into the group that is read from the rest.

    Raises:
        BadLine: `ambiguous_prompt`, `wrong_role`, `wrong_type`, `unknown_rank`, or a fault of a message.
    """
    plain = {key: value for key, value in row.items() if key not in EXTENDED_FIELDS}
    prompt: str | tuple[Message, ...] | None = None
    if "messages" in row:
        if "prompt" in row:
            raise BadLine("ambiguous_prompt", "the record has prompt and messages; give one of them")
        prompt = as_prompt(messages_of(row["messages"], "messages"))
        plain["prompt"] = prompt if isinstance(prompt, str) else _STANDS_FOR_DIALOGUE
    group = row.get("group", "")
    if not isinstance(group, str):
        raise BadLine("wrong_type", f"group is {json_type(group)}, expected a string")
    require_unicode(group, "group")
    votes: tuple[Vote, ...] = ()
    if "votes" in row:
        completions = row.get("completions")
        votes = _votes(row["votes"], len(completions) if isinstance(completions, list) else 0)
        plain = _ranked_by(plain, votes)

    def restore(found: RankedGroup) -> RankedGroup:
        """The group with what the compiled reader did not see."""
        found = replace(found, prompt=found.prompt if prompt is None else prompt, group=group)
        return decided_by(votes, found) if votes else found

    return plain, restore


def as_prompt(messages: Sequence[Message]) -> str | tuple[Message, ...]:
    """The prompt of a ranked group: the text of a single user message, or the messages.

    Raises:
        BadLine: `wrong_role` where the last message is neither the user's nor a tool's, or `empty_prompt`.
    """
    last = messages[-1]
    if last.role not in ("user", "tool"):
        raise BadLine("wrong_role", f"the last message of the prompt is from the {last.role}, expected the user")
    if not last.content.strip():
        raise BadLine("empty_prompt", "the last message of the prompt is empty")
    if len(messages) == 1 and last.role == "user":
        return last.content
    return Prompt(
        tuple(replace(message, trained=False) if message.trained else message for message in messages)
    ).messages


def majority(votes: Sequence[Vote], completions: int) -> tuple[list[int], list[list[int]]]:
    """Ranks and pairs (winner, loser) of what more annotators prefer than not, pair by pair.

    No pair is against the ranks: completions that a cycle of majorities connects have one rank.
    """
    wins = preference_counts(votes, completions)
    beats = wins > wins.T
    reaches = beats.copy()
    for middle in range(completions):  # transitive closure (Warshall)
        reaches |= reaches[:, [middle]] & reaches[[middle], :]
    above = reaches & ~reaches.T
    ranks = [1] * completions
    for place in np.argsort(above.sum(axis=0), kind="stable"):  # those with fewer above them come first
        ranks[place] = 1 + max((ranks[other] for other in np.flatnonzero(above[:, place])), default=0)
    return ranks, [[int(winner), int(loser)] for winner, loser in np.argwhere(beats)]


def decided_by(votes: Sequence[Vote], group: RankedGroup) -> RankedGroup:
    """The group with these votes, and the ranks and pairs of their majorities."""
    ranks, pairs = majority(votes, len(group.completions))
    return replace(group, ranks=tuple(ranks), pairs=np.array(pairs, dtype=np.int32).reshape(-1, 2), votes=tuple(votes))


def preference_counts(votes: Sequence[Vote], completions: int) -> npt.NDArray[np.int64]:
    """How many annotators prefer completion i to completion j: int64[K, K]."""
    wins = np.zeros((completions, completions), dtype=np.int64)
    for vote in votes:
        for i, better in enumerate(vote.ranks):
            for j, worse in enumerate(vote.ranks):
                wins[i, j] += better is not None and worse is not None and better < worse
    return wins


def _ranked_by(plain: Mapping[str, Any], votes: Sequence[Vote]) -> dict[str, Any]:
    """The record with the ranks of its votes; ranks that it has are replaced."""
    if "pairs" in plain:
        raise BadLine("contradicting_pairs", "the record has votes and pairs; give one of them")
    completions = plain["completions"]
    if not all(isinstance(completion, dict) for completion in completions):
        return dict(plain)  # the compiled reader names the fault
    ranks, _ = majority(votes, len(completions))
    ranked = [{**completion, "rank": rank} for completion, rank in zip(completions, ranks, strict=True)]
    return {**plain, "completions": ranked}


def _votes(value: object, completions: int) -> tuple[Vote, ...]:
    if not isinstance(value, list) or not value:
        raise BadLine("wrong_type", "votes is no list of votes, or an empty one")
    if not 2 <= completions <= _MAX_COMPLETIONS:
        code = "one_completion" if completions < 2 else "too_many_completions"
        raise BadLine(code, f"votes are on 2 to {_MAX_COMPLETIONS} completions; the record has {completions}")
    return tuple(_vote(item, f"votes[{number}]", completions) for number, item in enumerate(value))


def _vote(value: object, path: str, completions: int) -> Vote:
    if not isinstance(value, dict) or not {"ranks"} <= value.keys() <= {"annotator", "ranks"}:
        raise BadLine("wrong_type", f"{path} must be an object with ranks and annotator only")
    annotator, ranks = value.get("annotator", ""), value["ranks"]
    if not isinstance(annotator, str):
        raise BadLine("wrong_type", f"{path}.annotator is {json_type(annotator)}, expected a string")
    if not isinstance(ranks, list) or len(ranks) != completions:
        raise BadLine("unknown_rank", f"{path}.ranks must be a list of {completions} ranks, one for each completion")
    if any(rank is not None and (type(rank) is not int or not 1 <= rank < 2**31) for rank in ranks):
        raise BadLine("unknown_rank", f"{path}.ranks must hold whole numbers from 1, or null where nothing was judged")
    return Vote(require_unicode(annotator, path), tuple(ranks))
