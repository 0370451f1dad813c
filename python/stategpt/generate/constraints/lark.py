"""Grammars as llguidance reads them: texts quoted, terminals and rules collected.

A terminal is matched as a whole, and takes as much as it can. So what is regular becomes one terminal, where every
division of the text is considered; rules join terminals whose borders are sure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from stategpt.errors import ConstraintError, ConstraintLimit

from .limits import Limits
from .vocabulary import Vocabulary

_PLAIN = re.compile(r"[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*")
_SPECIAL = frozenset(r"\.+*?()|[]{}^$#&-~/" + '"')


def quoted(text: str) -> str:
    """Returns a text as a string of Lark; with other control characters than line ends and tabs, as a pattern."""
    if _PLAIN.fullmatch(text):
        return json.dumps(text, ensure_ascii=False)
    return f"/{escaped(text)}/"


def escaped(text: str) -> str:
    """Returns the pattern that matches a text and nothing else, for use between slashes."""
    return "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    if character in _SPECIAL:
        return "\\" + character
    return f"\\x{ord(character):02x}" if ord(character) < 32 or ord(character) == 127 else character


def as_pattern(regex: str) -> str:
    """Returns a regular expression as a pattern between slashes; `\\d` is 0-9 in it."""
    import llguidance

    return f"/{llguidance.regex_to_lark(regex, 'd')}/"


def check_size(what: str, text: str, limits: Limits) -> None:
    """Refuses a text that is too long or nested too deep.

    Raises:
        ConstraintLimit: it is.
    """
    size = len(text.encode())
    if size > limits.spec_bytes:
        raise ConstraintLimit(f"{what} has {size:,} bytes; the limit spec_bytes is {limits.spec_bytes:,}")


def check_nesting(what: str, text: str, limits: Limits) -> None:
    """Refuses brackets that are nested too deep, whatever they mean; escaped ones do not count.

    Raises:
        ConstraintLimit: they are.
    """
    depth = deepest = 0
    skip = False
    for character in text:
        if skip:
            skip = False
        elif character == "\\":
            skip = True
        elif character in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}":
            depth = max(0, depth - 1)
    if deepest > limits.depth:
        raise ConstraintLimit(f"{what} has brackets nested {deepest} deep; the limit depth is {limits.depth}")


def check_pattern(what: str, pattern: str, limits: Limits) -> None:
    """Refuses a pattern that is nested too deep or repeats a part too often.

    Raises:
        ConstraintLimit: it does.
    """
    check_nesting(what, pattern, limits)
    check_repeats(what, pattern, limits)


_COUNT = re.compile(r"\{(\d+)(?:,(\d*))?\}")


def check_repeats(what: str, pattern: str, limits: Limits) -> None:
    """Refuses counts that multiply, as in `(a{1000}){1000}`: a million characters, all of them forced at a time.

    Raises:
        ConstraintLimit: nested counts multiply to more than the limit `items`.
    """
    product = most = 1
    open_groups: list[int] = []
    at = 0
    inner = 1
    while at < len(pattern):
        character = pattern[at]
        if character == "\\":
            at += 2
            inner = 1
            continue
        found = _COUNT.match(pattern, at) if character == "{" else None
        if found is not None:
            product = inner * max(int(found[1]), int(found[2] or 0), 1)
            most = max(most, product)
            at = found.end()
            inner = product
            continue
        if character == "(":
            open_groups.append(most)
            most = 1
        elif character == ")" and open_groups:
            inner, most = most, max(most, open_groups.pop())
            at += 1
            continue
        inner = 1
        at += 1
    if most > limits.items:
        raise ConstraintLimit(f"{what} repeats a part {most:,} times; the limit items is {limits.items:,}")


@dataclass
class Builder:
    """Collects the parts of one grammar."""

    vocabulary: Vocabulary
    limits: Limits
    lines: list[str] = field(default_factory=list)
    controls: list[int] = field(default_factory=list)
    """Control tokens that the grammar may write."""
    subgrammars: list[str] = field(default_factory=list)
    budgets: int = 0
    """Budgets of thoughts that its parts state; the grammar does not keep them."""

    def terminal(self, body: str) -> str:
        """Adds a terminal; returns its name."""
        return self._named("T", "", body)

    def rule(self, body: str, attributes: str = "") -> str:
        """Adds a rule; returns its name."""
        return self._named("r", attributes, body)

    def _named(self, kind: str, attributes: str, body: str) -> str:
        name = f"{kind}{len(self.lines)}"
        self.lines.append(f"{name}{attributes}: {body}")
        return name

    def control(self, token: int) -> str:
        """Returns the expression of a control token, which only a format may write."""
        self.controls.append(token)
        return f"<[{token}]>"

    def marker(self, name: str) -> tuple[str, bool]:
        """Returns the expression of what a format writes: its control token if the vocabulary has it, else its text.

        The second value says whether it is a token.
        """
        token = self.vocabulary.control_id(name)
        return (quoted(name), False) if token is None else (self.control(token), True)

    def subgrammar(self, text: str) -> str:
        """Adds a grammar with rules of its author; returns how it is referred to."""
        self.subgrammars.append(text)
        return f"@g{len(self.subgrammars)}"

    def grammar(self, expression: str) -> str:
        """Returns the whole grammar, in llguidance's format."""
        main = "\n".join([f"start: {expression}", *self.lines, ""])
        named = [{"name": f"g{number}", "lark_grammar": text} for number, text in enumerate(self.subgrammars, 1)]
        return json.dumps({"grammars": [{"name": "main", "lark_grammar": main}, *named]})


