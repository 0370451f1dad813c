"""Docstrings in a syntax tree, with the names and signatures that `help()` shows above them."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

from stategpt.data.sources.python_library.records import Entry, EntryKind

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Documented:
    """A module, class or function with a docstring."""

    node: ast.Module | ast.ClassDef | _Function
    name: str
    """Dotted name."""
    local: bool
    """Inside a function."""

    @property
    def statement(self) -> ast.Expr:
        """The docstring's statement, brackets around it included."""
        statement = self.node.body[0]
        assert isinstance(statement, ast.Expr)
        return statement

    @property
    def leaves_a_body(self) -> bool:
        """Whether the body can do without the docstring: what follows exists and does not become one."""
        rest = self.node.body[1:]
        if not rest:
            return isinstance(self.node, ast.Module)
        return not (isinstance(rest[0], ast.Expr) and isinstance(rest[0].value, ast.Constant))

    def entry(self, unit: str) -> Entry | None:
        """The corpus entry; None for a docstring of nothing but whitespace."""
        text = ast.get_docstring(self.node)
        if not text:
            return None
        return Entry(self.name, _signature(self.node), text, unit, _kind(self.node), self.local)


def starts_with_call(line: str, name: str) -> bool:
    """Whether a docstring's line is a signature written by hand: `get(...`, `D.get(...` for the name `dict.get`."""
    head, bracket, _ = line.partition("(")
    return bool(bracket) and head.rpartition(".")[2] == name.rpartition(".")[2] and head.replace(".", "").isidentifier()


def documented(tree: ast.Module, module: str) -> Iterator[Documented]:
    """Everything in `tree` that has a docstring, in the order of the file."""
    if ast.get_docstring(tree, clean=False) is not None:
        yield Documented(tree, module, local=False)
    yield from _inside(tree, module, local=False)


def _inside(node: ast.AST, prefix: str, *, local: bool) -> Iterator[Documented]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, _Function | ast.ClassDef):
            name = f"{prefix}.{child.name}"
            if ast.get_docstring(child, clean=False) is not None:
                yield Documented(child, name, local)
            yield from _inside(child, name, local=local or isinstance(child, _Function))
        elif isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            yield from _inside(child, prefix, local=local)  # definitions under `if`, `try`, `with`, `for`, `match`


def _kind(node: ast.AST) -> EntryKind:
    if isinstance(node, ast.Module):
        return "module"
    return "class" if isinstance(node, ast.ClassDef) else "function"


def _signature(node: ast.Module | ast.ClassDef | _Function) -> str:
    """`(self, key, default=None) -> str`; of a class, that of the `__init__` it defines, as callers see it."""
    if isinstance(node, ast.Module):
        return ""
    if isinstance(node, ast.ClassDef):
        own = [child for child in node.body if isinstance(child, _Function) and child.name == "__init__"]
        return f"({ast.unparse(_without_self(own[-1].args))})" if own else ""
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"({ast.unparse(node.args)}){returns}"


def _without_self(arguments: ast.arguments) -> ast.arguments:
    """`arguments` without the first positional one."""
    shown = copy.copy(arguments)
    if shown.posonlyargs:
        shown.posonlyargs = shown.posonlyargs[1:]
    else:
        shown.args = shown.args[1:]
    positional = len(shown.posonlyargs) + len(shown.args)
    shown.defaults = shown.defaults[max(0, len(shown.defaults) - positional) :]
    return shown
