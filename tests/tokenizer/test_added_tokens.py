"""Added tokens that take white space, need a word's border or see normalized text: both engines, chat templates too."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stategpt as sg
from stategpt import _native
from stategpt.data.chats.pieces import Piece, encode_pieces
from stategpt.tokenizer import Control, HfTokenizer
from tokenizer.tokenizer_oracles import library_texts

hf = pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra: hf)")

BASE: dict[str, Any] = json.loads(
    sg.Tokenizer.train(library_texts(20_000), 400, special_tokens=["<|end|>", "[T]"])._to_json()
)
FLAGS = ("lstrip", "rstrip", "single_word", "normalized")
texts = st.lists(
    st.sampled_from(["<|end|>", "[T]", " ", "\n", "\t", "a", "é", "e\u0301", "_", "9", "\u3000", "<|end"]), max_size=10
)


def file(flags: dict[str, bool]) -> str:
    fields = json.loads(json.dumps(BASE))
    for token in fields["added_tokens"]:
        token.update(flags)
    fields["added_tokens"][1]["special"] = False
    return json.dumps({**fields, "normalizer": {"type": "NFC"}})


SETTINGS = [dict(zip(FLAGS, chosen, strict=True)) for chosen in itertools.product([False, True], repeat=4)]
TRIPLES = [
    (
        sg.Tokenizer(_native.Tokenizer._from_json(file(flags).encode())),
        HfTokenizer(file(flags)),
        hf.Tokenizer.from_str(file(flags)),
    )
    for flags in SETTINGS
]


@given(texts.map("".join), st.sampled_from(range(len(SETTINGS))))
def test_ids_with_every_flag_are_those_of_the_library(text: str, which: int) -> None:
    ours, theirs, library = TRIPLES[which]
    wanted = library.encode(text, add_special_tokens=False).ids
    assert ours.encode(text, special="allow").tolist() == wanted
    assert theirs.encode(text, special="allow").tolist() == wanted
    assert ours.encode(text, special="unflagged").tolist() == theirs.encode(text, special="unflagged").tolist()
    assert ours.encode(text).tolist() == theirs.encode(text).tolist()
    for special in ("text", "unflagged"):
        assert 0 not in ours.encode(text, special=special)  # type: ignore[call-overload]


@pytest.mark.parametrize("which", range(len(SETTINGS)))
def test_a_template_puts_tokens_and_texts_end_to_end_whatever_the_flags(which: int) -> None:
    """Text beside a control token keeps its white space: a message is not the template's to change."""
    pieces = [Piece("<|end|>", "control"), Piece(" \n a ", "content", True), Piece("<|end|>", "control")]
    for tok in TRIPLES[which][:2]:
        ids, mask = encode_pieces(tok, pieces, "here")
        inner = tok.encode(" \n a ").tolist()
        assert ids.tolist() == [0, *inner, 0]
        assert mask.tolist() == [False, *[True] * len(inner), False]
        assert tok.decode(np.asarray(inner, np.uint32)) == " \n a "
        assert tok.encode_segments([Control("<|end|>"), " \n a ", Control("<|end|>")]).tolist() == ids.tolist()
