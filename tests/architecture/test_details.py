"""DETAILS.md names tests that exist, and a property test for each invariant of the data engine."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAMED = re.compile(r"`((?:tests|rust)/[\w/]+\.(?:py|rs))::(\w+)`")


def test_every_test_that_details_names_exists() -> None:
    named = NAMED.findall((ROOT / "tests" / "DETAILS.md").read_text())
    assert len(named) > 60
    missing = [f"{path}::{name}" for path, name in named if not _has(ROOT / path, name)]
    assert not missing


def test_every_kind_of_bad_input_of_models_of_others_has_a_test() -> None:
    page = (ROOT / "tests" / "DETAILS.md").read_text()
    section = page.partition("## Bad input: models of others")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+) \| (`.+`) \|$", section, re.MULTILINE)
    for word in ("pickle", "GGUF: counts", "fill the memory", "overlaps", "adapter", "render", "nothing is trained"):
        assert any(word in what for what, _ in rows), word
    assert all(NAMED.search(tests) for _, tests in rows)


def _has(path: Path, name: str) -> bool:
    return path.exists() and re.search(rf"\b(?:def|fn) {name}\(", path.read_text()) is not None


def test_each_invariant_of_the_data_engine_has_a_property_test() -> None:
    page = (ROOT / "tests" / "DETAILS.md").read_text()
    section = page.partition("## Invariants of the data engine")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| (.+) \| (.+) \|$", section, re.MULTILINE)
    assert [int(number) for number, _, _ in rows] == list(range(1, 34))
    for number, _, tests in rows:
        named = NAMED.findall(tests)
        if tests.startswith("does not apply: "):
            continue
        exempt = tests.startswith(("exhaustive: ", "statistical: "))
        assert named, number
        assert exempt or any(_is_property(ROOT / path, name) for path, name in named), f"{number}: {tests}"


def _is_property(path: Path, name: str) -> bool:
    """Whether hypothesis or proptest makes the arguments of a test."""
    text = path.read_text()
    if path.suffix == ".rs":
        arguments = re.search(rf"fn {name}\(([^{{]*)\{{", text)
        return arguments is not None and re.search(r"\w+ in |: u64", arguments[1]) is not None
    before = text.partition(f"def {name}(")[0]
    return "@given(" in before.rpartition("\n\n\n")[2]


def test_a_test_without_arguments_is_no_property_test() -> None:
    assert _is_property(ROOT / "rust/packing/tests/rows.rs", "nothing_is_lost_or_repeated")
    assert not _is_property(ROOT / "rust/packing/tests/rows.rs", "settings_out_of_range_are_refused")
    assert _is_property(ROOT / "tests/packing/test_loader.py", "test_resuming_gives_the_tail")
    assert not _is_property(ROOT / "tests/packing/test_loader.py", "test_batches_hold_the_rows_in_order")
