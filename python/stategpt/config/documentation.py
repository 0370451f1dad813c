"""What each setting means, read from the string under its declaration: one text for readers, help and run.toml."""

from __future__ import annotations

import ast
import inspect
import textwrap
from itertools import pairwise

_known: dict[type, dict[str, str]] = {}


def setting_docs(section: type) -> dict[str, str]:
    """Meaning of every setting of a dataclass, by name; empty where the source is not installed."""
    if section not in _known:  # finding a class in its source takes milliseconds
        _known[section] = _read_docs(section)
    return _known[section]


def _read_docs(section: type) -> dict[str, str]:
    try:
        source = textwrap.dedent(inspect.getsource(section))
    except OSError:  # an installation without sources still runs; it only shows no explanations
        return {}
    body = next(node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)).body
    docs: dict[str, str] = {}
    for declaration, text in pairwise(body):
        named = isinstance(declaration, ast.AnnAssign) and isinstance(declaration.target, ast.Name)
        said = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
        if named and said:
            docs[declaration.target.id] = " ".join(text.value.value.split())  # type: ignore[attr-defined]
    return docs
