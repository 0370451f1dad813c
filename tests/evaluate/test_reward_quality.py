"""Reward-model measures against hand counts, brute force and simulated models of known calibration."""

import itertools
import json
import math

import numpy as np
import pytest

from stategpt.errors import InvalidArgument
from stategpt.evaluate import reward_quality as quality
from stategpt.evaluate.reward_quality import LengthBaseline, McNemar, ScoredPairs
from stategpt.evaluate.statistics import mcnemar_exact


def simulated_differences(slope: float, pairs: int, seed: int = 0) -> np.ndarray:
    """Score differences whose sign is right with probability sigmoid(slope * size)."""
    rng = np.random.default_rng(seed)
    size = rng.exponential(1.5, size=pairs)
    right = rng.random(pairs) < 1 / (1 + np.exp(-slope * size))
    return np.where(right, size, -size)


def test_equal_scores_are_half_right() -> None:
    assert quality.pair_accuracy([2.0, 1.0, 0.5, 3.0], [1.0, 2.0, 0.5, 0.0]) == 2.5 / 4


@pytest.mark.parametrize(
    ("winner", "loser", "target"),
    [([1, 2, 3], [4, 5, 6], 0.0), ([40, 50], [10, 20], math.inf), ([10, 11, 9, 10], [2, 30, 3, 40], 9.0)],
)
def test_the_length_baseline_finds_shorter_longer_and_middle(
    winner: list[int], loser: list[int], target: float
) -> None:
    baseline = LengthBaseline.fit(winner, loser)
    assert baseline.points(winner, loser).mean() == 1.0
    assert baseline.target == target


def test_no_other_target_does_better_on_the_training_pairs() -> None:
    rng = np.random.default_rng(0)
    winner, loser = rng.integers(1, 49, size=(2, 400))
    fitted = LengthBaseline.fit(winner, loser).points(winner, loser).mean()
    others = [LengthBaseline(float(t)).points(winner, loser).mean() for t in [*range(50), math.inf]]
    assert fitted == max(others)


def test_equal_lengths_give_the_baseline_half_a_point() -> None:
    assert LengthBaseline(0.0).points([7, 3], [7, 9]).tolist() == [0.5, 1.0]
    assert LengthBaseline(5.0).points([4], [6]).tolist() == [0.5]


def test_mcnemar_counts_pairs_on_which_one_judge_is_right() -> None:
    compared = McNemar.compare([1, 1, 1, 0, 0, 1], [0, 0, 1, 1, 0, 1])
    assert (compared.b, compared.c) == (2, 1)
    assert compared.p == mcnemar_exact(2, 1)


def test_half_points_are_half_pairs_rounded_against_the_first_judge() -> None:
    assert (McNemar.compare([1, 1, 1], [0.5, 0.5, 0.5]).b, McNemar.compare([0.5], [1]).c) == (1, 1)


def test_half_points_do_not_make_chance_look_significant() -> None:
    """Two judges equally good, one of whom ties often: p < .05 in at most 5 % of 400 repetitions, plus noise."""
    rng = np.random.default_rng(4)
    small = 0
    for _ in range(400):
        first = rng.integers(0, 2, size=200)
        second = rng.choice([0.0, 0.5, 1.0], size=200)
        small += McNemar.compare(first, second).p < 0.05
    assert small / 400 < 0.07


def test_calibration_buckets_hold_all_pairs_and_rise_with_the_margin() -> None:
    buckets = quality.calibration(simulated_differences(1.0, 4001), buckets=8)
    assert sum(bucket["pairs"] for bucket in buckets) == 4001
    assert all(a["margin_high"] <= b["margin_low"] for a, b in itertools.pairwise(buckets))
    for bucket in buckets:
        assert bucket["observed"] == pytest.approx(bucket["claimed"], abs=0.07)


@pytest.mark.parametrize("slope", [0.4, 1.0, 2.5])
def test_the_slope_recovers_the_planted_confidence(slope: float) -> None:
    assert quality.calibration_slope(simulated_differences(slope, 20_000)) == pytest.approx(slope, rel=0.06)


def test_the_slope_is_where_the_likelihood_is_highest() -> None:
    difference = simulated_differences(0.7, 300) * 12
    slope = quality.calibration_slope(difference)

    def log_likelihood(s: float) -> float:
        return float(-np.logaddexp(0, -s * difference).sum())

    assert log_likelihood(slope) >= max(log_likelihood(slope * 0.999), log_likelihood(slope * 1.001))


def test_slopes_without_a_maximum_are_infinite_not_a_hang() -> None:
    assert quality.calibration_slope([0.5, 2.0]) == math.inf
    assert quality.calibration_slope([-0.5, -2.0]) == -math.inf
    assert quality.calibration_slope([0.0, 0.0]) == 0.0


def test_accuracy_is_split_by_the_labelers_margin() -> None:
    split = quality.accuracy_by_points([1.0, -1.0, 2.0, 0.0], [2, 2, 5, 5])
    assert split == [{"points": 2.0, "pairs": 2, "accuracy": 0.5}, {"points": 5.0, "pairs": 2, "accuracy": 0.75}]


def test_length_correlation_within_prompts_ignores_differences_between_prompts() -> None:
    scores, lengths = np.array([1.0, 2, 11, 12]), np.array([20.0, 10, 40, 30])
    assert quality.length_correlation(scores, lengths) == pytest.approx(np.corrcoef(scores, lengths)[0, 1])
    assert quality.length_correlation(scores, lengths, groups=["a", "a", "b", "b"]) == pytest.approx(-1.0)
    assert quality.length_correlation([1.0, 1.0], [2.0, 3.0]) == 0.0


def test_a_model_of_length_is_no_better_than_the_length_baseline() -> None:
    rng = np.random.default_rng(5)
    winner, loser = rng.integers(1, 40, size=(2, 500)).astype(float)
    pairs = ScoredPairs(-winner, -loser, winner, loser, clusters=np.arange(500) // 10)
    measured = quality.reward_quality(pairs, LengthBaseline(0.0), seed=0, resamples=200)
    assert measured["pair_accuracy"]["mean"] == pytest.approx(measured["length_only_accuracy"])
    assert measured["mcnemar"] == {"b": 0, "c": 0, "p": 1.0}


def test_the_dictionary_is_plain_json_with_every_measure() -> None:
    difference = simulated_differences(1.0, 300)
    lengths = np.random.default_rng(6).integers(5, 30, size=(2, 300))
    pairs = ScoredPairs(difference, np.zeros(300), *lengths, clusters=["m"] * 300, points_margin=[2] * 300)
    measured = quality.reward_quality(pairs, LengthBaseline(math.inf), seed=0)
    assert json.loads(json.dumps(measured, allow_nan=False)) == measured
    assert measured["length_only_target"] is None
    assert measured["accuracy_by_points"][0]["pairs"] == 300


def test_empty_pairs_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="vector of pairs"):
        quality.calibration([])
    with pytest.raises(InvalidArgument, match="one length a score"):
        quality.length_correlation([1.0], [1.0, 2.0])
