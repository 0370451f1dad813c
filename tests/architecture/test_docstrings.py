"""Whatever has a public name says what it is: modules, classes, methods and functions inside functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "python" / "stategpt"
TO_COME = {
    "model/cache.py": ("slots", "picked"),
    "model/policy.py": ("of_rows",),
}
"""Functions inside functions that have none yet, by file."""

_NAMED = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def unexplained(source: str) -> Iterator[tuple[int, str]]:
    """(line, name) of everything with a public name and no docstring; overloads are explained where they end."""
    tree = ast.parse(source)
    if tree.body and ast.get_docstring(tree) is None:
        yield 1, "the module"
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, _NAMED):
                pending.append(child)
            elif not child.name.startswith("_"):  # what is inside of something private is private
                pending.append(child)
                overload = any("overload" in ast.unparse(each) for each in child.decorator_list)
                if ast.get_docstring(child) is None and not overload:
                    yield child.lineno, child.name


def test_every_public_name_has_a_docstring() -> None:
    files = [path for path in sorted(PACKAGE.rglob("*.py")) if "kernels" not in path.relative_to(PACKAGE).parts]
    assert len(files) > 300
    found = [
        f"{path}:{line}: {name} has no docstring"
        for path in files
        for line, name in unexplained(path.read_text())
        if name not in TO_COME.get(path.relative_to(PACKAGE).as_posix(), ())
    ]
    assert not found


def test_the_rule_finds_what_has_none() -> None:
    source = '"""A module."""\ndef a():\n    """Is explained."""\n    def b():\n        def _c():\n'
    source += "            def d(): ...\n"
    assert list(unexplained(source)) == [(4, "b")]
    assert [name for _, name in unexplained("class A:\n    def f(self): ...\n    def __init__(self): ...\n")] == [
        "the module",
        "A",
        "f",
    ]
