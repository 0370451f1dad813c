"""Bytes of byte-level vocabularies, whose files spell each byte as a visible character (GPT-2's table)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

_VISIBLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_HIDDEN = tuple(byte for byte in range(256) if byte not in _VISIBLE)
_BYTE_OF = {chr(byte): byte for byte in _VISIBLE} | {chr(0x100 + n): byte for n, byte in enumerate(_HIDDEN)}


def bytes_of(spelled: str) -> bytes:
    """The bytes that a token spells; its UTF-8 where it has a character that represents no byte."""
    if all(character in _BYTE_OF for character in spelled):
        return bytes(_BYTE_OF[character] for character in spelled)
    return spelled.encode()


def byte_offsets(text: str, spans: Sequence[tuple[int, int]], tokens: Sequence[bytes]) -> list[int]:
    """Where each token begins in the UTF-8 of a text, of which `spans` are the characters; the text's end comes last.

    Tokens that share a character divide it in order, a space that was put before the text empty. Where normalizing
    changed the character, all begin where it does.
    """
    raw = text.encode()
    at = [0, *accumulate(len(character.encode()) for character in text)]
    offsets = []
    for first, last in _sharing(spans):
        begin, end = at[spans[first][0]], at[max(end for _, end in spans[first:last])]
        joined = b"".join(tokens[first:last])
        before = len(joined) - (end - begin)
        if joined in (raw[begin:end], b" " + raw[begin:end]):
            lengths = (len(token) for token in tokens[first : last - 1])
            offsets += [begin + max(0, length - before) for length in accumulate(lengths, initial=0)]
        else:
            offsets += [at[start] for start, _ in spans[first:last]]
    return list(accumulate([*offsets, len(raw)], max))


def _sharing(spans: Sequence[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    """Runs of tokens of which each shares a character with the next."""
    first = 0
    for place in range(1, len(spans) + 1):
        if place == len(spans) or spans[place][0] >= spans[place - 1][1]:
            yield first, place
            first = place
