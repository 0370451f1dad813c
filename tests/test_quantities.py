"""Durations and sizes: one format in the plan, the log, the summary and the report."""

import re
from pathlib import Path

import pytest

from stategpt.quantities import duration, size

PACKAGE = Path(__file__).resolve().parents[1] / "python" / "stategpt"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (1, "1 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (184.2, "3 min 04 s"),
        (3599.6, "1 h 00 min"),
        (4200, "1 h 10 min"),
        (2 * 86_400, "2 days"),
        (1e9, "11,574 days"),
    ],
)
def test_two_units_that_suit(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 KB"), (25.3e9, "25.3 GB"), (5e18, "5e+06 TB")]
)
def test_sizes(count: float, text: str) -> None:
    assert size(count) == text


def test_no_other_file_writes_durations_of_its_own() -> None:
    own = re.compile(r"\{[^{}]*(_s|seconds|minutes)\b[^{}]*\}\s*(s|min|h|seconds|minutes|hours|days)\b")
    found = [
        f"{path.name}: {line.strip()}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.name != "quantities.py" and "kernels" not in path.parts
        for line in path.read_text().splitlines()
        if own.search(line)
    ]
    assert own.search('f"{left_s:.0f} s left"')
    assert not found
