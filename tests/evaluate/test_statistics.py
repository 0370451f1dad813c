"""Intervals and tests against closed forms, tables, slow loops and their own promised coverage."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stategpt.errors import InvalidArgument
from stategpt.evaluate import statistics as stats
from stategpt.evaluate.records import SeedMeasures
from stategpt.evaluate.statistics import Interval
from stategpt.json_records import from_json, to_json


def excludes_zero(interval: Interval) -> bool:
    return interval.low > 0 or interval.high < 0


def slow_resample_means(values: list[float], clusters: list[str], seed: int, resamples: int) -> list[float]:
    """The bootstrap as the textbook says it: draw cluster names, concatenate what they hold, take the mean."""
    names = sorted(set(clusters))
    held = {name: [v for v, c in zip(values, clusters, strict=True) if c == name] for name in names}
    means = []
    for counts in itertools.chain.from_iterable(stats.resample_counts(len(names), seed, resamples)):
        drawn = [value for name, count in zip(names, counts, strict=True) for value in held[name] * int(count)]
        means.append(sum(drawn) / len(drawn))
    return means


def test_cluster_bootstrap_equals_the_textbook_loop() -> None:
    rng = np.random.default_rng(0)
    clusters = [f"module_{i}" for i in rng.integers(0, 12, size=80)]
    values = rng.normal(size=80).tolist()
    fast = stats.cluster_bootstrap(values, clusters, seed=7, resamples=300)
    slow = slow_resample_means(values, clusters, seed=7, resamples=300)
    expected = stats.percentile_interval(float(np.mean(values)), slow, clusters=12)
    assert (fast.mean, fast.low, fast.high) == pytest.approx((expected.mean, expected.low, expected.high), abs=1e-12)


def test_the_result_does_not_depend_on_the_order_of_the_items() -> None:
    rng = np.random.default_rng(1)
    values, clusters = rng.normal(size=60), np.array([f"m{i % 9}" for i in range(60)])
    order = rng.permutation(60)
    first = stats.cluster_bootstrap(values, clusters, seed=3)
    second = stats.cluster_bootstrap(values[order], clusters[order], seed=3)
    assert (first.low, first.high) == pytest.approx((second.low, second.high), abs=1e-12)


def test_the_same_seed_gives_the_same_digits_and_another_seed_others() -> None:
    values, clusters = np.arange(40.0), [i // 4 for i in range(40)]
    assert stats.cluster_bootstrap(values, clusters, seed=5) == stats.cluster_bootstrap(values, clusters, seed=5)
    assert stats.cluster_bootstrap(values, clusters, seed=5) != stats.cluster_bootstrap(values, clusters, seed=6)


@pytest.mark.parametrize(("clusters", "items"), [(8, 5), (32, 20)])
def test_intervals_cover_the_truth_as_often_as_they_say(clusters: int, items: int) -> None:
    """Clustered data of known mean: the 95 % interval holds it in about 95 % of 400 repetitions, few clusters or many.

    With 400 repetitions the standard error of the share is .011; ignoring clusters would cover below 70 % here.
    """
    rng = np.random.default_rng(20)
    labels = np.repeat(np.arange(clusters), items)
    covered = naive = 0
    for repetition in range(400):
        values = rng.normal(size=clusters)[labels] + rng.normal(size=clusters * items)
        covered += not excludes_zero(stats.cluster_bootstrap(values, labels, seed=repetition, resamples=400))
        half = 1.96 * values.std(ddof=1) / math.sqrt(len(values))
        naive += abs(values.mean()) <= half
    assert 0.92 <= covered / 400 <= 0.975
    assert naive / 400 < 0.75


@pytest.mark.parametrize(("seeds", "of_seed"), [(3, 0.02), (3, 0.05), (5, 0.05)])
def test_intervals_over_seeds_cover_the_truth_and_those_without_the_seed_do_not(seeds: int, of_seed: float) -> None:
    """27 modules of unequal size, module effects of .1, items of .5: another seed moves the mean by `of_seed`.

    The error of the module part is .03, so at .02 the seed is the smaller half of the error and at .05 the larger. 250
    repetitions have a standard error of .014.
    """
    rng = np.random.default_rng(4)
    labels = np.repeat(np.arange(27), rng.integers(6, 24, size=27))
    covered = without = 0
    for repetition in range(250):
        modules, noise = rng.normal(scale=0.1, size=27)[labels], rng.normal(scale=0.5, size=(seeds, len(labels)))
        values = modules + rng.normal(scale=of_seed, size=(seeds, 1)) + noise
        covered += not excludes_zero(stats.seeded_bootstrap(values, labels, seed=repetition, resamples=200))
        without += not excludes_zero(stats.cluster_bootstrap(values[0], labels, seed=repetition, resamples=200))
    assert 0.92 <= covered / 250 <= 0.99
    assert without <= covered - (3 if of_seed < 0.03 else 40), "one seed and its modules alone"


def test_one_seed_leaves_the_seed_out_and_equal_seeds_add_nothing() -> None:
    rng = np.random.default_rng(5)
    values, labels = rng.normal(size=90), np.repeat(np.arange(30), 3)
    alone = stats.seeded_bootstrap(values[None], labels, seed=1)
    assert alone == stats.cluster_bootstrap(values, labels, seed=1)
    thrice = stats.seeded_bootstrap(np.stack([values] * 3), labels, seed=1, resamples=20_000)
    mean_G = values.reshape(30, 3).mean(axis=1)
    half = stats.t_quantile(0.975, 29) * mean_G.std(ddof=1) / math.sqrt(30)
    assert (thrice.high - thrice.low) / 2 == pytest.approx(half, rel=0.03), "the t interval of 30 module means"
    shifted = stats.seeded_bootstrap(np.stack([values - 1, values, values + 1]), labels, seed=1)
    assert shifted.mean == pytest.approx(thrice.mean)
    assert shifted.high - shifted.low > 3 * (thrice.high - thrice.low)


def test_the_seeds_part_is_the_t_interval_of_their_means_when_clusters_agree() -> None:
    found = stats.interval_over_seeds([0.5, 0.6, 0.7], variance=0.0, clusters=27)
    assert found.mean == pytest.approx(0.6)
    assert (found.high - found.low) / 2 == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-4)
    even = stats.interval_over_seeds([0.5, 0.6, 0.7], variance=0.01 / 3, clusters=3)
    # Two equal variances with two degrees of freedom each have four together.
    assert (even.high - even.low) / 2 == pytest.approx(2.776445 * math.sqrt(0.02 / 3), rel=1e-4)
    assert stats.interval_over_seeds([0.5, 0.6], variance=0.0, clusters=1).low == -math.inf


def test_values_that_are_no_table_of_seeds_are_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"one row a seed .* shape \(3,\)"):
        stats.seeded_bootstrap([1.0, 2.0, 3.0], ["a", "b", "c"], seed=0)
    with pytest.raises(InvalidArgument, match="differ in length"):
        stats.seeded_bootstrap([[1.0, 2.0], [1.0, 2.0]], ["a"], seed=0)


def test_resamples_are_fair_draws_with_replacement() -> None:
    counts = np.concatenate(list(stats.resample_counts(10, seed=0, resamples=20_000)))
    assert (counts.sum(axis=1) == 10).all()
    # Binomial(10, 1/10) has mean 1 and variance .9.
    np.testing.assert_allclose(counts.mean(axis=0), 1.0, atol=0.03)
    np.testing.assert_allclose(counts.var(axis=0), 0.9, atol=0.03)


def test_many_clusters_are_drawn_in_blocks_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(stats.resample_counts(50, seed=1, resamples=100)))
    monkeypatch.setattr(stats, "_DRAWS_PER_BLOCK", 700)
    blocks = list(stats.resample_counts(50, seed=1, resamples=100))
    assert max(len(block) for block in blocks) == 14
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


def test_weighted_mean_and_ratio_of_sums_agree() -> None:
    bits, size, clusters = np.array([30.0, 8, 100]), np.array([10.0, 4, 40]), ["a", "b", "c"]
    ratio = stats.ratio_bootstrap(bits, size, clusters, seed=0)
    assert ratio.mean == pytest.approx(138 / 54)
    assert ratio == stats.cluster_bootstrap(bits / size, clusters, seed=0, weights=size)


def test_a_mixture_weighs_the_ratio_of_each_stratum() -> None:
    nats, size = [20.0, 30, 5, 9], [10.0, 20, 5, 3]
    strata, clusters = ["code", "code", "docs", "docs"], ["a", "b", "a", "b"]
    mixed = stats.mixed_ratio_bootstrap(nats, size, clusters, strata, {"code": 0.25, "docs": 0.75}, seed=0)
    assert mixed.mean == pytest.approx(0.25 * 50 / 30 + 0.75 * 14 / 8)
    assert mixed.low <= mixed.mean <= mixed.high


def test_a_resample_without_some_stratum_is_left_out_and_the_rest_stays_finite() -> None:
    mixed = stats.mixed_ratio_bootstrap([2.0, 3, 4], [1.0, 1, 1], ["a", "b", "c"], [0, 1, 1], {0: 0.5, 1: 0.5}, seed=0)
    assert math.isfinite(mixed.low)
    assert math.isfinite(mixed.high)


def test_a_paired_difference_cancels_what_both_share() -> None:
    rng = np.random.default_rng(2)
    difficulty = rng.normal(scale=10, size=200)
    first, second = difficulty + 0.5 + rng.normal(scale=0.1, size=200), difficulty
    paired = stats.paired_difference(first, second, range(200), seed=0)
    assert excludes_zero(paired)
    assert paired.high - paired.low < 0.05
    assert not excludes_zero(stats.cluster_bootstrap(np.concatenate([first, -second]), range(400), seed=0))


def test_one_cluster_allows_no_interval_and_survives_json() -> None:
    interval = stats.cluster_bootstrap([1.0, 2, 3], ["only"] * 3, seed=0)
    assert (interval.mean, interval.low, interval.high) == (2.0, -math.inf, math.inf)
    written = {"stage": "x", "kl": to_json(interval)}
    assert written["kl"] == {"mean": 2.0, "low": None, "high": None, "level": 0.95}
    assert from_json(SeedMeasures, written, where="test").kl == interval


def test_an_interval_without_a_level_is_read_as_95_percent() -> None:
    read = from_json(SeedMeasures, {"kl": {"mean": 0.6, "low": 0.5, "high": 0.7}}, where="test")
    assert read.kl == Interval(0.6, 0.5, 0.7, 0.95)


@pytest.mark.parametrize(
    ("values", "clusters", "words"),
    [
        ([], [], "non-empty"),
        ([1.0, math.nan], ["a", "b"], r"values\[1\] is not finite"),
        ([1.0, 2.0], ["a"], "differ in length"),
        ([[1.0], [2.0]], ["a", "b"], "shape"),
    ],
)
def test_bad_vectors_are_named(values: list[float], clusters: list[str], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        stats.cluster_bootstrap(values, clusters, seed=0)


def test_a_stratum_without_a_share_is_named() -> None:
    with pytest.raises(InvalidArgument, match="comments"):
        stats.mixed_ratio_bootstrap([1.0], [1.0], ["a"], ["comments"], {"code": 1.0}, seed=0)


@pytest.mark.parametrize(
    ("degrees", "table"),
    [(1, 12.706205), (2, 4.302653), (4, 2.776445), (10, 2.228139), (31, 2.039513), (1e6, 1.959966)],
)
def test_t_quantiles_match_the_printed_table(degrees: float, table: float) -> None:
    assert stats.t_quantile(0.975, degrees) == pytest.approx(table, rel=1e-5)
    assert stats.t_quantile(0.025, degrees) == -stats.t_quantile(0.975, degrees)


def test_a_t_quantile_of_less_than_one_degree_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"1 or more degrees"):
        stats.t_quantile(0.975, 0.5)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe (1998), table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_matches_newcombes_table(successes: int, n: int, low: float, high: float) -> None:
    interval = stats.wilson(successes, n)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


def test_a_share_has_the_wider_of_the_clustered_and_the_independent_interval() -> None:
    clusters = np.repeat(np.arange(20), 10)
    everyone = stats.share_interval([True] * 200, clusters, seed=0)
    assert (everyone.mean, everyone.high) == (1.0, 1.0)
    assert everyone.low == stats.wilson(200, 200).low < 1, "nothing varies, and still it is not certain"
    together = np.repeat(np.arange(20) % 2, 10)
    found = stats.share_interval(together, clusters, seed=0)
    alone = stats.wilson(100, 200)
    assert found.mean == 0.5
    assert found.high - found.low > 2 * (alone.high - alone.low), "answers of a module are right or wrong together"


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), min_size=1, max_size=40))
def test_win_rates_of_two_systems_sum_to_one(points: list[tuple[int, int]]) -> None:
    a, b = zip(*points, strict=True)
    assert stats.win_rate(a, b) + stats.win_rate(b, a) == pytest.approx(1.0)
    expected = sum(1.0 if x > y else 0.5 if x == y else 0.0 for x, y in points) / len(points)
    assert stats.win_rate(a, b) == pytest.approx(expected)
