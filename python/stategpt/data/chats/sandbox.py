"""Jinja2 for templates of others: sandboxed, bounded, and every string of the output tracked to where it came from.

What `transformers` gives a chat template is there: trim_blocks and lstrip_blocks, `raise_exception`, `tojson` without
HTML escapes, `break` and `continue`, `{% generation %}`. `strftime_now` gives the default date of Llama 3, 26 July
2024: equal conversations have equal ids on every day. Imported only when a template is (jinja2 is an extra).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from .tracked import MAX_CHARS, TEMPLATE, UNKNOWN, Tracked, joined

MAX_STEPS = 1_000_000
"""Calls, look-ups and turns of loops that one rendering may take."""
_DATE = datetime(2024, 7, 26)

_METHOD_NAMES = (
    "strip lstrip rstrip split rsplit splitlines partition rpartition replace join upper lower capitalize title "
    "removeprefix removesuffix startswith endswith find rfind index rindex count isdigit isupper islower isspace "
    "isalpha isalnum isnumeric"
)
_METHODS = frozenset(_METHOD_NAMES.split())
"""Methods of strings that are let through; `center`, `format` and the like can make gigabytes of a few letters."""
_FILTER_NAMES = (
    "abs batch count d default dictsort first float int items last length list lower map max min reject rejectattr "
    "replace reverse round select selectattr sort string sum trim unique upper capitalize attr"
)


class TrackedEnvironment(ImmutableSandboxedEnvironment):
    """Compiles templates whose output is `Tracked`: text of the template has the origin `TEMPLATE`."""

    concat = staticmethod(joined)
    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,
            cache_size=0,
            extensions=["jinja2.ext.loopcontrols", _Generation],
        )
        self.code_generator_class = _TrackingGenerator
        self.steps = 0
        own: dict[str, Callable[..., Any]] = {"tojson": _tojson, "join": _join, "title": _title, "safe": _as_it_is}
        self.filters = {**{name: self.filters[name] for name in _FILTER_NAMES.split()}, **own, "indent": _indent}
        self.globals = {
            "raise_exception": _raise_exception,
            "strftime_now": _DATE.strftime,
            "namespace": _Names,
            "dict": dict,
            "range": self.bounded_range,
        }

    literal = staticmethod(lambda text: Tracked(text, TEMPLATE))

    def step(self, number: int = 1) -> None:
        """Counts what a rendering takes."""
        self.steps += number
        if self.steps > MAX_STEPS:
            raise SecurityError(f"it takes more than {MAX_STEPS:,} steps")

    def counted(self, items: Iterable[Any]) -> list[Any]:
        """What a loop goes through."""
        held = list(items)
        self.step(len(held) + 1)
        return held

    def bounded_range(self, *bounds: int) -> range:
        """`range`, its length counted."""
        made = range(*bounds)
        self.step(min(len(made), MAX_STEPS + 1))
        return made

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in list(tree.find_all(nodes.For)):
            counted = nodes.Call(nodes.EnvironmentAttribute("counted"), [loop.iter], [], None, None)
            loop.iter = counted.set_lineno(loop.lineno).set_environment(self)
        return tree

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may use it."""
        if isinstance(obj, str) and attr not in _METHODS:
            return False
        return super().is_safe_attribute(obj, attr, value)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 (a name in kwargs)
        """Calls a function of a template."""
        __self.step()
        return super().call(__context, __obj, *args, **kwargs)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Looks up an attribute."""
        self.step()
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Looks up an item."""
        self.step()
        return super().getitem(obj, argument)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Computes with operators whose result can be large."""
        self.step()
        if operator == "**" or (operator == "%" and isinstance(left, str)):
            raise SecurityError(f"it uses the operator {operator}, which is not let through")
        sizes = [len(side) if hasattr(side, "__len__") else abs(side) for side in (left, right) if side is not None]
        if len(sizes) == 2 and (sum(sizes) if operator == "+" else sizes[0] * sizes[1]) > MAX_CHARS:
            raise SecurityError(f"{operator} makes more than {MAX_CHARS:,} items, or a number as large")
        return super().call_binop(context, operator, left, right)


class _TrackingGenerator(CodeGenerator):
    def visit_Const(self, node: nodes.Const, frame: Frame) -> None:  # noqa: N802 (a name of jinja2)
        value = node.as_const(frame.eval_ctx)
        if isinstance(value, str):
            self.write(f"environment.literal({value!r})")
        else:
            super().visit_Const(node, frame)

    def visit_TemplateData(self, node: nodes.TemplateData, frame: Frame) -> None:  # noqa: N802
        self.write(f"environment.literal({node.data!r})")

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802
        self.write("environment.concat((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def _output_const_repr(self, group: Iterable[Any]) -> str:
        return f"environment.literal({''.join(map(str, group))!r})"


class _Generation(Extension):
    """`{% generation %} ... {% endgeneration %}` around what the assistant writes: its body alone."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Gives the body."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Names(Namespace):
    """A template's variables; names of Python's own are refused."""

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise SecurityError(f"it sets {name!r}; names of a namespace must not begin with an underscore")
        super().__setitem__(name, value)


def _raise_exception(message: Any = "") -> NoReturn:
    raise jinja2.TemplateError(str(message)[:400])


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> Tracked:
    """JSON of message data belongs to that message; JSON of anything else is of unknown origin."""
    if indent is not None and not (type(indent) is int and indent <= 16):
        raise SecurityError("tojson takes an indent of at most 16")
    found = {origin for origin in _origins(value) if origin >= 0}
    text = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    return Tracked(text, found.pop() if len(found) == 1 else UNKNOWN)


def _origins(value: Any) -> Iterable[int]:
    if isinstance(value, Tracked):
        yield from set(value.origins)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _origins(key)
            yield from _origins(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _origins(item)


def _join(value: Iterable[Any], d: str = "", attribute: str | None = None) -> Tracked:
    parts = value if attribute is None else [item[attribute] for item in value]
    return (d if isinstance(d, Tracked) else Tracked(d, UNKNOWN)).join(str(part) for part in parts)


def _title(value: Any) -> str:
    return str(value).title()


def _as_it_is(value: Any) -> str:
    return str(value)


def _indent(value: Any, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    before = width if isinstance(width, str) else " " * min(int(width), 256)
    lines = (value if isinstance(value, Tracked) else Tracked(str(value), UNKNOWN)).split("\n")
    return joined(
        part
        for number, line in enumerate(lines)
        for part in (
            Tracked("\n" * (number > 0), UNKNOWN),
            Tracked(before if (number or first) and (line or blank) else "", UNKNOWN),
            line,
        )
    )
