"""Splits a Python file into its code without docstrings and comments, its comments, and its docstrings.

`ast` says where docstrings are, `tokenize` where comments are: a `#` inside a string is neither. What is left is parsed
again, so code that would no longer be Python is reported, never passed on.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from stategpt.data.sources.python_library.docstrings import Documented, documented
from stategpt.data.sources.python_library.records import Entry

_HAS_WORDS = re.compile(r"[^\W\d_]{2}")


class UnusableSourceError(Exception):
    """A file that is not UTF-8 or not Python; `reason` is a word for statistics, the message says where."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """The three kinds of text in a file."""

    code: str
    """The file without docstrings and comments; empty when only blank lines are left."""
    comments: list[str]
    """Blocks of consecutive lines with comments, `#` included, their indentation removed."""
    wordless_comments: int
    """Blocks left out because they hold no word (`#-----`)."""
    entries: list[Entry]
    """Docstrings in the order of the file."""
    empty_docstrings: int
    """Docstrings left out because they hold nothing but whitespace."""


@dataclass(frozen=True, slots=True)
class _Comment:
    line: int
    column: int
    text: str


def decode(raw: bytes) -> str:
    """The text of a file: line ends as "\\n", no byte-order mark. Raises `UnusableSourceError` with the offset."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        place = f"byte 0x{raw[error.start]:02x} at offset {error.start} is not UTF-8"
        raise UnusableSourceError("not_utf8", place) from error
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def parse(text: str, module: str, unit: str) -> ParsedFile:
    """Splits a file. Raises `UnusableSourceError` with the line when it is not Python."""
    tree = _tree(text, "not_python")
    found = list(documented(tree, module))
    try:
        entries = [entry for item in found if (entry := item.entry(unit))]
    except RecursionError as error:
        raise UnusableSourceError("not_python", "a signature is nested too deeply to be written out") from error
    comments = _comments(text)
    code = _strip(text.split("\n"), found, comments)
    _tree(code, "not_separable")
    blocks = list(_blocks(comments))
    wordy = [block for block in blocks if _HAS_WORDS.search(block)]
    return ParsedFile(
        code=code,
        comments=wordy,
        wordless_comments=len(blocks) - len(wordy),
        entries=entries,
        empty_docstrings=len(found) - len(entries),
    )


def _tree(text: str, reason: str) -> ast.Module:
    """The syntax tree. Text nested too deeply for the parser counts as not Python."""
    try:
        return ast.parse(text)
    except SyntaxError as error:
        raise UnusableSourceError(reason, f"line {error.lineno}, column {error.offset}: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:  # a NUL byte; too many brackets
        raise UnusableSourceError(reason, str(error) or type(error).__name__) from error


def _comments(text: str) -> list[_Comment]:
    """Comments in order, lines counted from 0, columns in characters."""
    try:
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        return [_Comment(t.start[0] - 1, t.start[1], t.string.rstrip()) for t in tokens if t.type == tokenize.COMMENT]
    except (tokenize.TokenError, SyntaxError) as error:
        raise UnusableSourceError("not_python", f"cannot be cut into tokens: {error}") from error


def _blocks(comments: Sequence[_Comment]) -> Iterator[str]:
    """Comments on consecutive lines, joined."""
    block: list[str] = []
    for before, comment in zip([None, *comments], comments, strict=False):
        if before is not None and comment.line != before.line + 1:
            yield "\n".join(block) + "\n"
            block = []
        block.append(comment.text)
    if block:
        yield "\n".join(block) + "\n"


def _strip(lines: list[str], found: Iterable[Documented], comments: Iterable[_Comment]) -> str:
    """`lines` without docstrings and comments; where the grammar needs a statement, `pass` replaces them."""
    commented = set()
    for comment in comments:
        lines[comment.line] = lines[comment.line][: comment.column].rstrip()
        if not lines[comment.line]:
            commented.add(comment.line)
    described = {number for item in found for number in _cut_docstring(lines, item)}
    kept: list[str] = []
    swallow = True  # blank lines, which spaced what is gone; none of them is inside a string
    for number, line in enumerate(lines):
        if number in described or number in commented:
            swallow = number in described or not kept or not kept[-1]
        elif line or not swallow:
            kept.append(line)
            swallow = False
    code = "\n".join(kept).rstrip()
    return code + "\n" if code else ""


def _cut_docstring(lines: list[str], item: Documented) -> Iterator[int]:
    """Remove one docstring in place and yield the lines left empty by it."""
    statement = item.statement
    first, last = statement.lineno - 1, (statement.end_lineno or statement.lineno) - 1
    before = lines[first].encode()[: statement.col_offset].decode()
    after = lines[last].encode()[statement.end_col_offset :].decode()
    # Alone on its lines in a body that can do without it, it goes without a trace; else `pass` takes its place.
    kept = "" if not before.strip() and not after.strip() and item.leaves_a_body else f"{before}pass{after}"
    for number in range(first, last + 1):
        lines[number] = ""
        if number > first or not kept:
            yield number
    lines[first] = kept
