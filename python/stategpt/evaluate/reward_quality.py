"""Measures a reward model on pairs that people, or a scorer, put in order: accuracy, baseline, calibration.

A pair is a winner and a loser of one prompt. The model is right when it scores the winner higher; equal scores are half
right, as a coin would be. Accuracy is weighted by pairs, not by batches or prompts; its interval resamples clusters.

Longer (or shorter) answers often win, so accuracy means something only above what length alone gets. The baseline is
given every chance: it prefers the answer whose length is nearest to a target, and the target (0 = shorter, infinity =
longer) is the best one on the training pairs.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stategpt.errors import InvalidArgument
from stategpt.shown_fields import documented, short_repr

from .records import CalibrationBucket, MarginAccuracy, RewardEvaluation
from .statistics import Floats, Labels, cluster_bootstrap, paired_difference, win_points, win_rate

_MOST_TARGETS = 512
_NEWTON_ROUNDS = 100
MOST_MARGINS = 20
"""Score differences listed one by one; more of them are listed by quantile."""


@documented
@dataclass(frozen=True)
class ScoredPairs:
    """Held-out pairs with what is needed to measure accuracy; all vectors are [P], one entry for each pair."""

    winner_score: npt.ArrayLike
    """Reward of the preferred completion."""
    loser_score: npt.ArrayLike
    """Reward of the other one."""
    winner_length: npt.ArrayLike
    """Length of the preferred completion, in any unit."""
    loser_length: npt.ArrayLike
    """Length of the other one, in the same unit."""
    clusters: Labels
    """What is resampled together: the group of the prompt."""
    score_margin: npt.ArrayLike | None = None
    """The scorer's score, winner minus loser, where completions have one."""

    __repr__ = short_repr


@documented
@dataclass(frozen=True)
class LengthBaseline:
    """Prefers the completion whose length is nearest to `target`."""

    target: float
    """0 prefers the shorter, infinity the longer."""

    @classmethod
    def fit(cls, winner_length: npt.ArrayLike, loser_length: npt.ArrayLike) -> "LengthBaseline":
        """The target that is right on most training pairs [P]; of equally good ones shorter, then longer."""
        winner_P, loser_P = np.asarray(winner_length, np.float64), np.asarray(loser_length, np.float64)
        observed = np.unique(np.concatenate([winner_P, loser_P]))
        if len(observed) > _MOST_TARGETS:
            observed = np.unique(np.quantile(observed, np.linspace(0, 1, _MOST_TARGETS)))
        targets = [0.0, math.inf, *observed.tolist()]
        accuracies = [win_rate(_nearness(winner_P, t), _nearness(loser_P, t)) for t in targets]
        return cls(targets[int(np.argmax(accuracies))])

    def points(self, winner_length: npt.ArrayLike, loser_length: npt.ArrayLike) -> Floats:
        """1 where the winner's length is preferred, 1/2 where both are as near, else 0: [P]."""
        winner_P, loser_P = np.asarray(winner_length, np.float64), np.asarray(loser_length, np.float64)
        return win_points(_nearness(winner_P, self.target), _nearness(loser_P, self.target))


def pair_accuracy(winner_score: npt.ArrayLike, loser_score: npt.ArrayLike) -> float:
    """Share of pairs whose winner scores higher; equal scores count 1/2."""
    return win_rate(winner_score, loser_score)


def calibration(difference: npt.ArrayLike, buckets: int = 10) -> tuple[CalibrationBucket, ...]:
    """Claimed against observed accuracy, by size of the score difference, winner minus loser [P], in nats.

    Under the Bradley-Terry loss the model claims to be right with probability sigmoid(|difference|). Buckets hold
    equally many pairs; each gives its bounds, the mean claim and the share observed.
    """
    difference_P = np.asarray(difference, np.float64)
    if difference_P.ndim != 1 or not difference_P.size or buckets < 1:
        raise InvalidArgument(f"need a vector of pairs and a bucket; got {difference_P.shape}, {buckets} buckets")
    size_P = np.abs(difference_P)
    order = np.argsort(size_P, kind="stable")
    right_P = win_points(difference_P, np.zeros_like(difference_P))
    return tuple(
        CalibrationBucket(
            claimed=float((1 / (1 + np.exp(-size_P[members]))).mean()),
            observed=float(right_P[members].mean()),
            margin_low=float(size_P[members[0]]),
            margin_high=float(size_P[members[-1]]),
            pairs=len(members),
        )
        for members in np.array_split(order, min(buckets, len(order)))
    )


