"""The public surface is written down: growing or shrinking it shows in a diff of the golden file."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import stategpt as sg

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "public_names.txt"
PACKAGES = sorted(path.parent.name for path in (ROOT / "python" / "stategpt").glob("*/__init__.py"))
NEED_TORCH = {"ops", "model", "train", "generate", "evaluate", "stages"}


def test_public_names_are_those_of_the_golden_file() -> None:
    assert sorted(sg.__all__) == GOLDEN.read_text().split()


def test_every_public_name_resolves() -> None:
    pytest.importorskip("torch")
    for name in sg.__all__:
        assert getattr(sg, name) is not None


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_exports_what_it_lists_sorted(package: str) -> None:
    if package in NEED_TORCH:
        pytest.importorskip("torch")
    module = importlib.import_module(f"stategpt.{package}")
    names = getattr(module, "__all__", [])
    assert list(names) == sorted(names) or list(names) == sorted(names, key=_case_order), names
    assert all(hasattr(module, name) for name in names)


def _case_order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions: the order in which the linter sorts `__all__`."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def test_the_readme_speaks_of_public_names_only() -> None:
    spoken = set(re.findall(r"\bsg\.([A-Za-z_]+)", (ROOT / "README.md").read_text()))
    assert spoken <= set(sg.__all__)
