"""Entries carry the names and signatures that `help()` shows."""

import ast
from textwrap import dedent

from stategpt.data.sources.python_library.docstrings import documented
from stategpt.data.sources.python_library.records import Entry


def entries(source: str) -> list[Entry]:
    return [entry for item in documented(ast.parse(dedent(source)), "pack.mod") if (entry := item.entry("pack"))]


def test_names_signatures_and_kinds() -> None:
    found = entries('''\
        """Module."""
        class A:
            """Class."""
            def __init__(self, size, *, deep=True):
                """Set up."""
            class B(A):
                """Inner."""
            @property
            def width(self) -> int:
                """Width."""
        async def f(x, /, y=1, *args: int, **kwargs) -> list[str]:
            """Function."""
            def g():
                """Local."""
        if True:
            try:
                pass
            except OSError:
                def h(a):
                    """Under conditions."""
        ''')
    assert [(e.name + e.signature, e.kind, e.local) for e in found] == [
        ("pack.mod", "module", False),
        ("pack.mod.A(size, *, deep=True)", "class", False),
        ("pack.mod.A.__init__(self, size, *, deep=True)", "function", False),
        ("pack.mod.A.B", "class", False),
        ("pack.mod.A.width(self) -> int", "function", False),
        ("pack.mod.f(x, /, y=1, *args: int, **kwargs) -> list[str]", "function", False),
        ("pack.mod.f.g()", "function", True),
        ("pack.mod.h(a)", "function", False),
    ]
    assert {e.unit for e in found} == {"pack"}


def test_a_class_shows_the_arguments_a_caller_gives() -> None:
    source = 'class A:\n    "Text."\n    def __init__({}): pass\n'
    signatures = [entries(source.format(arguments))[0].signature for arguments in ("s, /, a=1", "s=None", "*a", "s")]
    assert signatures == ["(a=1)", "()", "(*a)", "()"]


def test_the_document_is_the_name_and_the_indented_text() -> None:
    entry = entries('''\
        def f(a):
            """First line.

              Indented.
            Last.
            """
        ''')[0]
    assert entry.document == "pack.mod.f(a)\n    First line.\n\n      Indented.\n    Last.\n"
