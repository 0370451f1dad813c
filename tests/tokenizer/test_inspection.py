"""What is shown of a text's tokens is all of them, each byte once, and nothing a terminal or a browser would act on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stategpt.tokenizer.inspection import compression, readable, token_views
from stategpt.tokenizer.tokenizer import Tokenizer
from tokenizer.tokenizer_oracles import library_texts

TOK = Tokenizer.train(library_texts(100_000), 500, special_tokens=["<|endoftext|>"])
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)


@given(texts)
def test_views_are_the_tokens_of_the_text_in_their_pieces(text: str) -> None:
    views = token_views(TOK, text)
    assert [view.id for view in views] == TOK.encode(text).tolist()
    assert b"".join(view.data for view in views) == text.encode()
    pieces = [b"".join(view.data for view in views if view.piece == place) for place in range(len(TOK.pieces(text)))]
    assert [piece.decode() for piece in pieces] == TOK.pieces(text)


def test_special_tokens_are_marked() -> None:
    views = token_views(TOK, "a<|endoftext|>", special="allow")
    assert [view.special for view in views] == [False, True]
    assert not any(view.special for view in token_views(TOK, "a<|endoftext|>"))


@pytest.mark.parametrize(
    ("data", "shown"),
    [(b" a\n\t\r", "·a↵⇥␍"), (b"\xe2\x82", "<E2 82>"), ("é日".encode(), "é日"), (b"\x00\x1b[", "<00 1B>["), (b"", "")],
)
def test_bytes_are_shown_so_that_they_can_be_read(data: bytes, shown: str) -> None:
    assert readable(data) == shown


@given(st.binary(max_size=40))
def test_nothing_shown_moves_a_cursor_or_turns_the_writing(data: bytes) -> None:
    assert readable(data).isprintable()


def test_compression_counts_bytes_characters_and_tokens() -> None:
    measured = compression(TOK, "a text", "é é é")
    assert (measured.byte_count, measured.characters) == (8, 5)
    assert measured.bytes_per_token == 8 / TOK.count("é é é")
    assert measured.characters_per_token == 5 / TOK.count("é é é")
    assert compression(TOK, "nothing", "").bytes_per_token == 0.0
