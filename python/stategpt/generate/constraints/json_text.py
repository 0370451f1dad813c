"""Follows JSON byte by byte for what grammars cannot promise: unique keys, and numbers that a parser can hold.

A parser drops all but the last value of a key, and reads 1e999 as infinity. So a token is taken out of a mask if it
would complete a key that its object has, or would give a number more than 200 digits or an exponent of more than 2.
Keys are compared as they are written: with the escapes that `schema.grammar_schema` allows, every string has one
spelling.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from stategpt.generate.constraint import Mask

    from .specs import JsonStart
    from .vocabulary import Vocabulary

Tokens: TypeAlias = NDArray[np.int64]

MAX_DIGITS, MAX_EXPONENT_DIGITS = 200, 2
"""Of a number: so it is below 1e300."""
_QUOTE, _BACKSLASH, _OPEN, _CLOSE, _LIST, _LIST_END, _COMMA, _ZERO = b'"\\{}[],0'

_LONG_EXPONENT = re.compile(rb"[0-9][eE][+-]?[0-9]{3}|^[eE][+-]?[0-9]{3}")


class _Container(NamedTuple):
    """An open object or array."""

    is_object: bool
    keys: frozenset[bytes]
    awaits_key: bool
    outer: _Container | None


class _State(NamedTuple):
    """Where in a text of JSON one is."""

    waiting: bytes | None
    """Before the marker behind which JSON begins: the last bytes; None after it."""
    inner: _Container | None = None
    """The innermost container; None outside of any."""
    written: bytes | None = None
    """Bytes of the open string; None outside of strings."""
    is_key: bool = False
    escaped: bool = False
    digits: int = 0
    """Digits of the number that is being written, without its exponent."""
    exponent: int = -1
    """Digits of its exponent; -1 before it."""


class _Step(NamedTuple):
    """The state after a token, and the one before it."""

    state: _State
    before: _Step | None


class JsonGuard:
    """Follows one output; a fork costs nothing, as states never change."""

    def __init__(self, vocabulary: Vocabulary, start: JsonStart, last: _Step | None = None) -> None:
        self._vocabulary, self._start = vocabulary, start
        self._marker = start.behind.encode()
        self._marker_id = vocabulary.control_id(start.behind) if start.behind else None
        first = _State(b"" if self._marker or self._marker_id is not None else None)
        self._last = last or _Step(first, None)
        self._tokens = vocabulary.tokens

    def fork(self) -> JsonGuard:
        """Returns an independent copy."""
        return JsonGuard(self._vocabulary, self._start, self._last)

    def advance(self, token: int) -> None:
        """Follows the text of a token."""
        self._last = _Step(self._after(self._last.state, token)[0], self._last)

    def rewind(self, tokens: int) -> None:
        """Takes back the last tokens."""
        for _ in range(tokens):
            assert self._last.before is not None
            self._last = self._last.before

    def allows(self, token: int) -> bool:
        """Whether a token completes no key a second time, and no number that is too long."""
        return not self._after(self._last.state, token)[1]

    def cut(self, mask: Mask, *, may_end: bool) -> None:
        """Takes out of a mask the tokens that are not allowed; if nothing would be left, not even the end, none.

        That happens where the pattern of a key matches a few texts only and all of them were written, or where a number
        must be larger.
        """
        state = self._last.state
        if state.waiting is not None:
            return
        cut = [token for token in self._suspects(state, mask) if not self.allows(token)]
        if not cut:
            return
        removed = self._vocabulary.mask_of(cut)
        if may_end or (mask & ~removed).any():
            mask &= ~removed

    def _suspects(self, state: _State, mask: Mask) -> Iterator[int]:
        """The tokens of a mask that could complete a key of an object or make a number too long."""
        marks = self._vocabulary.marks
        if state.digits:
            left = MAX_EXPONENT_DIGITS - state.exponent if state.exponent >= 0 else MAX_DIGITS - state.digits
            yield from _held(marks.with_first_digits(left + 1), mask)
        yield from _held(marks.long_exponents, mask)
        least = 4
        if state.inner is not None and any(container.keys for container in _outer(state.inner)):
            least = 3 if state.written is not None and state.inner.is_object else 2
        if state.inner is not None and state.is_key and state.written is not None:
            for key in state.inner.keys:
                if key.startswith(state.written):
                    yield from self._vocabulary.beginning_with(key[len(state.written) :] + b'"')
        yield from _held(marks.with_at_least(least), mask)

    def _after(self, state: _State, token: int) -> tuple[_State, bool]:
        """The state after a token, and whether it is one that must not come."""
        if token == self._marker_id:
            return _State(None), False
        raw = self._tokens[token]
        if state.waiting is not None:
            if self._marker_id is not None:
                return state, False
            seen = state.waiting + raw
            at = seen.find(self._marker)
            if at < 0:
                return state._replace(waiting=seen[-len(self._marker) :]), False
            raw, state = seen[at + len(self._marker) :], _State(None)
        return _followed(state, raw)


def _outer(container: _Container) -> Iterator[_Container]:
    found: _Container | None = container
    while found is not None:
        yield found
        found = found.outer


def _held(ids: Tokens, mask: Mask) -> Iterator[int]:
    """Those of some ids that are in a mask."""
    if len(ids):
        yield from ids[(mask[ids // 32] >> (ids % 32).astype(np.uint32) & 1).astype(bool)].tolist()


def _followed(state: _State, raw: bytes) -> tuple[_State, bool]:
    """The state after some bytes of JSON, and whether they complete a key a second time or too long a number."""
    _, inner, written, is_key, escaped, digits, exponent = state
    bad = False
    for byte in raw:
        if written is not None:
            if escaped:
                written, escaped = written + bytes((byte,)), False
            elif byte == _QUOTE:
                if is_key and inner is not None:
                    bad = bad or written in inner.keys
                    inner = inner._replace(keys=inner.keys | {written}, awaits_key=False)
                written, is_key = None, False
            else:
                escaped = byte == _BACKSLASH
                written += bytes((byte,))
            continue
        if _ZERO <= byte <= _ZERO + 9:
            exponent += exponent >= 0
            digits += exponent < 0
            bad = bad or digits > MAX_DIGITS or exponent > MAX_EXPONENT_DIGITS
            continue
        if byte in b"eE" and digits:
            exponent = 0
            continue
        if byte not in b".+-":
            digits, exponent = 0, -1
        if byte == _QUOTE:
            written, is_key = b"", inner is not None and inner.awaits_key
        elif byte in (_OPEN, _LIST):
            inner = _Container(byte == _OPEN, frozenset(), byte == _OPEN, inner)
        elif byte in (_CLOSE, _LIST_END):
            inner = None if inner is None else inner.outer
        elif byte == _COMMA and inner is not None and inner.is_object:
            inner = inner._replace(awaits_key=True)
    return _State(None, inner, written, is_key, escaped, digits, exponent), bad


class Marks:
    """Tokens by the quotation marks and digits in them."""

    def __init__(self, tokens: list[bytes]) -> None:
        counts = np.array([raw.count(b'"') for raw in tokens], dtype=np.int64)
        self._by_quotes = {least: np.flatnonzero(counts >= least) for least in (2, 3, 4)}
        first = np.array([len(raw) - len(raw.lstrip(b"0123456789")) for raw in tokens], dtype=np.int64)
        self._by_digits = [np.flatnonzero(first >= least) for least in range(int(first.max(initial=0)) + 1)]
        self.long_exponents = np.array(
            [token for token, raw in enumerate(tokens) if _LONG_EXPONENT.search(raw)], dtype=np.int64
        )
        """Tokens that hold an exponent of too many digits."""

    def with_at_least(self, quotes: int) -> Tokens:
        """Returns the ids of tokens with at least 2, 3 or 4 quotation marks."""
        return self._by_quotes[quotes]

    def with_first_digits(self, count: int) -> Tokens:
        """Returns the ids of tokens that begin with at least `count` digits, and with one."""
        held = self._by_digits
        return held[max(1, count)] if max(1, count) < len(held) else held[0][:0]


class Sorted:
    """Tokens in the order of their bytes."""

    def __init__(self, tokens: list[bytes]) -> None:
        self._tokens = tokens

    @cached_property
    def _order(self) -> list[tuple[bytes, int]]:
        return sorted((raw, token) for token, raw in enumerate(self._tokens) if raw)

    def beginning_with(self, prefix: bytes) -> Iterator[int]:
        """Yields the ids of tokens that begin with some bytes."""
        order = self._order
        place = bisect_left(order, (prefix, -1))
        while place < len(order) and order[place][0].startswith(prefix):
            yield order[place][1]
            place += 1
