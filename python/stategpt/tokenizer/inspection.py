"""Inspects a tokenization: pre-tokens, tokens, ids, and bytes per token."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from heapq import nsmallest
from itertools import accumulate, groupby

from stategpt.arguments import Special
from stategpt.errors import InvalidArgument, UnknownToken
from stategpt.tokenizer.tokenizer import AnyTokenizer

# White space, and the visible character shown for it.
_SHAPES = str.maketrans({" ": "·", "\n": "↵", "\t": "⇥", "\r": "␍"})


@dataclass(frozen=True)
class TokenView:
    """One token of a text.

    Attributes:
        id: its id.
        data: its bytes.
        piece: number of its pre-token, from 0: no token crosses pre-tokens.
        special: whether it is a special token rather than text.
    """

    id: int
    data: bytes
    piece: int
    special: bool

    @property
    def shown(self) -> str:
        """The bytes as `readable` shows them."""
        return readable(self.data)


def token_views(tok: AnyTokenizer, text: str, *, special: Special = "text") -> list[TokenView]:
    """The tokens of a text with their bytes and pre-tokens.

    Example:
        >>> tok = Tokenizer.train(["to be or not to be"], vocab_size=260)
        >>> [(view.shown, view.piece) for view in token_views(tok, "to be")]
        [('to', 0), ('·be', 1)]
    """
    specials = set(tok.special_tokens.values())
    ids = tok.encode(text, special=special).tolist()
    tokens = [bytes_of_token(tok, token) for token in ids]
    ends = list(accumulate(len(piece.encode()) for piece in tok.pieces(text)))
    starts = accumulate((len(token) for token in tokens), initial=0)
    return [
        TokenView(token, data, bisect_right(ends, start), token in specials)
        for token, data, start in zip(ids, tokens, starts, strict=False)
    ]


def bytes_of_token(tok: AnyTokenizer, token: int) -> bytes:
    """The bytes of a token; U+FFFD for one that is no text by itself, where the vocabulary is not byte-level.

    Raises:
        UnknownToken: an id outside the vocabulary, or in one of its gaps.
    """
    try:
        return tok.token_bytes(token)
    except InvalidArgument:
        return tok.decode([token]).encode()


def longest_tokens(tok: AnyTokenizer, count: int) -> list[bytes]:
    """The bytes of the longest tokens, without added ones: longest first, equally long ones by their bytes."""
    added = set(tok.special_tokens.values())

    def held() -> Iterator[bytes]:
        """The bytes of every token that is not added."""
        for token in range(tok.vocab_size):
            if token not in added:
                with suppress(UnknownToken):  # ids can have gaps
                    yield bytes_of_token(tok, token)

    return nsmallest(count, held(), key=lambda data: (-len(data), data))


def readable(data: bytes) -> str:
    """Bytes as one line that shows them all: white space as shapes, half and control characters as hexadecimal.

    Example:
        >>> readable(b" a\\n"), readable("é".encode()), readable(b"\\xe2\\x82"), readable(b"\\x00")
        ('·a↵', 'é', '<E2 82>', '<00>')
    """
    shown = ""
    for seen, run in groupby(data.decode("utf-8", "surrogateescape"), _can_be_seen):
        characters = "".join(run)
        raw = characters.encode("utf-8", "surrogateescape")
        shown += characters.translate(_SHAPES) if seen else f"<{raw.hex(' ').upper()}>"
    return shown


def _can_be_seen(character: str) -> bool:
    return ord(character) in _SHAPES or character.isprintable()


@dataclass(frozen=True)
class Compression:
    """How well a tokenizer compresses a text.

    Attributes:
        name: origin of the text.
        byte_count: UTF-8 bytes.
        tokens: ids.
        characters: Unicode characters.
    """

    name: str
    byte_count: int
    tokens: int
    characters: int

    @property
    def bytes_per_token(self) -> float:
        """Mean bytes of text per token; 0 without text."""
        return self.byte_count / self.tokens if self.tokens else 0.0

    @property
    def characters_per_token(self) -> float:
        """Mean characters per token; 0 without text."""
        return self.characters / self.tokens if self.tokens else 0.0


def compression(tok: AnyTokenizer, name: str, text: str) -> Compression:
    """Bytes, characters and tokens of a text, which is not kept."""
    return Compression(name, len(text.encode()), tok.count(text), len(text))
