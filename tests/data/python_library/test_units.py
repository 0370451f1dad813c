"""Twins are held out together, and what is held out depends on names, shares and the seed alone."""

import pytest

from stategpt.data.python_library.units import fraction, held_out_units, unit_of
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


def test_weights_held_out_stay_within_the_share() -> None:
    weights = {f"m{i}": 1 + i % 40 for i in range(200)}
    for seed in range(5):
        held = sum(weights[unit] for unit in held_out_units(weights, 0.12, seed))
        assert 0.11 * sum(weights.values()) < held <= 0.12 * sum(weights.values())


def test_the_seed_chooses_other_units_and_the_order_of_names_does_not() -> None:
    weights = {f"m{i}": 5 for i in range(100)}
    assert held_out_units(weights, 0.1, 0) != held_out_units(weights, 0.1, 1)
    assert held_out_units(dict(reversed(weights.items())), 0.1, 0) == held_out_units(weights, 0.1, 0)


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_neither_side_is_ever_empty(share: float) -> None:
    assert len(held_out_units({"a": 5, "b": 5}, share, 0)) == 1


@pytest.mark.parametrize("weights", [{}, {"only": 3}])
def test_one_module_cannot_be_split(weights: dict[str, int]) -> None:
    with pytest.raises(CorpusError, match="at least two"):
        held_out_units(weights, 0.5, 0)
