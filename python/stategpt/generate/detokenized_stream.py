"""The text of a completion while it is sampled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .stops import StopFilter

if TYPE_CHECKING:
    from stategpt.tokenizer.tokenizer import AnyTokenizer


class DetokenizedStream:
    """Turns tokens into text: a character once all its bytes are there, nothing at or after a stop string."""

    def __init__(self, tok: AnyTokenizer, stops: Sequence[str]) -> None:
        self._decoder = tok.decoder()
        self._filter = StopFilter(stops)
        self._shown: list[str] = []
        self._taken = 0

    @property
    def stopped(self) -> bool:
        """Whether a stop string is complete."""
        return self._filter.stopped

    @property
    def text(self) -> str:
        """The text so far, without an end that may become part of a stop string."""
        return "".join(self._shown)

    def push(self, token: int) -> None:
        """Adds one token."""
        self._shown.append(self._filter.push(self._decoder.push(token)))

    def finish(self) -> None:
        """Ends the stream: text that was held back is released, unless a stop string came."""
        self._shown.append(self._filter.push(self._decoder.finish()))
        self._shown.append(self._filter.finish())

    def take(self) -> str:
        """Returns the text added since the last call."""
        new = "".join(self._shown[self._taken :])
        self._taken = len(self._shown)
        return new
