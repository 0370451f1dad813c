"""How good the reward model is: pair accuracy on held-out prompts, beside a baseline that sees only lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stategpt.config import Run
from stategpt.data import Rankings, Tokenizer, chat_prompt
from stategpt.evaluate.reward_quality import LengthBaseline, ScoredPairs, reward_quality
from stategpt.evaluate.reward_scorer import RewardScorer

Scores = NDArray[np.float32]


def evaluate_reward(
    scorer: RewardScorer, tok: Tokenizer, train: Rankings, held_out: Rankings, demonstrations: Scores, run: Run
) -> dict[str, Any]:
    """reward/evaluation.json. `demonstrations` are the shifted scores of the written answers: they average 0."""
    scores = score_groups(scorer, tok, held_out)
    winners, losers, clusters, margins, lengths = _pairs(held_out)
    train_winners, train_losers, _, _, train_lengths = _pairs(train)
    pairs = ScoredPairs(
        winner_score=scores[winners],
        loser_score=scores[losers],
        winner_length=lengths[winners],
        loser_length=lengths[losers],
        clusters=clusters,
        points_margin=margins,
    )
    baseline = LengthBaseline.fit(train_lengths[train_winners], train_lengths[train_losers])
    measured = reward_quality(pairs, baseline, run.evaluate.seed, run.evaluate.bootstrap_resamples)
    return {
        **measured,
        "scores": {"demonstrations": _rounded(demonstrations), "sft": _rounded(scores)},
        "demonstrations_mean": float(demonstrations.mean(dtype=np.float64)),
        "reward_offset": scorer.model.reward_offset,
    }


def score_groups(scorer: RewardScorer, tok: Tokenizer, read: Rankings) -> Scores:
    """Reward of every completion of every group, in file order."""
    end = np.array([scorer.control.end_of_text], dtype=np.uint32)
    prompts, completions = [], []
    for group in read.groups:
        prompt = chat_prompt(tok, group.prompt)
        for text, ended in zip(group.completions, group.ended, strict=True):
            prompts.append(prompt)
            completions.append(np.concatenate([tok.encode(text), end]) if ended else tok.encode(text))
    return scorer.scores(prompts, completions)


def _pairs(read: Rankings) -> tuple[Any, Any, list[str], NDArray[np.float64], NDArray[np.float64]]:
    """Winner and loser indices into all completions, the module and the points margin of each pair, and all lengths."""
    winners, losers, clusters, margins, lengths = [], [], [], [], []
    first = 0
    for group in read.groups:
        points = group.scores
        for winner, loser in group.pairs().tolist():
            winners.append(first + winner)
            losers.append(first + loser)
            clusters.append(str(group.meta.get("module", group.id)))
            margins.append(points[winner] - points[loser])
        lengths += [len(text) for text in group.completions]
        first += len(group.completions)
    as_index = np.array(winners, dtype=np.int64), np.array(losers, dtype=np.int64)
    return *as_index, clusters, np.array(margins, dtype=np.float64), np.array(lengths, dtype=np.float64)


def _rounded(scores: Scores) -> list[float]:
    return [round(float(score), 4) for score in scores]
