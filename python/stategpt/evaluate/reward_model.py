"""Measures the reward model: pair accuracy on test prompts, next to a baseline that sees only lengths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stategpt.artifacts import read_lines
from stategpt.config import RunConfig
from stategpt.data import RankedGroup, Rankings
from stategpt.data.ranking_ids import CompletionIds
from stategpt.errors import RankingError
from stategpt.evaluate.records import RankedExample, RewardEvaluation, ScoredCompletion
from stategpt.evaluate.reward_quality import LengthBaseline, ScoredPairs, length_correlation, reward_quality
from stategpt.evaluate.reward_scorer import RewardScorer
from stategpt.json_reader import Items, Optional, Real, Record, Text, check_value
from stategpt.shown_fields import documented, short_repr
from stategpt.tokenizer import AnyTokenizer

Scores = NDArray[np.float32]
_RANKED = Record(
    {
        "id": Text(),
        "completions": Items(Record({"score": Optional(Real(-1e39, 1e39), math.nan)}), min_items=1),
        "meta": Record({"group": Text()}),
    }
)
"""What is read of a ranking record of the run beyond what is trained on."""


@documented
@dataclass(frozen=True)
class RankedPairs:
    """Every clear pair of a rankings file, as indices into all its completions in file order."""

    groups: Sequence[RankedGroup]
    """The ranked groups, in file order."""
    winners: NDArray[np.int64]
    """int64[pairs], the better completion of each pair."""
    losers: NDArray[np.int64]
    """int64[pairs], the worse one."""
    clusters: list[str]
    """Group of each pair's prompt: what the bootstrap resamples."""
    margins: NDArray[np.float64]
    """The scorer's score, winner minus loser; NaN where people ranked."""
    lengths: NDArray[np.float64]
    """Characters of each completion."""

    __repr__ = short_repr

    @classmethod
    def read(cls, path: Path) -> RankedPairs:
        """From a published rankings file; what is not trained on (points, group) comes from the records themselves.

        Raises:
            RankingError: no pair is clear, so that there is nothing to be right about; or a record has no points.
        """
        read = Rankings.read(path)
        groups = read.groups
        records = {record.get("id"): record for record in read_lines(path) if isinstance(record.get("id"), str)}
        winners: list[int] = []
        losers: list[int] = []
        clusters: list[str] = []
        margins: list[float] = []
        lengths: list[int] = []
        for group in groups:
            where = f"{path}: record {group.id!r}"
            record = check_value(records[group.id], _RANKED, where=where, error=RankingError)
            if len(record["completions"]) != len(group.completions):
                raise RankingError(f"{where} appears twice, with other completions; remove one")
            points = [completion["score"] for completion in record["completions"]]
            for winner, loser in group.pairs.tolist():
                winners.append(len(lengths) + winner)
                losers.append(len(lengths) + loser)
                clusters.append(record["meta"]["group"])
                margins.append(points[winner] - points[loser])
            lengths += [len(text) for text in group.completions]
        if not winners:
            raise RankingError(
                f"{path}: no clear pair in {len(groups)} groups of {len(lengths)} completions, {len(read.rejected)} "
                "records rejected: ranks are equal, or points fewer than rankings.tie_below apart. Lower "
                "rankings.tie_below, raise sampling.temperature, or rank more prompts (rankings.train_prompts, "
                "rankings.test_prompts)."
            )
        return cls(
            groups,
            np.array(winners, dtype=np.int64),
            np.array(losers, dtype=np.int64),
            clusters,
            np.array(margins, dtype=np.float64),
            np.array(lengths, dtype=np.float64),
        )


def evaluate_reward(
    scorer: RewardScorer,
    tok: AnyTokenizer,
    train: RankedPairs,
    held_out: RankedPairs,
    demonstrations: Scores,
    run: RunConfig,
) -> RewardEvaluation:
    """Measures the reward model on held-out pairs. `demonstrations`: shifted rewards of the written answers.

    Accuracy is that of prompts with a clear pair, the easier ones; how many have none is recorded too. The correlation
    with length is that of all completions, each once, within prompts.
    """
    scores = score_groups(scorer, tok, held_out.groups)
    prompt_of_each = np.repeat(np.arange(len(held_out.groups)), [len(group.completions) for group in held_out.groups])
    scored = ScoredPairs(
        winner_score=scores[held_out.winners],
        loser_score=scores[held_out.losers],
        winner_length=held_out.lengths[held_out.winners],
        loser_length=held_out.lengths[held_out.losers],
        clusters=held_out.clusters,
        score_margin=None if np.isnan(held_out.margins).any() else held_out.margins,
    )
    baseline = LengthBaseline.fit(train.lengths[train.winners], train.lengths[train.losers])
    quality = reward_quality(scored, baseline, run.evaluate.seed, run.evaluate.bootstrap_resamples)
    return replace(
        quality,
        prompts=len(held_out.groups),
        prompts_with_pairs=sum(len(group.pairs) > 0 for group in held_out.groups),
        length_correlation=length_correlation(scores, held_out.lengths, groups=prompt_of_each),
        rewards={"demonstrations": _rounded(demonstrations), "sft": _rounded(scores)},
        demonstrations_mean=float(demonstrations.mean(dtype=np.float64)) if len(demonstrations) else None,
        reward_offset=scorer.model.reward_offset,
        example=_example(held_out.groups, scores),
    )


def _example(groups: Sequence[RankedGroup], rewards: Scores) -> RankedExample:
    """The first of the groups with most clear pairs, with the reward of each completion."""
    starts = np.cumsum([0] + [len(group.completions) for group in groups])
    number = max(range(len(groups)), key=lambda i: (len(groups[i].pairs), -i))
    group = groups[number]
    return RankedExample(
        prompt=group.question,
        completions=tuple(
            ScoredCompletion(text, rank, ended, reward=float(reward))
            for text, rank, ended, reward in zip(
                group.completions, group.ranks, group.ended, rewards[starts[number] :][: len(group.ranks)], strict=True
            )
        ),
        pairs=tuple((winner, loser) for winner, loser in group.pairs.tolist()),
    )


def score_groups(scorer: RewardScorer, tok: AnyTokenizer, groups: Sequence[RankedGroup]) -> Scores:
    """Reward of every completion of every group, in file order; of the ids as sampled where the file has them.

    Raises `ForeignArtifact` and `RankingError` as `CompletionIds.of`.
    """
    completion_ids = CompletionIds(tok, scorer.chat)
    prompts, completions = [], []
    for group in groups:
        ids = completion_ids.of(group)
        prompts += [scorer.chat.prompt(group.prompt)] * len(ids)
        completions += ids
    return scorer.scores(prompts, completions)


def _rounded(rewards: Scores) -> tuple[float, ...]:
    return tuple(round(float(reward), 4) for reward in rewards)