_COMMENT = re.compile(r"//[^\n]*|#[^\n]*")
_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"i?')
_REGEX = re.compile(r"/(?!/)(?:[^/\\\n]|\\.)+/[a-z]*")
_DIRECTIVE = re.compile(r"%([a-z]+)")
_ATTRIBUTES = re.compile(r"\[[^\]\n]*\]")
_REFUSED = re.compile(r"\b(max_tokens|temperature|stop|stop_capture)\s*=")
_OPTIONS = {"allow_initial_skip", "ignore_once"}


def checked_lark(text: str, limits: Limits) -> str:
    """Returns a grammar of a user, its JSON schemas checked and made compact.

    Raises:
        ConstraintError: it names a token by its name or number, another grammar, a setting of sampling, or an option
            that would allow bytes that are no text.
        UnsupportedSchema: a keyword of a schema in it is not enforced.
        ConstraintLimit: it is too long or nested too deep.
    """
    check_size("the grammar", text, limits)
    parts: list[str] = []
    depth = at = levels = deepest = 0
    while at < len(text):
        found = _COMMENT.match(text, at) or _STRING.match(text, at) or _REGEX.match(text, at)
        if found is not None:
            if found[0].startswith("/") and not found[0].startswith("//"):
                check_pattern("a pattern of the grammar", found[0], limits)
            parts.append(found[0])
            at = found.end()
            continue
        if text[at] == "%":
            part, at = _directive(text, at, limits)
            parts.append(part)
            continue
        _check_character(text, at)
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(text[at], 0)
        deepest = max(deepest, depth)
        if text[at] == ":":
            levels, deepest = levels + 1 + deepest, 0
        if levels > limits.rules:
            raise ConstraintLimit(
                f"the grammar has more rules, counted with the depth of their brackets, than the limit rules, "
                f"{limits.rules}"
            )
        if depth > limits.depth:
            raise ConstraintLimit(
                f"line {_line(text, at)} of the grammar has brackets nested deeper than the limit depth, {limits.depth}"
            )
        parts.append(text[at])
        at += 1
    return "".join(parts)


def _check_character(text: str, at: int) -> None:
    if text[at] not in "<@[":
        return
    if text[at] == "<":
        raise ConstraintError(
            f"{_where(text, at)} names a token, {text[at : at + 40].splitlines()[0]!r}: text never becomes a control "
            'token. Write it as a string, "...", or use think_then or tool_calls, which write those of the chat format.'
        )
    if text[at] == "@":
        raise ConstraintError(f"{_where(text, at)} refers to another grammar; a grammar is one text. Copy its rules.")
    attributes = _ATTRIBUTES.match(text, at)
    refused = _REFUSED.search(attributes[0]) if attributes is not None else None
    if refused is not None:
        raise ConstraintError(
            f"{_where(text, at)} sets {refused[1]}, a setting of sampling: give it to the call that samples, or use "
            "lazy or suffix= for a terminal that ends at a text."
        )


def _directive(text: str, at: int, limits: Limits) -> tuple[str, int]:
    """A directive with its JSON, if it has some, and where it ends."""
    from .schema import checked_schema, grammar_schema

    found = _DIRECTIVE.match(text, at)
    if found is None or found[1] not in ("json", "llguidance", "regex"):
        return text[at], at + 1
    start = found.end()
    while start < len(text) and text[start].isspace():
        start += 1
    try:
        value, end = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError) as error:
        raise ConstraintError(f"%{found[1]} in line {_line(text, at)} of the grammar has no JSON: {error}") from None
    if found[1] == "json":
        return f"%json {grammar_schema(checked_schema(value, limits))}", end
    unknown = sorted({*value} - _OPTIONS) if found[1] == "llguidance" and isinstance(value, dict) else []
    if unknown:
        raise ConstraintError(
            f"%llguidance in line {_line(text, at)} of the grammar sets {unknown[0]!r}; allowed are "
            f"{', '.join(sorted(_OPTIONS))}"
        )
    return text[at:end], end


def _where(text: str, at: int) -> str:
    return f"line {_line(text, at)} of the grammar"


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def alternatives(texts: Sequence[str]) -> str:
    """Returns the expression of one of several texts."""
    return "(" + " | ".join(map(quoted, texts)) + ")"
