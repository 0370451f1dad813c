"""The runner of the mutants: what tests notice, what they do not, and entries that prove nothing."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

main: Callable[[list[str]], int] = runpy.run_path(str(Path(__file__).with_name("run.py")))["main"]
ENTRY = """
[[mutant]]
name = "{name}"
file = "python/sums.py"
old = "{old}"
new = "{new}"
tests = ["tests/test_sums.py::{test}"]
"""


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
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

    def run(*entries: dict[str, str]) -> tuple[int, str]:
        good = {"name": "takes away", "old": "a + b", "new": "a - b", "test": "test_add"}
        text = "".join(ENTRY.format(**{**good, **entry}) for entry in entries)
        (tree / "tests/mutants/area.toml").write_text(text)
        code = main(["--source", str(tree), "--folder", str(tmp_path / "copy")])
        assert "a + b" in (tree / "python/sums.py").read_text(), "the tree itself is never touched"
        assert "a + b" in (tmp_path / "copy/tree/python/sums.py").read_text(), "the copy is whole again"
        return code, capsys.readouterr().out

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
