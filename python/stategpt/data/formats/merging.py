"""Records on the same completions become one group with the order of each annotator; scored completions a ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from stategpt.data.formats.judgments import ScoredAnswer, ranked_group, ranks_by_score
from stategpt.data.lines import BadLine
from stategpt.data.ranked_group import RankedGroup, Vote
from stategpt.data.ranking_dialogues import decided_by
from stategpt.data.records import Message, Place
from stategpt.data.rejections import Rejection, Tally


@dataclass
class _Judged:
    """A group and the votes on it so far; only rankings with one order can be merged."""

    group: RankedGroup
    votes: list[Vote]
    records: int = 1


@dataclass
class _Scored:
    """The scored completions of one prompt, in order."""

    answers: list[ScoredAnswer] = field(default_factory=list)


class Judgments:
    """Collects ranked groups; `groups` gives them in the order of their first records."""

    def __init__(self) -> None:
        self._judged: dict[Any, _Judged | _Scored] = {}
        self._ids: dict[str, Place] = {}

    def add(self, group: RankedGroup, where: Place, counts_votes: bool, tally: Tally) -> None:
        """Adds the group of one record, and counts the record.

        Args:
            group: what was read.
            where: its place.
            counts_votes: whether equal orders without an annotator are of several people.
            tally: counts it as kept, or as a copy.
        """
        key = _key(group)
        before = self._judged.get(key)
        if isinstance(before, _Judged):
            votes = [_in_order(vote, group.completions, before.group.completions) for vote in _votes(group)]
            new = [vote for vote in votes if vote not in before.votes or (counts_votes and not vote.annotator)]
            if not new:
                tally.drop_duplicate()
                return
            before.votes += new
            before.records += 1
        else:
            self._judged[key] = _Judged(self._with_own_id(group, where), list(_votes(group)))
        tally.keep()

    def add_part(self, answer: ScoredAnswer, tally: Tally) -> None:
        """Adds one scored completion; it is counted as kept by `groups`, and as a copy here."""
        key = ("scored", _spelled(answer.prompt))
        scored = self._judged.setdefault(key, _Scored())
        assert isinstance(scored, _Scored)
        if any((answer.text, answer.score) == (other.text, other.score) for other in scored.answers):
            tally.drop_duplicate()
            return
        scored.answers.append(answer)

    def groups(self, tally: Tally) -> list[RankedGroup]:
        """The groups; completions that cannot be ranked are counted as rejected."""
        found = []
        for judged in self._judged.values():
            if isinstance(judged, _Judged):
                found.append(_decided(judged))
                continue
            first = judged.answers[0]
            try:
                group = _ranked(judged.answers)
            except BadLine as bad:
                for answer in judged.answers:
                    tally.reject(Rejection(answer.where, bad.code, bad.message))
                continue
            for _ in judged.answers:
                tally.keep()
            found.append(self._with_own_id(group, first.where))
        return found

    def _with_own_id(self, group: RankedGroup, where: Place) -> RankedGroup:
        """The group with an id that no other file's group has. Raises BadLine for an id twice in one file."""
        first = self._ids.get(group.id)
        if first is None:
            self._ids[group.id] = where
            return group
        if first.file == where.file:
            raise BadLine("duplicate_id", f"the id was used on line {first.line}; ids are unique in a file")
        return self._with_own_id(replace(group, id=f"{where.file}:{group.id}"), where)


def _key(group: RankedGroup) -> Any:
    """Equal for groups on the same completions of one prompt; unique where orders cannot be compared or merged."""
    prompt = _spelled(group.prompt)
    distinct = len(set(group.completions)) == len(group.completions)
    plain = all(group.ended) and not group.token_ids and (group.votes or _implied(group))
    if distinct and plain:
        return "set", prompt, tuple(sorted(group.completions))
    return "list", prompt, group.id, group.file


def _implied(group: RankedGroup) -> bool:
    """Whether the pairs are those of the ranks."""
    return len(group.pairs) == sum(better < worse for better in group.ranks for worse in group.ranks)


def _spelled(prompt: str | Sequence[Message]) -> Any:
    return prompt if isinstance(prompt, str) else tuple((message.role, message.text) for message in prompt)


def _votes(group: RankedGroup) -> tuple[Vote, ...]:
    return group.votes or (Vote("", group.ranks),)


def _in_order(vote: Vote, completions: Sequence[str], wanted: Sequence[str]) -> Vote:
    """The vote on the same completions in another order."""
    rank_of = dict(zip(completions, vote.ranks, strict=True))
    return Vote(vote.annotator, tuple(rank_of[text] for text in wanted))


def _decided(judged: _Judged) -> RankedGroup:
    if len(judged.votes) == 1 and judged.records == 1:
        return judged.group
    return decided_by(judged.votes, judged.group)


def _ranked(answers: Sequence[ScoredAnswer]) -> RankedGroup:
    """The ranking of the scored completions of one prompt. Raises BadLine."""
    if len(answers) < 2:
        raise BadLine("one_completion", "the prompt has one response; records of one prompt are ranked together")
    first = answers[0]
    ranks = ranks_by_score([answer.score for answer in answers])
    record = {"group": first.group}
    return ranked_group(record, first.where, first.prompt, [answer.text for answer in answers], ranks)
