"""Documents the fields of dataclasses in `help()` and run.toml, and gives them a short `repr`.

The documentation of a field is the string under its declaration.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Mapping, Set
from itertools import pairwise
from typing import Any, TypeVar

Class = TypeVar("Class", bound=type)
_LONGEST_TEXT, _LONGEST_ENTRY, _MOST_ITEMS, _LONGEST = 100, 160, 3, 900
_known: dict[type, dict[str, str]] = {}


def field_docs(section: type) -> dict[str, str]:
    """Meaning of every field of a dataclass, inherited ones first, by name; empty where the source is not installed."""
    if section not in _known:  # finding a class in its source takes milliseconds
        bases = [base for base in reversed(section.__mro__) if dataclasses.is_dataclass(base)]
        _known[section] = {name: text for base in bases for name, text in _read_docs(base).items()}
    return _known[section]


def documented(section: Class) -> Class:
    """A class decorator: `help()` shows the fields, which Python itself drops.

    The docstring gets an `Attributes:` section from the strings under the declarations, when somebody asks for it.
    """
    section.__doc__ = _Docstring(section.__doc__ or "")  # type: ignore[assignment]
    return section


class _Docstring:
    """A class's docstring, completed when it is read."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __get__(self, instance: object, owner: type) -> str:
        docs = field_docs(owner)
        if not docs:
            return self._text
        width = 116  # of a line of this package, less what `help()` indents
        lines = [
            textwrap.fill(f"{name}: {told}", width, initial_indent=" " * 4, subsequent_indent=" " * 8)
            for name, told in docs.items()
        ]
        return "\n".join([inspect.cleandoc(self._text), "", "Attributes:", *lines, ""])


def _read_docs(section: type) -> dict[str, str]:
    try:
        source = textwrap.dedent(inspect.getsource(section))
    except (OSError, TypeError):  # an installation without sources still runs; it only shows no explanations
        return {}
    body = next(node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)).body
    docs: dict[str, str] = {}
    for declaration, text in pairwise(body):
        if not isinstance(declaration, ast.AnnAssign) or not isinstance(declaration.target, ast.Name):
            continue
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str):
            docs[declaration.target.id] = " ".join(text.value.value.split())
    return docs


def short_repr(self: Any) -> str:
    """A `repr` of at most 1,000 characters, whatever the fields hold: `__repr__ = short_repr` in a class's body.

    Arrays and tensors show type and shape, long collections their size, long texts their beginning.
    """
    shown = ", ".join(f"{field.name}={_short(getattr(self, field.name))}" for field in dataclasses.fields(self))
    return f"{type(self).__name__}({_cut(shown, _LONGEST)})"


def _short(value: Any) -> str:
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is not None and dtype is not None:
        return f"{str(dtype).removeprefix('torch.')}{list(shape)}"
    if isinstance(value, str):
        return repr(_cut(value, _LONGEST_TEXT))
    if isinstance(value, list | tuple | Set | Mapping) and len(value) > _MOST_ITEMS:
        return f"<{type(value).__name__} of {len(value):,}>"
    if isinstance(value, list | tuple) and any(hasattr(item, "dtype") for item in value):
        return "[" + ", ".join(map(_short, value)) + "]"
    return _cut(repr(value), _LONGEST_ENTRY)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
