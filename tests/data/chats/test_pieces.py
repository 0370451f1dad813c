"""Pieces to ids: what is encoded together, and where special tokens are cut out."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from stategpt.arguments import Ids
from stategpt.data.chats.pieces import BORDER, Piece, encode_pieces, split_at_special
from stategpt.errors import InvalidArgument
from stategpt.tokenizer.control import Control


class Words:
    """Every text is one token; it remembers what it was asked to encode."""

    special_tokens = {"<a>": 0, "<a>b": 1}  # noqa: RUF012

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, text: str) -> Ids:
        self.asked.append(text)
        return np.array([9] * len(text), dtype=np.uint32)

    def encode_segments(self, segments: Iterable[str | Control]) -> Ids:
        raise AssertionError("masks need the pieces apart")


def test_texts_that_touch_are_encoded_together_but_at_borders() -> None:
    tok = Words()
    pieces = [Piece("x", "literal"), Piece("y", "content"), BORDER, Piece("z", "content"), Piece("t", "content", True),
              Piece("u", "literal", True), Piece("<a>", "control", True), Piece("v", "literal")]  # fmt: skip
    ids, mask = encode_pieces(tok, pieces, "mine")
    assert tok.asked == ["xy", "z", "tu", "v"]
    assert ids.tolist() == [9, 9, 9, 9, 9, 0, 9]
    assert mask.tolist() == [False] * 3 + [True] * 3 + [False]
    assert (ids.dtype, mask.dtype) == (np.uint32, np.bool_)
    assert [part.size for part in encode_pieces(tok, [BORDER], "mine")] == [0, 0]


def test_literal_text_is_cut_at_the_longest_special_token_and_other_text_is_not() -> None:
    pieces = [Piece("1<a>b<a>2", "literal", True), Piece("<a>", "content")]
    found = list(split_at_special(pieces, Words.special_tokens))
    assert [(piece.text, piece.kind) for piece in found] == [
        ("1", "literal"), ("<a>b", "control"), ("<a>", "control"), ("2", "literal"), ("<a>", "content")
    ]  # fmt: skip
    assert [piece.trained for piece in found] == [True] * 4 + [False]
    assert list(split_at_special(pieces, [])) == pieces


def test_a_control_token_that_the_tokenizer_lacks_is_named() -> None:
    with pytest.raises(InvalidArgument, match=r"mine writes the control token '<c>', which the tokenizer lacks"):
        encode_pieces(Words(), [Piece("<c>", "control")], "mine")
