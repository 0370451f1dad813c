"""Vocabularies of pieces with scores (SentencePiece) as the fields of a `tokenizer.json`: BPE and Unigram.

SentencePiece and llama.cpp merge the two neighbors whose joined text has the best score, leftmost first. The
`tokenizers` library merges by a list of pairs, so all ways to cut a piece into two others become merges, best score
first. Of equal scores the longer piece comes first: then a run of one character grows from its left end, as there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from stategpt.errors import TokenizerFormatError, TokenizerUnsupported

SPACE = "\u2581"
"""How pieces spell a space."""
MAX_PIECE_CHARS = 1024
MAX_PIECES = 1 << 22


class Kind(IntEnum):
    """What a piece is; the numbers are those of SentencePiece, and of `tokenizer.ggml.token_type` in GGUF."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece: its text, score (better is larger) and kind. Its id is its place."""

    text: str
    score: float
    kind: Kind


def checked_pieces(pieces: Sequence[Piece], where: str) -> dict[str, int]:
    """Ids by text.

    Raises:
        TokenizerFormatError: no pieces, one without text or over the limits, one text twice.
    """
    if not 0 < len(pieces) <= MAX_PIECES:
        raise TokenizerFormatError(f"{where}: it has {len(pieces)} pieces; there must be 1 to {MAX_PIECES:,}")
    ids: dict[str, int] = {}
    for place, piece in enumerate(pieces):
        if not 0 < len(piece.text) <= MAX_PIECE_CHARS:
            raise TokenizerFormatError(
                f"{where}: piece {place} has {len(piece.text)} characters; it must have 1 to {MAX_PIECE_CHARS}"
            )
        if ids.setdefault(piece.text, place) != place:
            raise TokenizerFormatError(
                f"{where}: pieces {ids[piece.text]} and {place} are both {piece.text!r}; a text has one id"
            )
    return ids


def added_tokens(pieces: Iterable[Piece]) -> list[dict[str, Any]]:
    """Control and unknown pieces as special tokens, user-defined ones as added tokens that text becomes."""
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return [
        {"id": place, "content": piece.text, **plain, "special": piece.kind is not Kind.USER_DEFINED}
        for place, piece in enumerate(pieces)
        if piece.kind in (Kind.CONTROL, Kind.UNKNOWN, Kind.USER_DEFINED)
    ]


def bpe_model(pieces: Sequence[Piece], ids: dict[str, int], unknown: int | None) -> dict[str, Any]:
    """The model of BPE by scores, bytes for characters without a piece.

    Args:
        pieces: all of them.
        ids: ids by text.
        unknown: the piece for what has neither piece nor bytes, if any.
    """
    byte_ids = {f"<0x{byte:02X}>" for byte in range(256)}
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None if unknown is None else pieces[unknown].text,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": byte_ids <= ids.keys(),
        "ignore_merges": False,
        "vocab": ids,
        "merges": _merges(pieces, ids),
    }


def _merges(pieces: Sequence[Piece], ids: dict[str, int]) -> list[list[str]]:
    """The ways to make each piece of two, in the order in which they are tried."""
    mergeable = (Kind.NORMAL, Kind.USER_DEFINED, Kind.UNUSED)
    parts = {piece.text for piece in pieces if piece.kind in mergeable}
    order = sorted(
        (place for place, piece in enumerate(pieces) if piece.kind in mergeable and len(piece.text) > 1),
        key=lambda place: (-pieces[place].score, -len(pieces[place].text), place),
    )
    merges = []
    for place in order:
        text = pieces[place].text
        cuts = ((text[:cut], text[cut:]) for cut in range(1, len(text)))
        merges += [[left, right] for left, right in cuts if left in parts and right in parts]
    return merges


def unigram_model(pieces: Sequence[Piece], unknown: int, *, byte_fallback: bool) -> dict[str, Any]:
    """The model of Unigram. Pieces that no text may yield keep their ids, under the score of the least probable.

    Args:
        pieces: all of them; text yields normal ones.
        unknown: the piece for characters without one.
        byte_fallback: whether such characters become bytes.
    """
    normal = [piece.score for piece in pieces if piece.kind is Kind.NORMAL]
    worst = min(normal, default=0.0)
    vocabulary = [[piece.text, piece.score if piece.kind is Kind.NORMAL else worst] for piece in pieces]
    return {"type": "Unigram", "unk_id": unknown, "vocab": vocabulary, "byte_fallback": byte_fallback}


def normalizers(
    charsmap: str, *, extra_spaces_removed: bool, prefix: bool, spelled_spaces_end: bool = True
) -> list[dict[str, Any]]:
    """The steps that come before pieces: characters replaced, spaces collapsed, spelled as `SPACE`, one put before.

    Args:
        charsmap: SentencePiece's compiled table in Base64, or nothing.
        extra_spaces_removed: whether spaces at the ends, and all but one of a run, are dropped.
        prefix: whether a space is put before each text that is not empty.
        spelled_spaces_end: whether `SPACE` itself at the end of a text is dropped as a space is (not in llama.cpp).
    """
    steps: list[dict[str, Any]] = []
    if charsmap:
        # The library looks up a character with its marks only up to five bytes; NFC joins what it leaves apart.
        steps += [{"type": "Precompiled", "precompiled_charsmap": charsmap}, {"type": "NFC"}]
    if extra_spaces_removed:
        steps += [_replaced(r"\A +| +\z", ""), _replaced(" {2,}", " ")]
    steps.append({"type": "Replace", "pattern": {"String": " "}, "content": SPACE})
    if extra_spaces_removed and spelled_spaces_end:
        steps.append(_replaced(rf"{SPACE}+\z", ""))
    if prefix:
        steps.append({"type": "Prepend", "prepend": SPACE})
    return steps


def decoder(*, prefix: bool) -> dict[str, Any]:
    """What turns pieces into text: spaces, bytes, and without the space that was put before it."""
    steps: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if prefix:
        steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return {"type": "Sequence", "decoders": steps}


def no_byte_is_spelled() -> dict[str, Any]:
    """A cut within text that spells a byte piece, `<0x0A>`: Unigram would take it for the byte."""
    return {
        "type": "Split",
        "pattern": {"Regex": "<(?=0x[0-9A-F]{2}>)"},
        "behavior": "MergedWithPrevious",
        "invert": False,
    }


def refuse_unused(pieces: Sequence[Piece], where: str) -> None:
    """Refuses pieces that SentencePiece takes apart after it made them.

    Raises:
        TokenizerUnsupported: there is one.
    """
    for place, piece in enumerate(pieces):
        if piece.kind is Kind.UNUSED:
            raise TokenizerUnsupported(
                f"{where}: piece {place} ({piece.text!r}) is marked unused, which is not supported"
            )


def _replaced(regex: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"Regex": regex}, "content": content}
