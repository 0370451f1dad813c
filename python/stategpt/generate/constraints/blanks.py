"""Templates with blanks: "The answer is {number:int}." What is written is forced, what is left open is constrained.

{name:KIND}      int, float, number, word, line, text, json
{name:a|b|c}     one of these texts
{name:/[A-Z]+/}  what a regular expression matches
{name}           the spec given by that name: template("Call {call}", call=json_schema(...))
{{ and }}        braces
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

from stategpt.arguments import nearest_hint, unicode_text
from stategpt.errors import ConstraintError, IncompleteOutput, InvalidArgument

from .lark import Builder, check_pattern, check_size, quoted
from .limits import Limits
from .specs import Choice, JsonSchema, JsonStart, Regex, Spec, choice

_DIGITS = r"-?(?:0|[1-9][0-9]{0,17})"
_NUMBER = _DIGITS + r"(?:\.[0-9]{1,17})?"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_AFTER_NUMBER = frozenset("0123456789.eE+-")
Json = Any


@dataclass(frozen=True)
class Blank:
    """A blank and what fills it."""

    name: str
    spec: Spec


@dataclass(frozen=True)
class Kind(Regex):
    """A kind of blank that is known by name."""

    name: str = ""

    @property
    def python_pattern(self) -> str:
        """A pattern of Python's `re` that finds it."""
        return _PYTHON.get(self.name, self.pattern)

    def read(self, text: str) -> Json:
        """Returns a number where the kind is one."""
        if self.name == "int" or (self.name == "number" and "." not in text):
            return int(text)
        return float(text) if self.name in ("float", "number") else text


KINDS: Mapping[str, Spec] = {
    "int": Kind(_DIGITS, "int"),
    "float": Kind(_NUMBER, "float"),
    "number": Kind(_NUMBER, "number"),
    "word": Kind(r"[\w'-]{1,64}", "word"),
    "line": Kind(r"[^\r\n]+", "line"),
    "text": Kind(r"(?s:.+)", "text"),
    "json": JsonSchema("true"),
}
"""Kinds of blanks by name. Numbers have at most 18 digits, and 17 behind the point; words 64 characters."""
_PYTHON = {"word": r"\S+?", "line": r"[^\r\n]+?", "text": r"(?s:.+?)"}
"""How blanks of text are read: the shortest text with which the rest of the template fits."""


