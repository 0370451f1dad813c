"""How good the reward model is: pair accuracy on held-out prompts, beside a baseline that sees only lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stategpt.artifacts import read_lines
from stategpt.config import Run
from stategpt.data import AnyTokenizer, Group, Rankings, chat_prompt
from stategpt.evaluate.reward_quality import LengthBaseline, ScoredPairs, reward_quality
from stategpt.evaluate.reward_scorer import RewardScorer

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class RankedPairs:
    """Every clear pair of a rankings file, as indices into all its completions in file order."""

    groups: Sequence[Group]
    winners: NDArray[np.int64]
    losers: NDArray[np.int64]
    modules: list[str]
    """Cluster of each pair."""
    margins: NDArray[np.float64]
    """Labeler's points, winner minus loser."""
    lengths: NDArray[np.float64]
    """Characters of each completion."""

    @classmethod
    def read(cls, path: Path) -> RankedPairs:
        """From a published rankings file; what is not trained on (points, module) comes from the records themselves."""
        groups = Rankings.read(path).groups
        records = {record["id"]: record for record in read_lines(path)}
        winners: list[int] = []
        losers: list[int] = []
        modules: list[str] = []
        margins: list[float] = []
        lengths: list[int] = []
        for group in groups:
            record = records[group.id]
            points = [completion["score"] for completion in record["completions"]]
            for winner, loser in group.pairs.tolist():
                winners.append(len(lengths) + winner)
                losers.append(len(lengths) + loser)
                modules.append(record["meta"]["module"])
                margins.append(points[winner] - points[loser])
            lengths += [len(text) for text in group.completions]
        return cls(
            groups,
            np.array(winners, dtype=np.int64),
            np.array(losers, dtype=np.int64),
            modules,
            np.array(margins, dtype=np.float64),
            np.array(lengths, dtype=np.float64),
        )


def evaluate_reward(
    scorer: RewardScorer, tok: AnyTokenizer, train: Path, held_out: Path, demonstrations: Scores, run: Run
) -> dict[str, Any]:
    """reward/evaluation.json, from two rankings files. `demonstrations`: shifted scores of the written answers."""
    pairs, fitted_on = RankedPairs.read(held_out), RankedPairs.read(train)
    scores = score_groups(scorer, tok, pairs.groups)
    scored = ScoredPairs(
        winner_score=scores[pairs.winners],
        loser_score=scores[pairs.losers],
        winner_length=pairs.lengths[pairs.winners],
        loser_length=pairs.lengths[pairs.losers],
        clusters=pairs.modules,
        points_margin=pairs.margins,
    )
    baseline = LengthBaseline.fit(fitted_on.lengths[fitted_on.winners], fitted_on.lengths[fitted_on.losers])
    return {
        **reward_quality(scored, baseline, run.evaluate.seed, run.evaluate.bootstrap_resamples),
        "scores": {"demonstrations": _rounded(demonstrations), "sft": _rounded(scores)},
        "demonstrations_mean": float(demonstrations.mean(dtype=np.float64)),
        "reward_offset": scorer.model.reward_offset,
    }


def score_groups(scorer: RewardScorer, tok: AnyTokenizer, groups: Sequence[Group]) -> Scores:
    """Reward of every completion of every group, in file order."""
    end = np.array([scorer.control.end_of_text], dtype=np.uint32)
    prompts, completions = [], []
    for group in groups:
        prompt = chat_prompt(tok, group.prompt)
        for text, ended in zip(group.completions, group.ended, strict=True):
            prompts.append(prompt)
            completions.append(np.append(tok.encode(text), end if ended else end[:0]))
    return scorer.scores(prompts, completions)


def _rounded(scores: Scores) -> list[float]:
    return [round(float(score), 4) for score in scores]
