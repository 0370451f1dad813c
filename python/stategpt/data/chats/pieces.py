"""What a chat template makes of messages: pieces of text and control tokens, and their ids.

    literal   text of the template; where it spells a special token of the tokenizer it is that token
    control   a special token, by name
    content   text of a message; it is encoded plainly and never becomes a special token

Pieces of text that touch are encoded together, as the model's own tokenizer would encode the rendered chat, except at
the borders of what is trained and at the beginning of an answer: no token spans them, so the mask is exact and a
prompt is a prefix of its conversation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from stategpt.arguments import Ids
from stategpt.errors import InvalidArgument
from stategpt.tokenizer.control import Control, names_shown
from stategpt.tokenizer.hf_prefix import Before
from stategpt.tokenizer.hf_tokenizer import HfTokenizer

Mask = npt.NDArray[np.bool_]


class ChatTokenizer(Protocol):
    """The methods of a tokenizer that chat formats use; `stategpt.Tokenizer` has them."""

    @property
    def special_tokens(self) -> Mapping[str, int]:
        """Special tokens by name."""
        ...

    def encode(self, text: str) -> Ids:
        """Ids of plain text: uint32, never a special id."""
        ...

    def encode_segments(self, segments: Iterable[str | Control]) -> Ids:
        """Ids of plain texts with control tokens between them: uint32."""
        ...


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a chat: a text, or a control token by name; whether training predicts it."""

    text: str
    kind: Literal["literal", "control", "content"]
    trained: bool = False


BORDER = Piece("", "literal")
"""Text before it and after it is encoded separately."""


def text_of(pieces: Iterable[Piece]) -> str:
    """The chat as the text that a renderer of strings makes."""
    return "".join(piece.text for piece in pieces)


def split_at_special(pieces: Iterable[Piece], names: Iterable[str]) -> Iterator[Piece]:
    """Cuts literal pieces at the special tokens they spell, the longest first; texts of messages stay whole."""
    found = sorted(filter(None, names), key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, found))) if found else None
    for piece in pieces:
        if piece.kind != "literal" or not piece.text or pattern is None:
            yield piece
            continue
        end = 0
        for match in pattern.finditer(piece.text):
            if match.start() > end:
                yield replace(piece, text=piece.text[end : match.start()])
            yield replace(piece, text=match[0], kind="control")
            end = match.end()
        if end < len(piece.text):
            yield replace(piece, text=piece.text[end:])


def encode_pieces(
    tok: ChatTokenizer, pieces: Sequence[Piece], template: str, before: Before = "nothing"
) -> tuple[Ids, Mask]:
    """Ids uint32[n] and the loss mask bool[n]: which of them training predicts. `before` says what precedes them.

    Raises:
        InvalidArgument: a control token that `tok` lacks.
    """
    special = tok.special_tokens
    ids: list[Ids] = []
    trained: list[Mask] = []

    def add(part: Ids, piece_trained: bool) -> None:
        """Appends the ids of a piece."""
        ids.append(part)
        trained.append(np.full(part.size, piece_trained))

    for piece in joined(pieces):
        if piece.kind != "control":
            # No border is the beginning of a text, which SentencePiece's kinds put a space before.
            made = tok._encode_after(piece.text, before) if isinstance(tok, HfTokenizer) else tok.encode(piece.text)
            add(made, piece.trained)
        elif piece.text in special:
            add(np.array([special[piece.text]], dtype=np.uint32), piece.trained)
        else:
            raise InvalidArgument(
                f"the chat template {template} writes the control token {piece.text!r}, which the tokenizer lacks; it "
                f"has {names_shown(special)}. Take the template of this tokenizer's model, or a tokenizer that has it."
            )
        before = "token" if piece.kind == "control" else "text"
    if not ids:
        return np.zeros(0, dtype=np.uint32), np.zeros(0, dtype=np.bool_)
    return np.concatenate(ids), np.concatenate(trained)


def joined(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Texts that touch as one piece, if they are trained alike and there is no border between them."""
    held: list[Piece] = []
    for piece in pieces:
        ends = piece is BORDER or piece.kind == "control" or (held and piece.trained != held[0].trained)
        if held and ends:
            yield Piece(text_of(held), "content", held[0].trained)
            held = []
        if piece.kind == "control":
            yield piece
        elif piece.text:
            held.append(piece)
    if held:
        yield Piece(text_of(held), "content", held[0].trained)
