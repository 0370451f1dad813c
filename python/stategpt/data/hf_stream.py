"""Streaming decode with the `tokenizers` library, which decodes lists of ids only."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stategpt.data.hf_tokenizer import HfTokenizer


class HfStreamDecoder:
    """Decodes ids as they come: text that ends in U+FFFD waits for the rest of its character.

    A token's text can depend on the one before it, so the last stretch given out is decoded again with what follows.
    """

    __slots__ = ("_given", "_ids", "_tokenizer")

    def __init__(self, tokenizer: HfTokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._given = ""

    def push(self, id: int) -> str:
        """The text that this id completes.

        Raises:
            UnknownToken: an id outside the vocabulary; the decoder is as before.
        """
        text = self._tokenizer.decode([*self._ids, id])
        self._ids.append(id)
        if text.endswith("\ufffd") or not text.startswith(self._given):
            return ""
        new = text[len(self._given) :]
        if new:
            self._ids = self._ids[-1:]
            self._given = self._tokenizer.decode(self._ids)
            if not text.endswith(self._given):  # a part of a character, or a token that reads otherwise alone
                self._ids, self._given = [], ""
        return new

    def finish(self) -> str:
        """What is left. Then it starts anew."""
        text = self._tokenizer.decode(self._ids)
        given, self._ids, self._given = self._given, [], ""
        return text[len(given) :] if text.startswith(given) else text
