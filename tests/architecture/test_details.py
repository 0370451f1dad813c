"""DETAILS.md names tests that exist."""

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


def _has(path: Path, name: str) -> bool:
    return path.exists() and re.search(rf"\b(?:def|fn) {name}\(", path.read_text()) is not None
