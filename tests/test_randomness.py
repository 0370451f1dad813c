"""Randomness is a pure function of its counters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stategpt.errors import InvalidArgument
from stategpt.randomness import bits, evenly_spread, permutation, uniforms


def test_known_values_never_change() -> None:
    # Golden: a change here would silently change every published run.
    assert bits(0, 0).item() == 1906727619531543460
    assert bits(7, "rl", 3, np.arange(2)).tolist() == [15088471956527563545, 17128652406779163815]


@given(st.integers(0, 2**63), st.integers(0, 2**40), st.integers(1, 50))
def test_a_draw_does_not_depend_on_its_neighbours(seed: int, step: int, count: int) -> None:
    together = uniforms(seed, step, np.arange(count))
    alone = [uniforms(seed, step, i).item() for i in range(count)]
    assert together.tolist() == alone


def test_uniforms_fill_the_unit_interval_evenly() -> None:
    draws = uniforms(3, "sample", np.arange(100_000))
    assert draws.min() >= 0
    assert draws.max() < 1
    counts, _ = np.histogram(draws, bins=100, range=(0, 1))
    # chi-square with 99 degrees of freedom: mean 99, standard deviation 14
    assert ((counts - 1000) ** 2 / 1000).sum() < 99 + 5 * 14


def test_neighbouring_counters_are_uncorrelated() -> None:
    grid = uniforms(1, np.arange(300)[:, None], np.arange(300)[None, :])
    assert abs(np.corrcoef(grid[:-1].ravel(), grid[1:].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(grid[:, :-1].ravel(), grid[:, 1:].ravel())[0, 1]) < 0.02


def test_the_order_of_counters_matters() -> None:
    assert bits(0, 1, 2) != bits(0, 2, 1)
    assert bits(0, "sft", 1) != bits(0, "rl", 1)


@given(st.integers(0, 200), st.integers(0, 2**32))
def test_a_permutation_holds_every_item_once(count: int, seed: int) -> None:
    assert sorted(permutation(count, seed, "epoch").tolist()) == list(range(count))


def test_negative_counters_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="counter -1 is negative"):
        uniforms(0, -1)
    with pytest.raises(InvalidArgument, match="cannot permute -2"):
        permutation(-2, 0)


@given(st.integers(1, 300), st.integers(1, 50))
def test_parts_hold_everything_in_order_and_differ_by_one_at_most(count: int, most: int) -> None:
    order = permutation(count, 3)
    parts = evenly_spread(order, most)
    assert np.concatenate(parts).tolist() == order.tolist()
    sizes = [len(part) for part in parts]
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1
    assert len(parts) == -(-count // most), "the fewest"


def test_parts_of_nothing_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="at most 0 items"):
        evenly_spread(permutation(3, 0), 0)