def calibration_slope(difference: npt.ArrayLike) -> float:
    """The s that maximizes sum log sigmoid(s * difference): 1 = calibrated, below 1 = over-confident.

    Newton on a concave function of one number. Infinite where every pair is right, minus infinity where every one is
    wrong, and 0 where all differences are 0.
    """
    difference_P = np.asarray(difference, np.float64)
    if (difference_P == 0).all():
        return 0.0
    if (difference_P >= 0).all() or (difference_P <= 0).all():
        return math.copysign(math.inf, float(difference_P.sum()))
    slope = 0.0
    for _ in range(_NEWTON_ROUNDS):
        wrong_P = 1 / (1 + np.exp(np.clip(slope * difference_P, -500, 500)))
        gradient = float((difference_P * wrong_P).sum())
        curvature = float((difference_P**2 * wrong_P * (1 - wrong_P)).sum())
        # A step of at most 1 / mean size keeps Newton from leaving the region where the curvature means something.
        limit = 1 / float(np.abs(difference_P).mean())
        step = float(np.clip(gradient / max(curvature, 1e-300), -limit, limit))
        slope += step
        if abs(step) < 1e-10 * max(1.0, abs(slope)):
            break
    return slope


def accuracy_by_margin(difference: npt.ArrayLike, score_margin: npt.ArrayLike) -> tuple[MarginAccuracy, ...]:
    """Accuracy for each difference of the scorer's scores: clear preferences should be easier."""
    difference_P, margin_P = np.asarray(difference, np.float64), np.asarray(score_margin, np.float64)
    right_P = win_points(difference_P, np.zeros_like(difference_P))
    margins = np.unique(margin_P)
    if len(margins) > MOST_MARGINS:
        edges = np.quantile(margin_P, np.linspace(0, 1, MOST_MARGINS + 1))[1:]
        margin_P = edges[np.searchsorted(edges, margin_P).clip(max=len(edges) - 1)]
        margins = np.unique(margin_P)
    return tuple(
        MarginAccuracy(float(m), int((margin_P == m).sum()), float(right_P[margin_P == m].mean())) for m in margins
    )


def length_correlation(scores: npt.ArrayLike, lengths: npt.ArrayLike, groups: Labels | None = None) -> float:
    """Pearson correlation of reward and length of N completions, each once; 0 where either does not vary.

    With `groups` [N], the prompt of each, within prompts: their means are taken out.
    """
    columns = [np.asarray(scores, np.float64), np.asarray(lengths, np.float64)]
    if columns[0].shape != columns[1].shape or columns[0].ndim != 1 or not columns[0].size:
        raise InvalidArgument(f"one length a score: got shapes {columns[0].shape} and {columns[1].shape}")
    members = np.zeros(len(columns[0]), np.int64) if groups is None else np.unique(groups, return_inverse=True)[1]
    count_G = np.bincount(members)
    x, y = (column - (np.bincount(members, weights=column) / count_G)[members] for column in columns)
    norm = math.sqrt(float((x * x).sum()) * float((y * y).sum()))
    return float((x * y).sum()) / norm if norm > 0 else 0.0


def reward_quality(pairs: ScoredPairs, baseline: LengthBaseline, seed: int, resamples: int = 2000) -> RewardEvaluation:
    """Every measure of pairs in this file; the other fields of the record are left empty."""
    difference_P = np.asarray(pairs.winner_score, np.float64) - np.asarray(pairs.loser_score, np.float64)
    right_P = win_points(difference_P, np.zeros_like(difference_P))
    by_length_P = baseline.points(pairs.winner_length, pairs.loser_length)
    return RewardEvaluation(
        pairs=len(difference_P),
        pair_accuracy=cluster_bootstrap(right_P, pairs.clusters, seed, resamples),
        length_only_accuracy=float(by_length_P.mean()),
        length_only_target=_finite(baseline.target),
        # Pairs of a prompt, and prompts of a group, are right together: both are resampled together.
        length_margin=paired_difference(right_P, by_length_P, pairs.clusters, seed, resamples),
        calibration=calibration(difference_P),
        calibration_slope=_finite(calibration_slope(difference_P)),
        accuracy_by_margin=() if pairs.score_margin is None else accuracy_by_margin(difference_P, pairs.score_margin),
    )


def _nearness(length_P: Floats, target: float) -> Floats:
    return length_P if math.isinf(target) else -np.abs(length_P - target)


def _finite(value: float) -> float | None:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None
