"""GBNF, the grammars of llama.cpp, as Lark.

A rule that refers to no rule around it becomes one terminal, the others stay rules. Tokens by name (`<think>`) are not
taken: text never becomes a control token.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from stategpt.errors import ConstraintError, ConstraintLimit

from .lark import escaped, quoted
from .limits import Limits

_RULE = re.compile(r"[ \t]*([A-Za-z0-9][A-Za-z0-9-]*)[ \t]*::=")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_REPEAT = re.compile(r"[*+?]|\{[ ]*\d*[ ]*(?:,[ ]*\d*[ ]*)?\}")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
_HEX = {"x": 2, "u": 4, "U": 8}


def is_gbnf(text: str) -> bool:
    """Whether a grammar is GBNF: it has a line with `::=`, which Lark never has outside of strings."""
    return any(_RULE.match(line) for line in text.splitlines())


@dataclass
class _Rule:
    """One rule: its right side in Lark, with `{name}` for references."""

    body: list[str] = field(default_factory=list)
    refers: set[str] = field(default_factory=set)


def lark_of_gbnf(text: str, limits: Limits) -> str:
    """Returns the same grammar as Lark.

    Raises:
        ConstraintError: it is malformed, or names a token; the message has the line.
        ConstraintLimit: its brackets are nested too deep.
    """
    rules = _Parser(text, limits).rules()
    if "root" not in rules:
        raise ConstraintError(f"the GBNF grammar has no rule root; it has {', '.join([*rules][:8])}")
    for name, rule in rules.items():
        if unknown := sorted(rule.refers - rules.keys()):
            raise ConstraintError(f"the rule {name} of the GBNF grammar refers to {unknown[0]}, which it does not have")
    flat = {*rules} if len(_flat(rules)) == len(rules) else set[str]()
    names = {name: f"{'T' if name in flat else 'r'}{number}" for number, name in enumerate(rules)}
    lines = [f"start: {names['root']}"]
    for name, rule in rules.items():
        body = "".join(names[part] if place % 2 else part for place, part in enumerate(rule.body))
        lines.append(f"{names[name]}: {body or chr(34) * 2}")
    return "\n".join(lines) + "\n"


def _flat(rules: dict[str, _Rule]) -> set[str]:
    """Names of the rules that refer to no rule that refers to them, directly or through others."""
    flat: set[str] = set()
    while True:
        more = {name for name, rule in rules.items() if name not in flat and rule.refers <= flat}
        if not more:
            return flat
        flat |= more


class _Parser:
    """Reads the rules of one grammar."""

    def __init__(self, text: str, limits: Limits) -> None:
        self._text, self._limits, self._at = text, limits, 0

    def rules(self) -> dict[str, _Rule]:
        """Reads all rules."""
        made: dict[str, _Rule] = {}
        self._skip()
        while self._at < len(self._text):
            found = _RULE.match(self._text, self._at)
            if found is None:
                raise self._error("expected NAME ::=")
            self._at = found.end()
            rule = _Rule([""])
            self._alternatives(rule, 0)
            made[found[1]] = rule
            self._skip()
        return made

    def _alternatives(self, rule: _Rule, depth: int) -> None:
        """Parts up to the end of the rule, or to the bracket that closes a group."""
        if depth > self._limits.depth:
            raise ConstraintLimit(
                f"line {self._line()} of the GBNF grammar has brackets nested deeper than the limit depth, "
                f"{self._limits.depth}"
            )
        empty = True
        while True:
            self._skip()
            if self._at >= len(self._text) or (depth == 0 and _RULE.match(self._text, self._at)):
                break
            character = self._text[self._at]
            if character == "|":
                rule.body[-1] += ' "" |' if empty else " |"
                self._at += 1
                empty = True
                continue
            if character == ")" and depth:
                break
            self._part(rule, depth)
            empty = False
        if empty:
            rule.body[-1] += ' ""'

    def _part(self, rule: _Rule, depth: int) -> None:
        character = self._text[self._at]
        rule.body[-1] += " "
        if character == '"':
            rule.body[-1] += self._literal()
        elif character == "[":
            rule.body[-1] += self._class()
        elif character == ".":
            self._at += 1
            rule.body[-1] += "/(?s:.)/"
        elif character == "(":
            self._at += 1
            rule.body[-1] += "("
            self._alternatives(rule, depth + 1)
            if self._at >= len(self._text):
                raise self._error("a bracket is not closed")
            self._at += 1
            rule.body[-1] += ")"
        else:
            found = _NAME.match(self._text, self._at)
            if found is None:
                more = "; tokens are not named: text never becomes a control token" if character == "<" else ""
                raise self._error(f"unexpected {character!r}{more}")
            rule.refers.add(found[0])
            rule.body += [found[0], ""]
            self._at = found.end()
        repeat = _REPEAT.match(self._text, self._at)
        if repeat is not None:
            rule.body[-1] += repeat[0].replace(" ", "")
            self._at = repeat.end()

    def _literal(self) -> str:
        self._at += 1
        characters: list[str] = []
        while self._peek() != '"':
            characters.append(self._character())
        self._at += 1
        # Character by character, as all terminals of a rule: so no border depends on what a longer match would take.
        return f"({' '.join(map(quoted, characters))})" if characters else '""'

    def _class(self) -> str:
        self._at += 1
        parts = ["["]
        if self._peek() == "^":
            self._at += 1
            parts.append("^")
        while self._peek() != "]":
            if self._peek() == "-" and len(parts) > 1 and self._text[self._at + 1 : self._at + 2] != "]":
                self._at += 1
                parts.append("-")
            else:
                parts.append(_in_class(self._character()))
        self._at += 1
        return f"/{''.join(parts)}]/"

    def _character(self) -> str:
        character = self._peek()
        self._at += 1
        if character != "\\":
            return character
        kind = self._peek()
        self._at += 1
        if kind in _HEX:
            digits = self._text[self._at : self._at + _HEX[kind]]
            self._at += _HEX[kind]
            try:
                return chr(int(digits, 16))
            except (ValueError, OverflowError):
                raise self._error(f"\\{kind}{digits} is no character") from None
        if kind not in '"\\[]-nrt':
            raise self._error(f"\\{kind} is no escape")
        return _ESCAPES.get(kind, kind)

    def _peek(self) -> str:
        if self._at >= len(self._text):
            raise self._error("a string or a class of characters is not closed")
        return self._text[self._at]

    def _skip(self) -> None:
        found = _BLANK.match(self._text, self._at)
        assert found is not None
        self._at = found.end()

    def _line(self) -> int:
        return self._text.count("\n", 0, self._at) + 1

    def _error(self, told: str) -> ConstraintError:
        return ConstraintError(f"line {self._line()} of the GBNF grammar: {told}. Lark is taken, too.")


def _in_class(character: str) -> str:
    """A character inside square brackets."""
    return escaped(character) if character in "&~" else _quoted_in_class(character)


def _quoted_in_class(character: str) -> str:
    if character in r"\]^-[/":
        return "\\" + character
    return f"\\x{ord(character):02x}" if ord(character) < 32 or ord(character) == 127 else character
