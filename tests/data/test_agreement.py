"""Agreement of annotators against a slow computation from the definition."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stategpt.data import Rankings, measure_agreement
from stategpt.data.agreement import ordinal_alpha


def slow_alpha(units: list[list[int]]) -> float | None:
    """Alpha of units of values 0, 1, 2 from pairs of values, each unit also with its values turned round."""
    both = [unit for unit in units if len(unit) > 1]
    both = both + [[2 - value for value in unit] for unit in both]
    counts = [sum(unit.count(value) for unit in both) / 2 for value in range(3)]
    total = sum(counts)

    def distance(one: int, other: int) -> float:
        low, high = sorted((one, other))
        return float((sum(counts[low : high + 1]) - (counts[low] + counts[high]) / 2) ** 2)

    observed = sum(distance(a, b) / (len(unit) - 1) / 2 for unit in both for a, b in itertools.permutations(unit, 2))
    expected = sum(counts[a] * counts[b] * distance(a, b) for a in range(3) for b in range(3))
    return 1 - (total - 1) * observed / expected if expected and total > 1 else None


def rankings(units: list[list[int]]) -> Rankings:
    ranks = [[1, 2], [1, 1], [2, 1]]
    return Rankings.read(
        {
            "id": str(number),
            "prompt": f"question {number}",
            "completions": [{"text": "x"}, {"text": "y"}],
            "votes": [{"annotator": str(who), "ranks": ranks[value]} for who, value in enumerate(unit)],
        }
        for number, unit in enumerate(units)
    )


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), min_size=1, max_size=6))
def test_alpha_is_that_of_the_definition(units: list[list[int]]) -> None:
    found = measure_agreement(rankings(units).groups)
    assert found.alpha == pytest.approx(slow_alpha(units))
    assert found.pairs == sum(len(unit) > 1 for unit in units)
    assert found.conflicting_pairs == sum({0, 2} <= set(unit) for unit in units)
    assert (found.votes, found.annotators) == (sum(map(len, units)), max(map(len, units)))


def test_full_agreement_is_one_and_disagreement_below_zero() -> None:
    assert measure_agreement(rankings([[0, 0], [2, 2], [0, 0, 0]]).groups).alpha == pytest.approx(1)
    assert measure_agreement(rankings([[0, 2], [2, 0]]).groups).alpha == pytest.approx(-0.5)
    assert measure_agreement(rankings([[1, 1]]).groups).alpha is None
    assert measure_agreement([]).to_json()["cycle_share"] == 0


def test_the_distance_of_ordered_values_is_that_of_krippendorff() -> None:
    coincidences = np.array([[4.0, 1.0, 0.0], [1.0, 2.0, 1.0], [0.0, 1.0, 4.0]])
    sums = [5, 4, 5]
    distance = [[0, 4.5**2, 9**2], [4.5**2, 0, 4.5**2], [9**2, 4.5**2, 0]]
    expected = sum(sums[a] * sums[b] * distance[a][b] for a in range(3) for b in range(3))
    observed = sum(coincidences[a][b] * distance[a][b] for a in range(3) for b in range(3))
    assert ordinal_alpha(coincidences) == pytest.approx(1 - 13 * observed / expected)


def test_cycles_are_counted_over_all_groups_of_a_prompt() -> None:
    pairs = [("a", "b"), ("b", "c"), ("c", "a"), ("a", "d"), ("b", "d")]
    records = [
        {"id": str(n), "prompt": "?", "completions": [{"text": x, "rank": 1}, {"text": y, "rank": 2}]}
        for n, (x, y) in enumerate(pairs)
    ]
    found = measure_agreement(Rankings.read(records).groups)
    assert (found.triples, found.cycles, found.cycle_share) == (2, 1, 0.5)
    assert (found.alpha, found.pairs) == (None, 0)


@given(st.lists(st.permutations(range(4)), min_size=1, max_size=5))
def test_cycles_of_majorities_are_counted_as_by_hand_and_kept_as_pairs(orders: list[list[int]]) -> None:
    records = [
        {
            "id": "1",
            "prompt": "?",
            "completions": [{"text": text} for text in "abcd"],
            "votes": [{"annotator": str(who), "ranks": [1 + r for r in ranks]} for who, ranks in enumerate(orders)],
        }
    ]
    (group,) = Rankings.read(records).groups
    beats = {
        (a, b) for a, b in itertools.permutations(range(4), 2) if sum(r[a] < r[b] for r in orders) * 2 > len(orders)
    }
    decided = [
        t
        for t in itertools.combinations(range(4), 3)
        if all((a, b) in beats or (b, a) in beats for a, b in itertools.combinations(t, 2))
    ]
    cyclic = [t for t in decided if all(sum((a, b) in beats for b in t) == 1 for a in t)]
    found = measure_agreement([group])
    assert (found.triples, found.cycles) == (len(decided), len(cyclic))
    assert {(winner, loser) for winner, loser in group.pairs.tolist()} == beats, "no majority is averaged away"
