"""Twins are held out together, and what is held out depends on names, shares and the seed alone."""

import pytest

from stategpt.data.corpus import SIDES
from stategpt.data.sources.python_library.units import fraction, split_units, unit_of
from stategpt.errors import CorpusError


@pytest.mark.parametrize(
    ("module", "unit"),
    [
        ("_pyio", "io"),
        ("_io", "io"),
        ("_pydecimal", "decimal"),
        ("_json", "json"),
        ("json.decoder", "json"),
        ("xml.dom.minidom", "xml"),
        ("_elementtree", "xml"),
        ("posixpath", "os"),
        ("sre_compile", "re"),
        ("__future__", "__future__"),
    ],
)
def test_twins_share_a_unit(module: str, unit: str) -> None:
    assert unit_of(module) == unit


def test_fractions_are_even_and_fixed() -> None:
    values = [fraction("x", i) for i in range(2000)]
    assert abs(sum(values) / 2000 - 0.5) < 0.02
    assert fraction("split", 0, "json") == pytest.approx(0.5844719, abs=1e-6)


def _sides(weights: dict[str, int], validation_share: float, test_share: float, seed: int) -> list[list[str]]:
    side_of = split_units(weights, validation_share, test_share, seed)
    assert side_of.keys() == weights.keys()
    return [sorted(unit for unit, found in side_of.items() if found == side) for side in SIDES]


def test_weights_held_out_stay_within_their_shares() -> None:
    weights = {f"m{i}": 1 + i % 40 for i in range(200)}
    whole = sum(weights.values())
    for seed in range(5):
        _, validation, test = _sides(weights, 0.04, 0.12, seed)
        assert 0.03 * whole < sum(weights[unit] for unit in validation) <= 0.04 * whole
        assert 0.11 * whole < sum(weights[unit] for unit in test) <= 0.12 * whole


def test_the_seed_chooses_other_units_and_the_order_of_names_does_not() -> None:
    weights = {f"m{i}": 5 for i in range(100)}
    assert all(a != b for a, b in zip(_sides(weights, 0.1, 0.1, 0), _sides(weights, 0.1, 0.1, 1), strict=True))
    assert _sides(dict(reversed(weights.items())), 0.1, 0.1, 0) == _sides(weights, 0.1, 0.1, 0)


def test_a_larger_validation_share_takes_nothing_from_the_order_of_the_test_side() -> None:
    weights = {f"m{i}": 5 for i in range(100)}
    _, few, test = _sides(weights, 0.02, 0.1, 0)
    _, many, other = _sides(weights, 0.1, 0.1, 0)
    assert set(few) < set(many)
    assert set(test) - set(many) <= set(other)


@pytest.mark.parametrize("shares", [(0.001, 0.001), (0.9, 0.099), (0.099, 0.9)])
def test_no_side_is_ever_empty(shares: tuple[float, float]) -> None:
    assert [len(side) for side in _sides({"a": 5, "b": 5, "c": 5}, *shares, 0)] == [1, 1, 1]


@pytest.mark.parametrize("weights", [{}, {"only": 3}, {"one": 3, "two": 4}])
def test_fewer_than_three_modules_cannot_be_split(weights: dict[str, int]) -> None:
    with pytest.raises(CorpusError, match=rf"has {len(weights)} top-level .*at least three"):
        split_units(weights, 0.5, 0.2, 0)
