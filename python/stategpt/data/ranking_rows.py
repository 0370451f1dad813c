"""Ranked completions as records of JSON, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stategpt.data.corpus_rows import message_row
from stategpt.data.rankings import RankedGroup, Rankings
from stategpt.data.records import Message
from stategpt.errors import CorruptArtifact


def ranking_row(group: RankedGroup) -> dict[str, Any]:
    """A group as the record that `Rankings.read` reads back equal, but for its place in the file."""
    completions = []
    for place, text in enumerate(group.completions):
        completion: dict[str, Any] = {"text": text, "rank": group.ranks[place], "ended": group.ended[place]}
        ids = group.token_ids[place] if group.token_ids else None
        completions.append(completion if ids is None else completion | {"ids": ids.tolist()})
    row: dict[str, Any] = {"id": group.id, **_prompt_row(group.prompt), "completions": completions}
    if group.group:
        row["group"] = group.group
    stated = group.pairs.tolist()
    if group.votes:
        row["votes"] = [{"annotator": vote.annotator, "ranks": list(vote.ranks)} for vote in group.votes]
    elif sorted(stated) != _implied(group.ranks):
        row["pairs"] = stated
    return row | ({"tokenizer": group.tokenizer} if group.tokenizer is not None else {})


def read_rankings(path: Path) -> list[RankedGroup]:
    """The groups of a file that `ranking_row` wrote.

    Raises:
        CorruptArtifact: a line is no such record.
    """
    found = Rankings.read(path)
    if found.rejected:
        raise CorruptArtifact(f"{path}: {found.rejected[0]}. Restore the file from a copy.")
    return list(found.groups)


def _prompt_row(prompt: str | tuple[Message, ...]) -> dict[str, Any]:
    if isinstance(prompt, str):
        return {"prompt": prompt}
    return {"messages": [message_row(message) for message in prompt]}


def _implied(ranks: tuple[int, ...]) -> list[list[int]]:
    """The pairs (winner, loser) that ranks imply, sorted."""
    places = range(len(ranks))
    return sorted([winner, loser] for winner in places for loser in places if ranks[winner] < ranks[loser])
