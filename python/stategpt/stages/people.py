"""People's rankings as the records of the stage `rankings`: published as they were read, with the group of each.

Where a judge decides wins (`RunConfig.trains_judge`), the training groups are divided by a hash of their name: one part
trains the reward model that RL maximizes, the other the judge, so that the two share no prompt and no group. RL trains
on no prompt of the judge's groups either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from stategpt.config import RunConfig
from stategpt.config.run import JUDGE
from stategpt.data import ChatTemplate
from stategpt.data.agreement import measure_agreement
from stategpt.data.corpus import Corpus, Side
from stategpt.data.groups import group_of
from stategpt.data.ranking_rows import ranking_row
from stategpt.data.rankings import RankedGroup
from stategpt.data.records import Prompt
from stategpt.errors import RankingError
from stategpt.evaluate.ranked_fit import equal_pairs
from stategpt.evaluate.records import AnnotatorAgreement, RankedExample, RankingsEvaluation, ScoredCompletion
from stategpt.randomness import bits

RANKED_SIDES: tuple[Side, ...] = ("train", "test")
"""Sides that are published: what the reward model learns from, and what it is judged by."""
_MOST_SHOWN = 26


def people_records(corpus: Corpus, run: RunConfig) -> dict[str, list[dict[str, Any]]]:
    """The ranking records of training and test groups, and with a judge those that only it learns from ("judge").

    Raises:
        RankingError: a judge is to be trained, and only one training group has a clear preference.
    """
    return {name: [_row(group) for group in groups] for name, groups in ranked_by_people(corpus, run).items()}


def ranked_by_people(corpus: Corpus, run: RunConfig) -> dict[str, list[RankedGroup]]:
    """The same as groups. Raises as `people_records`."""
    found: dict[str, list[RankedGroup]] = {side: list(corpus.rankings.get(side, [])) for side in RANKED_SIDES}
    if run.trains_judge:
        for_judge = judge_groups(found["train"], run.rankings.judge_share, run.seed)
        found[JUDGE] = [group for group in found["train"] if group_of(group) in for_judge]
        found["train"] = [group for group in found["train"] if group_of(group) not in for_judge]
    return found


def judge_groups(groups: Sequence[RankedGroup], share: float, seed: int) -> set[str]:
    """Names of the groups that train the judge: `share` of those with a clear preference, at least one, and one left.

    By the rank of a keyed hash, so that the order of the records decides nothing.

    Raises:
        RankingError: fewer than two groups have a clear preference.
    """
    clear = {group_of(group) for group in groups if len(group.pairs)}
    if len(clear) < 2:
        raise RankingError(
            f"{len(clear)} training group of people's rankings has a clear preference; the judge of the comparison is "
            "trained on other groups than the reward model, so it takes two. Give more rankings, or set evaluate.scorer"
        )
    ranked = sorted(clear, key=lambda name: (int(bits(seed, "judge groups", name)), name))
    return set(ranked[: min(max(round(share * len(ranked)), 1), len(ranked) - 1)])


def prompts_apart_from_judge(prompts: Sequence[Prompt], corpus: Corpus, run: RunConfig) -> list[Prompt]:
    """The prompts whose groups the judge does not learn from: RL must not improve what the judge has memorized."""
    if not run.trains_judge:
        return list(prompts)
    judged = {group_of(group) for group in ranked_by_people(corpus, run)[JUDGE]}
    return [prompt for prompt in prompts if group_of(prompt) not in judged]


def _row(group: RankedGroup) -> dict[str, Any]:
    row = ranking_row(group)
    return row | {"meta": {**row.get("meta", {}), "group": group_of(group)}}


def describe_people(corpus: Corpus, run: RunConfig, chat: ChatTemplate) -> RankingsEvaluation:
    """Counts of what people ranked, and one typical group. `chat` tells which completions are the same tokens."""
    sides = ranked_by_people(corpus, run)
    train = sides["train"]
    every = [group for groups in sides.values() for group in groups]
    return RankingsEvaluation(
        groups=len(train),
        test_groups=len(sides["test"]),
        pairs=sum(len(group.pairs) for group in train),
        ties=sum(group.ties for group in train),
        without_clear_pair={side: sum(not len(group.pairs) for group in groups) for side, groups in sides.items()},
        rejected=0,
        judge_groups=len(sides[JUDGE]) if JUDGE in sides else None,
        equal_pairs=equal_pairs(every, chat.tok, chat),
        agreement=_agreement(every),
        example=_example(max(train, key=lambda group: len(group.pairs))) if train else None,
    )


def _agreement(groups: Sequence[RankedGroup]) -> AnnotatorAgreement | None:
    """How far the annotators agree; None where no pair was compared twice."""
    found = measure_agreement(groups)
    names = (field.name for field in fields(AnnotatorAgreement))
    return AnnotatorAgreement(**{name: getattr(found, name) for name in names}) if found.pairs else None


def _example(group: RankedGroup) -> RankedExample:
    shown = zip(group.completions, group.ranks, group.ended, strict=True)
    return RankedExample(
        prompt=group.question,
        completions=tuple(ScoredCompletion(text, rank, ended) for text, rank, ended in shown)[:_MOST_SHOWN],
        pairs=tuple((int(winner), int(loser)) for winner, loser in group.pairs),
    )
