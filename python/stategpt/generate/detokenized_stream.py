"""The text of a completion while it is sampled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .stops import StopFilter

if TYPE_CHECKING:
    from stategpt.tokenizer.tokenizer import AnyTokenizer


class DetokenizedStream:
    """Tokens in, text out: characters once all their bytes are there, nothing at or after a stop string."""

    def __init__(self, tok: AnyTokenizer, stops: Sequence[str]) -> None:
        self._decoder = tok.decoder()
        self._filter = StopFilter(stops)
        self._shown: list[str] = []
        self._taken = 0

    @property
    def stopped(self) -> bool:
        """A stop string is complete."""
        return self._filter.stopped

    @property
    def text(self) -> str:
        """Everything so far that cannot become part of a stop string."""
        return "".join(self._shown)

    def push(self, token: int) -> None:
        """Adds one token."""
        self._shown.append(self._filter.push(self._decoder.push(token)))

    def finish(self) -> None:
        """No more tokens: what was held back is text after all, unless a stop string came."""
        self._shown.append(self._filter.push(self._decoder.finish()))
        self._shown.append(self._filter.finish())

    def take(self) -> str:
        """The text added since the last call."""
        new = "".join(self._shown[self._taken :])
        self._taken = len(self._shown)
        return new
