"""The runner of the mutants: what tests notice, what they do not, and entries that prove nothing."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

RUNNER = Path(__file__).with_name("run.py")
PLUGINS = "pytest,hypothesis,pytest_benchmark.plugin"
ENTRY = """
[[mutant]]
name = "{name}"
file = "python/sums.py"
old = "{old}"
new = "{new}"
tests = ["tests/test_sums.py::{test}"]
"""


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """run(*entries): writes a small tree with these entries, runs them; exit status and what was printed."""
    tree = tmp_path / "source"
    for folder in ("python", "tests/mutants"):
        (tree / folder).mkdir(parents=True)
    (tree / "python/sums.py").write_text("def add(a, b):\n    return a + b\n")
    (tree / "tests/test_sums.py").write_text(
        "from sums import add\n\n\n"
        "def test_add():\n    assert add(2, 3) == 5\n\n\n"
        "def test_twos():\n    assert add(2, 2) == 4\n"
    )

    def run(*entries: dict[str, str], limit_s: int = 60) -> tuple[int, str]:
        good = {"name": "takes away", "old": "a + b", "new": "a - b", "test": "test_add"}
        text = "".join(ENTRY.format(**{**good, **entry}) for entry in entries)
        (tree / "tests/mutants/area.toml").write_text(text)
        options = [
            "--source",
            str(tree),
            "--folder",
            str(tmp_path / "copy"),
            "--preload",
            "pytest",
            "--limit",
            str(limit_s),
        ]
        done = subprocess.run([sys.executable, str(RUNNER), *options], capture_output=True, text=True, check=False)
        assert not done.stderr
        assert "a + b" in (tree / "python/sums.py").read_text(), "the tree itself is never touched"
        for copy in (tmp_path / "copy").glob("worker_*/tree"):
            assert "a + b" in (copy / "python/sums.py").read_text(), "the copy is whole again"
        return done.returncode, done.stdout

    return run


def test_a_mutant_that_tests_notice_is_killed(run: Callable[..., tuple[int, str]]) -> None:
    code, said = run({}, {"name": "multiplies", "new": "a * b"})
    assert code == 0
    assert "2 mutants: 2 killed, 0 survived" in said


def test_one_that_they_do_not_notice_survives(run: Callable[..., tuple[int, str]]) -> None:
    code, said = run({"new": "a * b", "test": "test_twos"})
    assert code == 1
    assert "SURVIVED  area: takes away" in said


@pytest.mark.parametrize("entry", [{"old": "a % b"}, {"old": "a"}, {"new": "a + b"}, {"new": "a +"}])
def test_an_entry_that_proves_nothing_is_an_error(run: Callable[..., tuple[int, str]], entry: dict[str, str]) -> None:
    """Not there, there twice, no change, no Python any more."""
    code, said = run(entry)
    assert code == 2
    assert "WRONG ENTRY" in said


def test_a_test_that_does_not_exist_is_an_error(run: Callable[..., tuple[int, str]]) -> None:
    code, said = run({"test": "test_other"})
    assert code == 2
    assert "test_other" in said


def test_a_mutant_whose_tests_never_end_is_killed(run: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    """A limit of its own ends them, with all processes that they started."""
    tests = tmp_path / "source/tests/test_sums.py"
    tests.write_text(tests.read_text() + "\n\ndef test_counts():\n    while add(1, 0) != 1:\n        pass\n")
    code, said = run({"test": "test_counts", "new": "None"}, {"test": "test_add"}, limit_s=1)
    assert code == 0, said


def test_a_test_that_fails_on_the_unchanged_tree_spoils_only_its_own_entries(
    run: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    tests = tmp_path / "source/tests/test_sums.py"
    tests.write_text(tests.read_text() + "\n\ndef test_fails():\n    assert add(1, 1) == 3\n")
    code, said = run({"test": "test_fails"}, {"name": "multiplies", "new": "a * b"})
    assert code == 2
    assert "test_fails fails on the unchanged tree" in said
    assert "2 mutants: 1 killed, 0 survived, 1 wrong entry" in said


def test_what_an_interrupted_run_left_is_repaired(run: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    for worker in ("worker_0", "worker_1"):
        left = tmp_path / "copy" / worker / "tree/python"
        left.mkdir(parents=True)
        (left / "sums.py").write_text("def add(a, b):\n    return a - b\n")
        (left / "left.py").symlink_to("sums.py")
    code, said = run({}, {"name": "multiplies", "new": "a * b"})
    assert code == 0, said
    assert not (tmp_path / "copy/worker_0/tree/python/left.py").exists()
