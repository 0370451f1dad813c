"""Limits on constraints, so that a request cannot take more time and memory than stated."""

from __future__ import annotations

from dataclasses import dataclass, fields

from stategpt.arguments import whole
from stategpt.shown_fields import documented, short_repr


@documented
@dataclass(frozen=True)
class Limits:
    """What a constraint may cost. Raises `InvalidArgument` for a limit below 1."""

    spec_bytes: int = 262_144
    """Most bytes of a schema, grammar, pattern or text."""
    depth: int = 64
    """Deepest nesting of schemas, of values in them, and of brackets in a grammar or pattern."""
    items: int = 10_000
    """Largest count that a schema states (minItems, maxLength, ...), and most options of a choice or an enum."""
    rules: int = 512
    """Most rules of a grammar, each counted with the depth of its brackets: llguidance compiles them by recursion, and
    thousands that refer to each other would overflow its stack."""
    grammar_symbols: int = 200_000
    """Most symbols of the compiled grammar."""
    lexer_fuel: int = 1_000_000
    """Work on building the automata of patterns, about 50,000 in a millisecond."""
    lexer_states: int = 50_000
    """Most states of those automata, each one or two kB."""
    step_fuel: int = 200_000
    """Work of the automata for one token's mask, about 14,000 in a millisecond."""
    step_items: int = 50_000
    """Work of the parser for one token's mask, about 20,000 in a millisecond."""
    forced_tokens: int = 4_096
    """Most tokens that are forced at a time; the next call gives those that follow."""

    __repr__ = short_repr

    def __post_init__(self) -> None:
        for field in fields(self):
            whole(field.name, getattr(self, field.name), 1)
