"""Core code does not name the demo's corpus or its scorer: sources and scorers are found by name in their folders."""

import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "python" / "stategpt"
MAY_NAME_IT = ("data/sources/python_library", "evaluate/scorers/docstring_style", "recipes/")
NAMES = re.compile(r"python_?library|docstring_?style", re.IGNORECASE)


def named_in(root: Path) -> Iterator[str]:
    """`file:line: text` of every line outside the demo's own files that names it."""
    for path in sorted(root.rglob("*")):
        place = path.relative_to(root).as_posix()
        if path.suffix not in (".py", ".j2", ".pyi", ".css") or place.startswith(MAY_NAME_IT):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if NAMES.search(line):
                yield f"{place}:{number}: {line.strip()}"


def test_core_does_not_name_the_demo() -> None:
    assert list(named_in(PACKAGE)) == []


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
    assert list(named_in(tmp_path)) == [
        "report/page.html.j2:1: <p>DocstringStyle</p>",
        f"stages/prepare.py:1: {inside.strip()}",
    ]
