"""Follows thoughts before an output: how many tokens they take, and the end marker once their budget is spent.

The grammar alone says where thoughts may end; this says where they must. Their tokens are counted behind the text or
token that begins them. When the budget is spent, the end marker is forced, as the model would have written it. A
character that is open by then is finished first: three more bytes at most, as no text ends within a character.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from stategpt.errors import ConstraintError
from stategpt.generate.constraint import ThoughtsEnd, ThoughtsUsed

if TYPE_CHECKING:
    from stategpt.generate.constraint import Mask

    from .vocabulary import Vocabulary

OPEN_CHARACTER_TOKENS = 3
"""Most tokens by which thoughts exceed their budget: the bytes that finish a character of UTF-8."""


@dataclass(frozen=True)
class ThoughtsFormat:
    """What thoughts begin and end with, and how many tokens they may take."""

    begin: str
    end: str
    budget_tokens: int | None
    """None where nothing but the model ends them."""


class _State(NamedTuple):
    """Where in the thoughts one is."""

    to_begin: bytes | None
    """Bytes that are missing of the text that begins them; None while its control token is awaited."""
    tail: bytes = b""
    """The last bytes of the thoughts, enough to find the end marker and an open character."""
    tokens: int = 0
    closing: tuple[int, ...] = ()
    """Tokens of the end marker that must come next; empty where the model writes freely."""
    ended_by: ThoughtsEnd | None = None


class _Step(NamedTuple):
    """The state after a token, and the one before it."""

    state: _State
    before: _Step | None


class ThoughtsGuard:
    """Follows one output; a fork costs nothing, as states never change."""

    def __init__(self, vocabulary: Vocabulary, form: ThoughtsFormat, last: _Step | None = None) -> None:
        self._vocabulary, self._form = vocabulary, form
        self._begin_id = vocabulary.control_id(form.begin) if form.begin else None
        self._end_id, self._marker = vocabulary.control_id(form.end), form.end.encode()
        if last is None:
            self._check_marker()
            to_begin = None if self._begin_id is not None else form.begin.encode()
            last = _Step(self._closed_at_budget(_State(to_begin)), None)
        self._last = last

    @property
    def used(self) -> ThoughtsUsed:
        """What the thoughts took so far."""
        return ThoughtsUsed(self._last.state.tokens, self._last.state.ended_by)

    @property
    def reserved_tokens(self) -> int:
        """Most tokens before the output begins; 0 without a budget, where no number is known."""
        budget = self._form.budget_tokens
        if budget is None:
            return 0
        begin = 1 if self._begin_id is not None else len(self._vocabulary.encode(self._form.begin))
        return begin + budget + OPEN_CHARACTER_TOKENS + len(self._closing(b""))

    @property
    def closing(self) -> tuple[int, ...]:
        """Tokens that must come next, as the budget is spent; else none."""
        return self._last.state.closing

    def fork(self) -> ThoughtsGuard:
        """Returns an independent copy."""
        return ThoughtsGuard(self._vocabulary, self._form, self._last)

    def advance(self, token: int) -> None:
        """Follows a token."""
        self._last = _Step(self._after(self._last.state, token), self._last)

    def rewind(self, tokens: int) -> None:
        """Takes back the last tokens."""
        for _ in range(tokens):
            assert self._last.before is not None
            self._last = self._last.before

    def allows(self, token: int) -> bool:
        """Whether a token is one that the budget leaves: the next of the marker, or one that finishes a character."""
        state = self._last.state
        if state.closing:
            return token == state.closing[0]
        missing = self._overdue_bytes(state)
        return not missing or token in self._finishing(missing)

    def cut(self, mask: Mask) -> None:
        """Leaves in a mask what the budget leaves, if anything."""
        missing = self._overdue_bytes(self._last.state)
        if missing:
            left = mask & self._vocabulary.mask_of(self._finishing(missing))
            if left.any():
                mask[:] = left

    def _overdue_bytes(self, state: _State) -> int:
        """Bytes missing of the character that is open although the budget is spent."""
        budget = self._form.budget_tokens
        if budget is None or state.ended_by is not None or state.to_begin != b"" or state.tokens < budget:
            return 0
        return missing_bytes(state.tail)

    def _finishing(self, missing: int) -> list[int]:
        """Tokens of nothing but bytes that an open character lacks."""
        return [token for token in self._continuing() if len(self._vocabulary.tokens[token]) <= missing]

    def _continuing(self) -> Iterator[int]:
        for first in range(0x80, 0xC0):
            for token in self._vocabulary.beginning_with(bytes((first,))):
                raw = self._vocabulary.tokens[token]
                if len(raw) <= OPEN_CHARACTER_TOKENS and all(0x80 <= byte < 0xC0 for byte in raw):
                    yield token

    def _after(self, state: _State, token: int) -> _State:
        if state.ended_by is not None:
            return state
        if state.closing:
            left = state.closing[1:]
            return state._replace(closing=left, ended_by=None if left else "budget")
        if state.to_begin is None:
            begun = state._replace(to_begin=b"") if token == self._begin_id else state
            return self._closed_at_budget(begun)
        if token == self._end_id:
            return state._replace(ended_by="model")
        raw = self._vocabulary.tokens[token]
        if len(raw) <= len(state.to_begin):
            return self._closed_at_budget(state._replace(to_begin=state.to_begin[len(raw) :]))
        tail = state.tail + raw[len(state.to_begin) :]
        if self._end_id is None and self._marker in tail:
            return state._replace(ended_by="model", tokens=state.tokens + 1)
        keep = max(len(self._marker), OPEN_CHARACTER_TOKENS)
        return self._closed_at_budget(state._replace(to_begin=b"", tail=tail[-keep:], tokens=state.tokens + 1))

    def _closed_at_budget(self, state: _State) -> _State:
        """The state with the marker that must follow, where the budget is spent and no character is open."""
        budget = self._form.budget_tokens
        if budget is None or state.to_begin != b"" or state.tokens < budget or missing_bytes(state.tail):
            return state
        return state._replace(closing=self._closing(state.tail))

    def _closing(self, tail: bytes) -> tuple[int, ...]:
        """The marker's tokens, without what of it was written already."""
        if self._end_id is not None:
            return (self._end_id,)
        marker = self._form.end
        written = next((n for n in range(len(marker) - 1, 0, -1) if tail.endswith(marker[:n].encode())), 0)
        ids = self._vocabulary.encode(marker[written:])
        if self._vocabulary.bytes_of(ids) != marker[written:].encode():  # the whole of it can be spelled
            ids = self._vocabulary.encode(marker)
        return tuple(ids)

    def _check_marker(self) -> None:
        budget, ids = self._form.budget_tokens, self._closing(b"")
        if budget is not None and self._end_id is None and self._vocabulary.bytes_of(ids) != self._marker:
            raise ConstraintError(
                f"the vocabulary cannot spell {self._form.end!r}, so it cannot be forced after {budget} tokens; give "
                "another end, or a tokenizer that has every byte"
            )


def missing_bytes(raw: bytes) -> int:
    """Returns how many bytes the last character of some UTF-8 lacks: 0 to 3."""
    for back in range(1, min(3, len(raw)) + 1):
        byte = raw[-back]
        if byte & 0xC0 != 0x80:
            length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            return max(0, length - back)
    return 0
