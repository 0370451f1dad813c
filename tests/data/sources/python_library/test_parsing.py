"""Taking files apart: what is code stays the same program, what is a comment or docstring is found and removed."""

import ast
import io
import sysconfig
import tokenize
import warnings
from pathlib import Path
from textwrap import dedent

import pytest

from stategpt.data.sources.python_library.parsing import ParsedFile, UnusableSourceError, decode, parse


def take_apart(source: str) -> ParsedFile:
    return parse(dedent(source), "m", "m")


class WithoutDocstrings(ast.NodeTransformer):
    """The meaning that must survive: no docstrings, and no `pass` in their place."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            described = ast.get_docstring(node, clean=False) is not None
            body = node.body[1:] if described else node.body
            node.body = [statement for statement in body if not isinstance(statement, ast.Pass)]
        return node


def meaning(source: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.dump(WithoutDocstrings().visit(ast.parse(source)))


def test_docstrings_and_comments_are_removed_and_the_rest_stays() -> None:
    parsed = take_apart('''\
        #!/usr/bin/env python3
        """Module text."""

        import os  # trailing

        # A block
        # of two lines.

        class A:
            """Class text."""

            x = "# not a comment"

            def f(self):
                """Only a docstring."""

        def g(): "one line"
        ''')
    assert parsed.code == dedent("""\
        import os

        class A:
            x = "# not a comment"

            def f(self):
                pass

        def g(): pass
        """)
    assert parsed.comments == ["#!/usr/bin/env python3\n", "# trailing\n", "# A block\n# of two lines.\n"]
    assert [entry.text for entry in parsed.entries] == ["Module text.", "Class text.", "Only a docstring.", "one line"]


@pytest.mark.parametrize(
    "source",
    [
        'class A: "doc"; x = 1\n',
        'def f(): ("brackets")\n',
        'def f():\n    "a" "b"\n    "c"\n    return 1\n',
        'def f():\n    ("a"  # why\n     "b")\n    return 1\n',
        'def f():\n    """é\n  ü""" ; return "ß"\n',
        'async def f():\n    """x"""\n    async with g() as h: pass\n',
        'x = """\n# inside\n\n\n"""\n# outside\n\n\ny = 1\n',
        "x = [  # open\n    1,\n    # between\n    2,\n]\n",
        'if a:\n    # only this\n    pass\nelse:\n    def f():\n        "d"\n',
        "x = f\"{a['#']} # {b!r}\"  # end\n",
        '"""Only a module docstring."""\n',
        "# Only a comment.\n",
        "",
        "\f\nx = 1\n\f\n# page\ny = 2\n",
        'class A:\n    b"not a docstring"\n    f"nor this {1}"\n',
    ],
)
def test_the_code_that_is_left_means_the_same(source: str) -> None:
    parsed = parse(source, "m", "m")
    assert meaning(parsed.code) == meaning(source)
    assert parse(parsed.code, "m", "m").entries == []
    tokens = tokenize.generate_tokens(io.StringIO(parsed.code).readline)
    assert not [token for token in tokens if token.type == tokenize.COMMENT]


def test_the_library_itself_survives_being_taken_apart() -> None:
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[::9]
    assert len(files) >= 10
    for file in files:
        source = decode(file.read_bytes())
        assert meaning(parse(source, file.stem, file.stem).code) == meaning(source), file.name


def test_comment_blocks_without_a_word_are_counted_not_kept() -> None:
    parsed = take_apart("""\
        # ------
        # 1

        x = 1  # one
        """)
    assert parsed.comments == ["# one\n"]
    assert parsed.wordless_comments == 1


def test_blank_docstrings_are_counted_not_kept() -> None:
    parsed = take_apart('def f():\n    "  "\n')
    assert parsed.entries == []
    assert parsed.empty_docstrings == 1
    assert parsed.code == "def f():\n    pass\n"


def test_line_ends_and_byte_order_marks_do_not_matter() -> None:
    assert decode(b"\xef\xbb\xbfx = 1\r\ny = 2\rz = 3\n") == "x = 1\ny = 2\nz = 3\n"


@pytest.mark.parametrize(
    ("raw", "reason", "place"),
    [
        (b"x = '\xe9'\n", "not_utf8", "byte 0xe9 at offset 5"),
        (b"x = 1\nprint 'python 2'\n", "not_python", "line 2"),
        (b"x = 1\x00\n", "not_python", "null bytes"),
        (b"(" * 5000 + b")" * 5000, "not_python", ""),
        (b"def f(x=" + b"-" * 1500 + b"1):\n    'Text.'\n", "not_python", "nested too deeply"),
    ],
)
def test_unusable_files_say_why_and_where(raw: bytes, reason: str, place: str) -> None:
    with pytest.raises(UnusableSourceError) as caught:
        parse(decode(raw), "m", "m")
    assert caught.value.reason == reason
    assert place in str(caught.value)
