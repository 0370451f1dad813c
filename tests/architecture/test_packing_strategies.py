"""A packing strategy is a file of rust/packing/src/plan and an entry of the table there; the rest reads the table."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from stategpt import _native
from stategpt.config import DataConfig
from stategpt.errors import ConfigError, InvalidArgument
from stategpt.packing import pack, shards

ROOT = Path(__file__).resolve().parents[2]
PLANS = ROOT / "rust" / "packing" / "src" / "plan"


@pytest.mark.parametrize("name", _native.PACKING_STRATEGIES)
def test_each_strategy_has_a_file_and_one_entry(name: str) -> None:
    assert (PLANS / f"{name}.rs").exists() or (PLANS / name / "mod.rs").exists()
    assert (PLANS / "mod.rs").read_text().count(f"{name}::STRATEGY") == 1


@pytest.mark.parametrize("name", _native.PACKING_STRATEGIES[1:])
def test_no_other_file_spells_its_name(name: str) -> None:
    """The default's name, the first, is also the default of a setting and of an argument."""
    python = [
        str(path)
        for path in (ROOT / "python" / "stategpt").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value == name
    ]
    rust = [
        str(path)
        for path in (ROOT / "rust").glob("*/src/**/*.rs")
        if f'"{name}"' in path.read_text() and PLANS not in path.parents
    ]
    assert not python + rust


def test_the_setting_and_the_argument_take_the_names_of_the_table() -> None:
    assert get_args(get_type_hints(DataConfig)["strategy"]) == _native.PACKING_STRATEGIES
    for name in _native.PACKING_STRATEGIES:
        assert DataConfig(strategy=name).strategy == name
    listed = ", ".join(_native.PACKING_STRATEGIES)
    with pytest.raises(ConfigError, match=f"must be one of {listed}"):
        DataConfig(strategy="worst_fit")
    opened = object.__new__(shards.Shards)
    with pytest.raises(InvalidArgument, match=f"choose one of {listed}"):
        pack(opened, 8, strategy="worst_fit")
