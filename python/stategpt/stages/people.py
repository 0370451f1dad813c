"""People's rankings as the records of the stage `rankings`: published as they were read, with the group of each."""

from __future__ import annotations

from typing import Any

from stategpt.data.corpus import Corpus, Side
from stategpt.data.ranking_rows import ranking_row
from stategpt.data.rankings import RankedGroup
from stategpt.data.user_corpus import group_of
from stategpt.evaluate.records import RankedExample, RankingsEvaluation, ScoredCompletion

RANKED_SIDES: tuple[Side, ...] = ("train", "test")
"""Sides that are published: what the reward model learns from, and what it is judged by."""
_MOST_SHOWN = 26


def people_records(corpus: Corpus) -> dict[Side, list[dict[str, Any]]]:
    """The ranking records of training and test groups; the validation side is read from the corpus where it is used."""
    return {side: [_row(group) for group in corpus.rankings.get(side, [])] for side in RANKED_SIDES}


def _row(group: RankedGroup) -> dict[str, Any]:
    row = ranking_row(group)
    return row | {"meta": {**row.get("meta", {}), "group": group_of(group)}}


def describe_people(corpus: Corpus) -> RankingsEvaluation:
    """Counts of what people ranked, and one typical group."""
    sides = {side: corpus.rankings.get(side, []) for side in RANKED_SIDES}
    train = sides["train"]
    return RankingsEvaluation(
        groups=len(train),
        test_groups=len(sides["test"]),
        pairs=sum(len(group.pairs) for group in train),
        ties=sum(group.ties for group in train),
        without_clear_pair={side: sum(not len(group.pairs) for group in groups) for side, groups in sides.items()},
        rejected=0,
        example=_example(max(train, key=lambda group: len(group.pairs))) if train else None,
    )


def _example(group: RankedGroup) -> RankedExample:
    shown = zip(group.completions, group.ranks, group.ended, strict=True)
    prompt = group.prompt if isinstance(group.prompt, str) else group.prompt[-1].content
    return RankedExample(
        prompt=prompt,
        completions=tuple(ScoredCompletion(text, rank, ended) for text, rank, ended in shown)[:_MOST_SHOWN],
        pairs=tuple((int(winner), int(loser)) for winner, loser in group.pairs),
    )