@dataclass(frozen=True)
class Template(Spec):
    """A text with blanks. Made by `template`."""

    parts: tuple[str | Blank, ...]

    def expression(self, builder: Builder) -> str:
        """Adds its parts to a grammar; returns the expression that refers to them."""
        check_size("the template", "".join(part for part in self.parts if isinstance(part, str)), builder.limits)
        pairs = [(part, _body(part, builder)) for part in self.parts]
        groups = [(is_open, list(group)) for is_open, group in groupby(pairs, lambda pair: pair[1] is None)]
        made: list[str] = []
        for place, (is_open, members) in enumerate(groups, 1):
            if is_open:
                made += [part.spec.expression(builder) for part, _ in members if isinstance(part, Blank)]
                continue
            body = " ".join(text for _, text in members if text is not None)
            # Before what is no terminal the shortest match ends this one; the longest would take what follows, too.
            is_lazy = place < len(groups) and any(isinstance(part, Blank) for part, _ in members)
            made.append(builder.rule(body, "[lazy]") if is_lazy else builder.terminal(body))
        return " ".join(made)

    def regular(self, builder: Builder) -> str | None:
        """Returns it as the body of a terminal."""
        bodies = [_body(part, builder) for part in self.parts]
        return None if None in bodies else "(" + " ".join(body for body in bodies if body is not None) + ")"

    @property
    def python_pattern(self) -> str:
        """A pattern of Python's `re` that finds it."""
        return "".join(
            re.escape(part) if isinstance(part, str) else f"(?:{part.spec.python_pattern})" for part in self.parts
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the blanks, in order."""
        return tuple(part.name for part in self.parts if isinstance(part, Blank))

    def read(self, text: str) -> dict[str, Json]:
        """Returns what the blanks were filled with, by name.

        Raises:
            IncompleteOutput: the text does not fit the template, as one that was cut.
        """
        values: dict[str, Json] = {}
        at = 0
        for is_json, group in groupby(self.parts, _is_json):
            members = list(group)
            if is_json:
                for part in members:
                    assert isinstance(part, Blank)
                    values[part.name], at = self._json(text, at)
                continue
            pattern = re.compile("".join(map(_group, members)))
            is_last = members[-1] is self.parts[-1]
            found = pattern.fullmatch(text, at) if is_last else pattern.match(text, at)
            if found is None:
                raise self._unfit(text)
            at = found.end()
            for part in members:
                if isinstance(part, Blank):
                    values[part.name] = part.spec.read(found[part.name])
        return values

    def _json(self, text: str, at: int) -> tuple[Json, int]:
        try:
            return json.JSONDecoder().raw_decode(text, at)
        except ValueError:
            raise self._unfit(text) from None

    def _unfit(self, text: str) -> IncompleteOutput:
        return IncompleteOutput(
            f"the text {text[-80:]!r} does not fill the template: it may have been cut at max_tokens"
        )

    def json_start(self) -> JsonStart | None:
        """Only where nothing but JSON comes after the first text, as in `Answer: {value:json}`."""
        if _is_json(self.parts[-1]) and all(isinstance(part, str) for part in self.parts[:-1]):
            return JsonStart("".join(part for part in self.parts[:-1] if isinstance(part, str)))
        return None


def template(text: str, /, **specs: Spec) -> Template:
    """A text with blanks.

    Args:
        text: "The answer is {number:int}."; kinds are int, float, number, word, line, text, json, a choice "a|b", a
            regular expression "/.../". Braces are written twice.
        specs: what fills blanks without a kind, by their names.

    Example:
        >>> template("{name:word} is {age:int}.").names
        ('name', 'age')

    Raises:
        ConstraintError: a brace without its other, an unknown kind, two blanks of one name, or two of which the border
            cannot be found.
        InvalidArgument: `specs` holds what no blank is called, or what is no spec.
    """
    unicode_text("template", text)
    for name, spec in specs.items():
        if not isinstance(spec, Spec):
            raise InvalidArgument(f"{name} is of type {type(spec).__name__}; give a spec, such as json_schema(...)")
    parts = _Parser(text, specs).parts()
    made = Template(tuple(parts))
    if not made.names:
        raise ConstraintError(f"the template {text[:60]!r} has no blank; write one as {{name:int}}")
    if unused := sorted(specs.keys() - {*made.names}):
        raise InvalidArgument(f"no blank of the template is called {unused[0]!r}; it has {', '.join(made.names)}")
    _check_borders(parts)
    return made


class _Parser:
    """Reads a template."""

    def __init__(self, text: str, specs: Mapping[str, Spec]) -> None:
        self._text, self._specs, self._at = text, specs, 0
        self._names: set[str] = set()

    def parts(self) -> list[str | Blank]:
        """Returns texts and blanks, in order."""
        made: list[str | Blank] = []
        written = ""
        while self._at < len(self._text):
            character = self._text[self._at]
            if self._text.startswith(character * 2, self._at) and character in "{}":
                written += character
                self._at += 2
            elif character == "{":
                made += [written] if written else []
                written = ""
                made.append(self._blank())
            elif character == "}":
                raise self._error("a } without its {; write }} for a brace")
            else:
                written += character
                self._at += 1
        return [*made, written] if written else made

    def _blank(self) -> Blank:
        found = _NAME.match(self._text, self._at + 1)
        if found is None:
            raise self._error("a blank begins with its name: {name:int}; write {{ for a brace")
        name, self._at = found[0], found.end()
        if name in self._names:
            raise self._error(f"two blanks are called {name!r}; each has another name")
        self._names.add(name)
        if self._text.startswith("}", self._at):
            self._at += 1
            if name not in self._specs:
                raise self._error(f"the blank {name!r} has no kind; write {{{name}:int}}, or give {name}=SPEC")
            return Blank(name, self._specs[name])
        if not self._text.startswith(":", self._at):
            raise self._error(f"the name {name!r} is followed by : and a kind, or by }}")
        self._at += 1
        if name in self._specs:
            raise self._error(f"the blank {name!r} has a kind, and is given as an argument, too; leave one out")
        return Blank(name, self._kind(name))

    def _kind(self, name: str) -> Spec:
        if self._text.startswith("/", self._at):
            end = self._text.find("/}", self._at + 1)
            if end < 0:
                raise self._error(f"the pattern of {name!r} is not closed; it ends with /}}")
            pattern = self._text[self._at + 1 : end]
            self._at = end + 2
            return _checked_regex(pattern, name)
        end = self._text.find("}", self._at)
        if end < 0:
            raise self._error(f"the blank {name!r} is not closed")
        kind = self._text[self._at : end]
        self._at = end + 1
        if "|" in kind:
            if not all(kind.split("|")):
                raise self._error(f"the choice of {name!r} has an empty text")
            return choice(kind.split("|"))
        if kind not in KINDS:
            hint = nearest_hint(kind, KINDS, "a choice is written a|b, a pattern /.../")
            raise self._error(f"the kind {kind!r} of {name!r} is not known; there are {', '.join(KINDS)}; {hint}")
        return KINDS[kind]

    def _error(self, told: str) -> ConstraintError:
        return ConstraintError(f"template, at character {self._at}: {told}")


def _checked_regex(pattern: str, name: str) -> Regex:
    """The value of a blank is found by Python's `re`, so the pattern must be one there, too."""
    check_pattern(f"the pattern of the blank {name!r}", pattern, Limits())
    try:
        groups = re.compile(pattern).groups
    except (re.error, RecursionError, OverflowError) as error:
        raise ConstraintError(f"the pattern of the blank {name!r} is none to Python: {error}") from None
    if groups:
        raise ConstraintError(f"the pattern of the blank {name!r} has groups; write (?:...) for (...)")
    return Regex(pattern)


def _body(part: str | Blank, builder: Builder) -> str | None:
    """A part as the body of a terminal; None where it is none."""
    return quoted(part) if isinstance(part, str) else part.spec.regular(builder)


def _is_json(part: str | Blank) -> bool:
    return isinstance(part, Blank) and isinstance(part.spec, JsonSchema)


def _group(part: str | Blank) -> str:
    return re.escape(part) if isinstance(part, str) else f"(?P<{part.name}>{part.spec.python_pattern})"


def _is_open(part: str | Blank) -> bool:
    """Whether a part is no terminal, so its borders must be sure."""
    return isinstance(part, Blank) and not isinstance(part.spec, Regex | Choice) and not _is_regular(part.spec)


def _is_regular(spec: Spec) -> bool:
    from .specs import _Regular

    if isinstance(spec, Template):
        return not any(_is_open(part) for part in spec.parts)
    return isinstance(spec, _Regular)


def _check_borders(parts: list[str | Blank]) -> None:
    for left, right in pairwise(parts):
        if isinstance(left, Blank) and isinstance(right, Blank) and (_is_open(left) or _is_open(right)):
            raise ConstraintError(
                f"the blanks {left.name!r} and {right.name!r} touch, and nothing says where one ends; "
                "put a text between"
            )
        if _is_json(left) and isinstance(right, str) and right[0] in _AFTER_NUMBER:
            assert isinstance(left, Blank)
            raise ConstraintError(
                f"the JSON of {left.name!r} is followed by {right[0]!r}, which could be part of a number; begin the "
                "text with a space"
            )
