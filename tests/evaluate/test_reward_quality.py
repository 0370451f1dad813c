"""Reward-model measures against hand counts, brute force and simulated models of known calibration."""

import itertools
import math

import numpy as np
import pytest

from stategpt.errors import InvalidArgument
from stategpt.evaluate import reward_quality as quality
from stategpt.evaluate.records import MarginAccuracy, RewardEvaluation
from stategpt.evaluate.reward_quality import LengthBaseline, ScoredPairs
from stategpt.evaluate.statistics import Interval, paired_difference
from stategpt.json_records import from_json, to_json


def of(interval: Interval | None) -> Interval:
    assert interval is not None
    return interval


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


def test_equally_good_judges_differ_rarely_by_module_and_often_by_single_pairs() -> None:
    """27 modules with effects on both judges: the interval should lie above 0 in 2.5 % of 300 repetitions."""
    rng = np.random.default_rng(4)
    modules = np.repeat(np.arange(27), rng.integers(10, 60, size=27))
    above = singly = 0
    for repetition in range(300):
        effects = rng.normal(scale=0.8, size=(2, 27))
        first, second = (rng.random(len(modules)) < 1 / (1 + np.exp(-0.8 - effect[modules])) for effect in effects)
        above += paired_difference(first, second, modules, repetition, resamples=200).low > 0
        singly += paired_difference(first, second, np.arange(len(modules)), repetition, resamples=200).low > 0
    assert above / 300 <= 0.06
    assert singly / 300 > 0.12


def test_the_margin_is_the_models_accuracy_minus_the_baselines_on_the_same_pairs() -> None:
    pairs = ScoredPairs([1.0, 1.0, -1.0, 1.0], np.zeros(4), [1, 9, 9, 5], [9, 1, 1, 5], clusters=["a", "a", "b", "b"])
    measured = quality.reward_quality(pairs, LengthBaseline(0.0), seed=0, resamples=50)
    assert of(measured.pair_accuracy).mean == 0.75
    assert measured.length_only_accuracy == 1.5 / 4
    assert of(measured.length_margin).mean == 0.375
    # Right as often as length in one module, and by a quarter of the pairs more in the other.
    assert (of(measured.length_margin).low, of(measured.length_margin).high) == (0.25, 0.5)


def test_calibration_buckets_hold_all_pairs_and_rise_with_the_margin() -> None:
    buckets = quality.calibration(simulated_differences(1.0, 4001), buckets=8)
    assert sum(bucket.pairs or 0 for bucket in buckets) == 4001
    assert all((a.margin_high or 0) <= (b.margin_low or 0) for a, b in itertools.pairwise(buckets))
    for bucket in buckets:
        assert bucket.observed == pytest.approx(bucket.claimed, abs=0.07)


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
    split = quality.accuracy_by_margin([1.0, -1.0, 2.0, 0.0], [2, 2, 5, 5])
    assert split == (MarginAccuracy(2.0, 2, 0.5), MarginAccuracy(5.0, 2, 0.75))


def test_many_different_margins_are_listed_by_quantile() -> None:
    margins = np.arange(1000) / 7
    split = quality.accuracy_by_margin(np.ones(1000), margins)
    assert len(split) == quality.MOST_MARGINS
    assert [row.pairs for row in split] == [50] * 20
    assert split[-1].margin == margins[-1]


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
    assert of(measured.pair_accuracy).mean == pytest.approx(measured.length_only_accuracy)
    assert (of(measured.length_margin).low, of(measured.length_margin).high) == (0.0, 0.0)


def test_the_record_has_every_measure_of_pairs_and_survives_json() -> None:
    difference = simulated_differences(1.0, 300)
    lengths = np.random.default_rng(6).integers(5, 30, size=(2, 300))
    pairs = ScoredPairs(difference, np.zeros(300), *lengths, clusters=["m"] * 300, score_margin=[2] * 300)
    measured = quality.reward_quality(pairs, LengthBaseline(math.inf), seed=0)
    assert from_json(RewardEvaluation, to_json(measured), where="test") == measured
    assert measured.length_only_target is None
    assert measured.accuracy_by_margin[0].pairs == 300


def test_empty_pairs_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="vector of pairs"):
        quality.calibration([])
    with pytest.raises(InvalidArgument, match="one length a score"):
        quality.length_correlation([1.0], [1.0, 2.0])
