"""Core code does not name the demo's corpus or its scorer: sources and scorers are found by name in their folders."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "python" / "stategpt"
MAY_NAME_IT = ("data/sources/python_library", "evaluate/scorers/docstring_style", "recipes/")
SOURCE, SCORER = "python_?library", "docstring_?style"


def named_in(root: Path, name: str) -> Iterator[str]:
    """`file:line: text` of every line outside the demo's own files that has the name."""
    names = re.compile(name, re.IGNORECASE)
    for path in sorted(root.rglob("*")):
        place = path.relative_to(root).as_posix()
        if path.suffix not in (".py", ".j2", ".pyi", ".css") or place.startswith(MAY_NAME_IT):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if names.search(line):
                yield f"{place}:{number}: {line.strip()}"


@pytest.mark.parametrize("name", [SOURCE, SCORER])
def test_core_does_not_name_the_demo(name: str) -> None:
    assert list(named_in(PACKAGE, name)) == []


def test_a_name_of_the_demo_is_found_outside_its_own_files(tmp_path: Path) -> None:
    inside = "from stategpt.data.sources.python_library import build\n"
    for name in (
        "stages/prepare.py",
        "data/sources/python_library/build.py",
        "recipes/tiny_cpu.py",
        "report/page.html.j2",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(inside if name != "report/page.html.j2" else "<p>DocstringStyle</p>\n")
    assert list(named_in(tmp_path, SCORER)) == ["report/page.html.j2:1: <p>DocstringStyle</p>"]
    assert list(named_in(tmp_path, SOURCE)) == [f"stages/prepare.py:1: {inside.strip()}"]
