"""No test looks at a clock or sleeps: on a busy machine it would fail, or wait for nothing."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
CLOCKS = {"time", "time_ns", "perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "sleep"}
ALLOWED = {
    "faults/test_random_kills.py": "kills at a random moment of work that has no end",
    "live_server.py": "limits how long a test waits for a server that never answers",
    "mutants/run.py": "tells how long a mutant took",
    "tokenizer/test_tokenizer_limits.py": "counts how often a second thread gets to run",
}
"""CPU time (`time.process_time`) is no clock: other programs do not change it."""


def clocks_in(source: str) -> list[str]:
    """Calls of clocks, through the module or imported from it."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            found += [alias.name for alias in node.names if alias.name in CLOCKS]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "time":
            found += [node.attr] if node.attr in CLOCKS else []
    return found


def test_no_test_looks_at_a_clock() -> None:
    found = {
        path.relative_to(TESTS).as_posix(): clocks
        for path in sorted(TESTS.rglob("*.py"))
        if (clocks := clocks_in(path.read_text(encoding="utf-8")))
    }
    assert found.keys() == ALLOWED.keys(), found


@pytest.mark.parametrize("source", ["import time\ntime.sleep(1)", "from time import perf_counter", "a = time.time"])
def test_clocks_are_found(source: str) -> None:
    assert clocks_in(source)


@pytest.mark.parametrize("source", ["import time\ntime.process_time()", "time.gmtime()", "other.sleep(1)"])
def test_what_is_no_clock_is_not(source: str) -> None:
    assert not clocks_in(source)
