"""Tokens as answers show them: text, bytes, log-probabilities that JSON can hold."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stategpt.tokenizer import AnyTokenizer

LEAST_LOG_PROB = -9999.0
"""What OpenAI's API sends for a token that cannot be drawn: JSON has no infinity."""


class TokenTexts:
    """The bytes and texts of a tokenizer's tokens."""

    def __init__(self, tok: AnyTokenizer) -> None:
        self._tok = tok
        self.special = frozenset(tok.special_tokens.values())
        """Ids of control tokens, which are no part of a text."""

    def bytes_of(self, token: int) -> bytes:
        """The bytes of a token; a part of a character may be all that they are."""
        return self._tok.decode_bytes([token])

    def text_of(self, token: int) -> str:
        """Its text; bytes that are no whole character become U+FFFD."""
        return self.bytes_of(token).decode("utf-8", "replace")

    def table(self, ids: Sequence[int], log_probs: Sequence[float]) -> dict[str, float]:
        """Log-probabilities by text; of tokens with one text the first, the most likely one."""
        found: dict[str, float] = {}
        for token, value in zip(ids, log_probs, strict=True):
            found.setdefault(self.text_of(int(token)), finite(value))
        return found


class Offsets:
    """Where tokens begin in the text that they make, in characters: bytes of one character have the same place."""

    def __init__(self, texts: TokenTexts) -> None:
        self._texts = texts
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._characters = 0

    def next(self, token: int) -> int:
        """The place of the next token. A control token is no part of a text."""
        place = self._characters
        if token not in self._texts.special:
            self._characters += len(self._decoder.decode(self._texts.bytes_of(token)))
        return place


def finite(log_prob: float) -> float:
    """A log-probability as a number of JSON."""
    return max(float(log_prob), LEAST_LOG_PROB)
