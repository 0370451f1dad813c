"""Follows JSON byte by byte for what grammars cannot promise: unique keys, and numbers that a parser can hold.

A parser drops all but the last value of a key, and reads 1e999 as infinity. So a token is taken out of a mask if it
would complete a key that its object has, or would give a number more than 200 digits or an exponent of more than 2.
Keys are compared as they are written: with the escapes that `schema.grammar_schema` allows, every string has one
spelling.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
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
        removed = self._too_long(state)
        if cut := [token for token in self._suspects(state, mask) if not self.allows(token)]:
            single = self._vocabulary.mask_of(cut)
            removed = single if removed is None else removed | single
        if removed is None:
            return
        if may_end or (mask & ~removed).any():
            mask &= ~removed

    def _too_long(self, state: _State) -> Mask | None:
        """The tokens that begin with more digits than the number that is being written may have; None if none do."""
        if not state.digits:
            return None
        left = MAX_EXPONENT_DIGITS - state.exponent if state.exponent >= 0 else MAX_DIGITS - state.digits
        return self._vocabulary.marks.with_first_digits(left + 1)

    def _suspects(self, state: _State, mask: Mask) -> Iterator[int]:
        """The other tokens of a mask that could complete a key of an object or make a number too long."""
        marks = self._vocabulary.marks
        yield from marks.long_exponents.within(mask)
        if state.inner is not None and state.is_key and state.written is not None:
            for key in state.inner.keys:
                if key.startswith(state.written):
                    yield from self._vocabulary.beginning_with(key[len(state.written) :] + b'"')
        yield from marks.repeating.within(mask)
        for container in _outer(state.inner):
            for key in container.keys:
                yield from marks.holding(key)
        if state.written is not None:
            yield from marks.repeating_behind(state.written)

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


def _outer(container: _Container | None) -> Iterator[_Container]:
    found = container
    while found is not None:
        yield found
        found = found.outer


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


class Places:
    """Some ids, with their places in a mask: looked up for each token of every output."""

    def __init__(self, ids: Tokens) -> None:
        self.ids = ids
        self._words, self._bits = ids // 32, np.uint32(1) << (ids % 32).astype(np.uint32)

    def within(self, mask: Mask) -> list[int]:
        """Returns those of them that are in a mask."""
        if not len(self.ids):
            return []
        held = mask[self._words] & self._bits
        found: list[int] = self.ids[held.nonzero()].tolist() if held.any() else []
        return found


class Marks:
    """Tokens by the digits in them, and by the keys that they may hold as a whole.

    A key that a token completes is the text between two of its quotation marks, or what was begun before it up to its
    first one. So it is a second time only in a token that has a text twice between marks, that has a known key, or the
    key that it finishes. A token with a backslash may hold any.
    """

    def __init__(self, tokens: list[bytes]) -> None:
        repeating: list[int] = []
        self._holding: dict[bytes, list[int]] = {}
        self._behind: dict[bytes, list[int]] = {}
        for token, raw in enumerate(tokens):
            if raw.count(b'"') >= 2:
                self._sort(token, raw, repeating)
        self.repeating = Places(np.array(repeating, dtype=np.int64))
        """Tokens that may hold a key twice, whatever was written before."""
        first = np.array([len(raw) - len(raw.lstrip(b"0123456789")) for raw in tokens], dtype=np.int64)
        self._by_digits = [_mask_where(first >= least) for least in range(1, int(first.max(initial=0)) + 1)]
        self.long_exponents = Places(
            np.array([token for token, raw in enumerate(tokens) if _LONG_EXPONENT.search(raw)], dtype=np.int64)
        )
        """Tokens that hold an exponent of too many digits."""

    def _sort(self, token: int, raw: bytes, repeating: list[int]) -> None:
        first, *between, _ = raw.split(b'"')
        if b"\\" in raw or len({*between}) < len(between):
            repeating.append(token)
            return
        for text in between:
            self._holding.setdefault(text, []).append(token)
            if text.endswith(first):
                self._behind.setdefault(text[: len(text) - len(first)], []).append(token)

    def holding(self, key: bytes) -> Sequence[int]:
        """Returns the tokens that have a text between two quotation marks."""
        return self._holding.get(key, ())

    def repeating_behind(self, written: bytes) -> Sequence[int]:
        """Returns the tokens that finish a string of which `written` was written, and have it once more."""
        return self._behind.get(written, ())

    def with_first_digits(self, count: int) -> Mask | None:
        """Returns the mask of the tokens that begin with at least `count` digits, and with one; None if none do."""
        place = max(1, count) - 1
        return self._by_digits[place] if place < len(self._by_digits) else None


def _mask_where(held: NDArray[np.bool_]) -> Mask:
    padded = np.zeros(-(-len(held) // 32) * 32, dtype=np.bool_)
    padded[: len(held)] = held
    return np.packbits(padded, bitorder="little").view(np.uint32)


class Sorted:
    """Tokens in the order of their bytes."""

    def __init__(self, tokens: list[bytes]) -> None:
        # Sorted with the vocabulary, not at first use: 55 ms of 65,536 tokens would come within some mask.
        self._order = sorted((raw, token) for token, raw in enumerate(tokens) if raw)

    def beginning_with(self, prefix: bytes) -> Iterator[int]:
        """Yields the ids of tokens that begin with some bytes."""
        order = self._order
        place = bisect_left(order, (prefix, -1))
        while place < len(order) and order[place][0].startswith(prefix):
            yield order[place][1]
            place += 1
