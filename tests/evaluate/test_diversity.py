"""Diversity measures against hand counts, brute force and simulation."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stategpt.errors import InvalidArgument
from stategpt.evaluate import diversity
from stategpt.evaluate.statistics import t_quantile

texts_strategy = st.lists(st.text(alphabet="ab .", max_size=12), min_size=2, max_size=8)


def test_words_separate_punctuation_and_ignore_case() -> None:
    assert diversity.words("Return x.y, or None!") == ["return", "x", ".", "y", ",", "or", "none", "!"]


def test_distinct_2_counts_over_the_whole_set() -> None:
    # Bigrams: (a b) (b c) | (a b) (b d): 3 distinct of 4.
    assert diversity.distinct_n(["a b c", "A b d"], 2) == 0.75


def test_a_collapsed_model_scores_low_though_every_answer_is_varied_in_itself() -> None:
    assert diversity.distinct_n(["Return a list of names."] * 50) == pytest.approx(1 / 50)
    assert diversity.unique_share_interval([["Return a list of names."] * 50], range(50)).mean == 1 / 50


def test_sets_without_ngrams_are_not_varied_and_not_an_error() -> None:
    assert diversity.distinct_n(["", "word"], 2) == 0.0


def test_a_budget_compares_sets_on_equally_many_bigrams() -> None:
    short, long = ["a b", "c d"], ["a b c d e", "a b c d e"]
    assert diversity.ngram_budget([short, long]) == 2
    assert diversity.ngram_budget([["", "a"], short]) == 2, "a set without bigrams sets no budget"
    assert diversity.ngram_budget([[""]]) == 0
    assert diversity.distinct_n(long) == 0.5, "length alone repeats bigrams"
    assert diversity.distinct_n(long, budget=2) == diversity.distinct_n(short, budget=2) == 1.0
    assert diversity.distinct_n(long, budget=6) == 4 / 6


def test_the_change_within_a_budget_is_the_difference_of_the_two_within_it() -> None:
    before, after = ["a b c", "d e f", "a b g"], ["a b c d", "a b c d", "a b"]
    found = diversity.distinct_change(before, [after], ["x", "y", "z"], budget=5)
    expected = diversity.distinct_n(after, budget=5) - diversity.distinct_n(before, budget=5)
    assert found.mean == pytest.approx(expected)
    assert found.mean != pytest.approx(diversity.distinct_change(before, [after], ["x", "y", "z"]).mean)


def test_the_most_repeated_texts_are_counted() -> None:
    assert diversity.most_repeated(["b", "a", "b", "c", "a", "b", "d"]) == [("b", 3), ("a", 2)]
    assert diversity.most_repeated(["b", "a", "b", "a"], most=1) == [("b", 2)]


@given(texts_strategy, st.randoms(use_true_random=False))
def test_the_jackknife_equals_leaving_out_each_cluster_by_hand(texts: list[str], rng: random.Random) -> None:
    clusters = [rng.randrange(3) for _ in texts]
    names = sorted(set(clusters))
    after = [text[::-1] for text in texts]
    interval = diversity.distinct_change(texts, [after], clusters, n=1)
    assert interval.mean == pytest.approx(diversity.distinct_n(after, 1) - diversity.distinct_n(texts, 1))
    if len(names) < 2:
        assert interval.high == math.inf
        return
    without = []
    for name in names:
        kept = [i for i, cluster in enumerate(clusters) if cluster != name]
        shares = (diversity.distinct_n([side[i] for i in kept], 1) for side in (after, texts))
        without.append(next(shares) - next(shares))
    error = math.sqrt((len(names) - 1) * np.var(without))
    half = (interval.high - interval.low) / 2
    assert half == pytest.approx(t_quantile(0.975, len(names) - 1) * error, abs=1e-12)


def test_the_interval_of_a_change_covers_the_spread_of_repeated_experiments() -> None:
    """Two sources of answers, 40 clusters each time: the jackknife error agrees with the spread over 60 repetitions."""
    draw = random.Random(1)

    def answers(vocabulary: int) -> list[str]:
        return [" ".join(f"w{int(draw.paretovariate(1.0)) % vocabulary}" for _ in range(6)) for _ in range(200)]

    clusters = [i // 5 for i in range(200)]
    changes = [diversity.distinct_change(answers(400), [answers(10)], clusters) for _ in range(60)]
    spread = float(np.std([change.mean for change in changes]))
    claimed = float(np.mean([(change.high - change.low) / 2 for change in changes])) / t_quantile(0.975, 39)
    assert 0.7 < claimed / spread < 1.6
    assert all(change.high < 0 for change in changes)


def test_unique_change_sees_repeated_answers() -> None:
    change = diversity.unique_change(["a", "b", "c", "d"], [["a", "a", "a", "d"]], clusters=range(4))
    assert change.mean == -0.5


def test_several_seeds_give_their_mean_and_a_wider_interval() -> None:
    """Three seeds of which one repeats itself: what differs between them is in the interval, as in statistics."""
    clusters = [i // 2 for i in range(16)]
    varied = [f"answer {i}" for i in range(16)]
    dull = ["same"] * 8 + varied[8:]
    shares = [len(set(texts)) / len(texts) for texts in (varied, varied, dull)]
    alone = diversity.unique_share_interval([varied], clusters)
    over_seeds = diversity.unique_share_interval([varied, varied, dull], clusters)
    assert alone.mean == alone.high == 1.0
    assert over_seeds.mean == pytest.approx(np.mean(shares))
    seeds_half = t_quantile(0.975, 20) * math.sqrt(np.var(shares, ddof=1) / 3)
    assert over_seeds.low < over_seeds.mean - seeds_half, "the seeds' share alone is wider than the rest"
    assert over_seeds.high <= 1.0
    change = diversity.unique_change(varied, [varied, varied, dull], clusters)
    assert change.mean == pytest.approx(np.mean(shares) - 1)
    assert change.low < -0.4


def test_unpaired_answers_are_refused_with_their_counts() -> None:
    with pytest.raises(InvalidArgument, match=r"sets of \[1, 2\] answers, 2 clusters"):
        diversity.distinct_change(["a", "b"], [["a"]], ["m", "n"])
    with pytest.raises(InvalidArgument, match="n >= 1"):
        diversity.distinct_n(["a"], 0)
