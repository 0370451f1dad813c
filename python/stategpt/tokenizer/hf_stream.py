"""Streaming decode with the `tokenizers` library, which decodes lists of ids only."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import NoReturn, SupportsIndex

from stategpt.tokenizer.byte_level import bytes_of
from stategpt.tokenizer.hf_decoders import Shape


class HfStreamDecoder:
    """Decodes ids as they come: all that `push` and `finish` return, joined, is `decode` of all the ids.

    What is not settled is held back: a part of a character, a run of byte tokens (`<0xC3>`) up to its end, and
    everything where the file's decoder settles nothing before the end (one that replaces text across tokens). Memory
    does not grow with the ids that were given out.
    """

    __slots__ = ("_bytes", "_context", "_decode", "_given", "_shape", "_spelled", "_waiting")

    def __init__(self, decode: Callable[[list[int]], str], spelled: Callable[[int], str], shape: Shape | None) -> None:
        """One at the start of a stream; `HfTokenizer.decoder` makes it.

        Args:
            decode: the text of ids.
            spelled: how the vocabulary spells an id; raises UnknownToken.
            shape: how the text of ids grows, if it does.
        """
        self._decode, self._spelled, self._shape = decode, spelled, shape
        self._start()

    def _start(self) -> None:
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")
        self._context: list[int] = []
        """Ids given out that are decoded again with those that follow."""
        self._given = 0
        """Characters of the context's text."""
        self._waiting: list[int] = []

    def push(self, id: int) -> str:
        """The text that this id completes.

        Raises:
            UnknownToken: an id outside the vocabulary; the decoder is as before.
        """
        token, shape = self._spelled(id), self._shape
        if shape is not None and shape.is_bytes:
            return self._bytes.decode(bytes_of(token))
        if shape is None or shape.waits(token):
            self._waiting.append(id)
            return ""
        held = [*self._context, *self._waiting, id]
        text = self._decode(held)
        new = text[self._given :]
        self._waiting = []
        # An id without text changes nothing, but a text that is still empty could be stripped further.
        if new or not text or not shape.strips:
            self._context, self._given = self._last(held, shape)
        return new

    def _last(self, held: list[int], shape: Shape) -> tuple[list[int], int]:
        """The fewest of the last ids that what follows can be decoded with, and the characters of their text."""
        count = 1
        text = self._decode(held[-count:])
        while shape.strips and not text and count < len(held):
            count *= 2
            text = self._decode(held[-count:])
        return held[-count:], len(text)

    def finish(self) -> str:
        """The remaining text. Resets the decoder."""
        text = self._bytes.decode(b"", final=True)
        if self._waiting:
            text = self._decode([*self._context, *self._waiting])[self._given :]
        self._start()
        return text

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Refused: a decoder is in the middle of a stream."""
        refuse_pickling("HfStreamDecoder")


def refuse_pickling(name: str) -> NoReturn:
    """A stream belongs to who reads it.

    Raises:
        TypeError: always.
    """
    raise TypeError(
        f"a {name} cannot be copied or pickled, as it is in the middle of a stream; pickle the tokenizer and call its "
        "decoder() where the ids arrive"
    )
