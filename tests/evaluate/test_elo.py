"""Bradley-Terry and Elo against closed forms, planted strengths and the likelihood equations."""

import math

import numpy as np
import pytest

from stategpt.errors import InvalidArgument
from stategpt.evaluate.elo import ELO_PER_NAT, bradley_terry, elo, pairwise_wins


def planted_points(strengths: list[float], prompts: int, seed: int) -> dict[str, np.ndarray]:
    """Points whose order follows Bradley-Terry exactly: log strength plus Gumbel noise (Plackett-Luce)."""
    noise = np.random.default_rng(seed).gumbel(size=(len(strengths), prompts))
    return {f"system_{i}": s + noise[i] for i, s in enumerate(strengths)}


def test_two_systems_have_the_closed_form_of_their_odds() -> None:
    log_strengths = bradley_terry([[0, 75], [25, 0]], prior_draws=0)
    assert log_strengths[0] - log_strengths[1] == pytest.approx(math.log(3), abs=1e-8)


def test_ten_to_one_odds_are_400_points() -> None:
    points = {"strong": [1.0] * 10 + [0.0], "weak": [0.0] * 10 + [1.0]}
    difference = bradley_terry(pairwise_wins(points).sum(axis=0), prior_draws=0)
    assert (difference[0] - difference[1]) * ELO_PER_NAT == pytest.approx(400, abs=1e-5)


def test_the_fit_solves_the_likelihood_equations() -> None:
    """At the maximum every system's wins equal the wins the model expects of it."""
    wins = np.random.default_rng(0).integers(1, 40, size=(6, 6)).astype(float)
    np.fill_diagonal(wins, 0)
    log_strengths = bradley_terry(wins, prior_draws=0)
    win_probability = 1 / (1 + np.exp(log_strengths[None, :] - log_strengths[:, None]))
    expected = ((wins + wins.T) * win_probability).sum(axis=1)
    np.testing.assert_allclose(expected, wins.sum(axis=1), rtol=1e-6)


def test_a_batch_of_problems_equals_each_alone() -> None:
    wins = np.random.default_rng(1).integers(1, 40, size=(5, 4, 4)).astype(float)
    wins[:, np.arange(4), np.arange(4)] = 0
    alone = np.stack([bradley_terry(problem) for problem in wins])
    np.testing.assert_allclose(bradley_terry(wins), alone, atol=1e-6)


def test_planted_strengths_are_recovered_in_order_and_within_their_intervals() -> None:
    strengths = [-1.0, 0.0, 0.3, 1.2]
    ratings = elo(planted_points(strengths, 800, seed=3), anchor="system_1", seed=0, resamples=500)
    assert list(ratings) == [f"system_{i}" for i in range(4)]
    assert [r.mean for r in ratings.values()] == sorted(r.mean for r in ratings.values())
    for truth, interval in zip(strengths, ratings.values(), strict=True):
        assert interval.low <= 1000 + ELO_PER_NAT * truth <= interval.high


def test_the_anchor_is_1000_without_uncertainty() -> None:
    anchor = elo(planted_points([0.0, 1.0], 50, seed=0), anchor="system_0", seed=0, resamples=50)["system_0"]
    assert (anchor.mean, anchor.low, anchor.high) == (1000.0, 1000.0, 1000.0)


def test_a_tie_is_half_a_win_for_each() -> None:
    wins = pairwise_wins({"a": [3, 1, 5], "b": [3, 2, 4]})
    np.testing.assert_array_equal(wins[:, 0, 1], [0.5, 0, 1])
    np.testing.assert_array_equal(wins[:, 1, 0], [0.5, 1, 0])


def test_a_system_that_never_won_has_a_finite_rating_thanks_to_the_imaginary_draw() -> None:
    ratings = elo({"best": [1.0] * 99, "worst": [0.0] * 99}, anchor="best", seed=0, resamples=20)
    # Half a win in 100 games: odds 99.5 to .5.
    assert ratings["worst"].mean == pytest.approx(1000 - 400 * math.log10(199), abs=1e-3)
    with pytest.raises(InvalidArgument, match="prior_draws"):
        bradley_terry([[0, 9], [0, 0]], prior_draws=0)


def test_resampling_modules_gives_wider_intervals_than_resampling_prompts_that_copy_each_other() -> None:
    points = {name: np.repeat(column, 10) for name, column in planted_points([0.0, 0.4], 30, seed=5).items()}
    by_prompt = elo(points, anchor="system_0", seed=0, resamples=300)["system_1"]
    by_module = elo(points, anchor="system_0", seed=0, resamples=300, clusters=np.repeat(np.arange(30), 10))["system_1"]
    assert by_module.high - by_module.low > 2 * (by_prompt.high - by_prompt.low)


def test_unequal_prompts_and_unknown_anchors_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="same prompts"):
        elo({"a": [1, 2], "b": [1]}, anchor="a", seed=0)
    with pytest.raises(InvalidArgument, match="anchor 'sft'"):
        elo({"a": [1], "b": [2]}, anchor="sft", seed=0)
    with pytest.raises(InvalidArgument, match="shape"):
        bradley_terry([[0, 1, 2], [1, 0, 2]])
