"""Parts of a text: segments, the first ids, offsets and spans; and batches counted."""

from __future__ import annotations

import time
from itertools import chain

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stategpt.errors import InvalidArgument
from stategpt.tokenizer.control import Control
from stategpt.tokenizer.tokenizer import Tokenizer
from tokenizer.tokenizer_oracles import floods, library_texts

SPECIALS = ["<|endoftext|>", "<|user|>", "<|assistant|>"]
TEXTS = library_texts(200_000)
TOK = Tokenizer.train(TEXTS, 800, special_tokens=SPECIALS)

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=80)
segments = st.lists(texts | st.sampled_from(SPECIALS) | st.sampled_from(SPECIALS).map(Control), max_size=8)


# --- segments ---


@given(segments)
@example([Control("<|user|>"), "<|user|>", ""])
def test_segments_are_the_ids_of_each_and_control_only_where_it_was_put(parts: list[str | Control]) -> None:
    ids = TOK.encode_segments(parts).tolist()
    expected = [TOK.encode(part).tolist() if isinstance(part, str) else [TOK.special_id(part.name)] for part in parts]
    assert ids == list(chain.from_iterable(expected))
    named = [TOK.special_id(part.name) for part in parts if isinstance(part, Control)]
    assert [token for token in ids if token in TOK.special_tokens.values()] == named


def test_a_segment_that_is_neither_text_nor_control_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="a segment is int"):
        TOK.encode_segments(["a", 1])  # type: ignore[list-item]
    with pytest.raises(InvalidArgument, match="endoftext"):
        TOK.encode_segments([Control("<|system|>")])
    with pytest.raises(InvalidArgument, match="surrogate"):
        TOK.encode_segments(["\ud800"])


# --- the first ids ---


@given(texts, st.integers(0, 100), st.sampled_from(["text", "allow"]))
def test_the_first_ids_are_the_first_of_all(text: str, most: int, special: str) -> None:
    first, every = (TOK.encode(text, special=special, max_tokens=limit) for limit in (most, None))  # type: ignore[arg-type]
    assert first.tolist() == every[:most].tolist() == TOK.encode(text, special=special)[:most].tolist()  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(floods(12)))
def test_the_first_ids_of_a_flood_are_the_first_of_all(name: str) -> None:
    text = floods(1_000_000)[name]
    whole = TOK.encode(text)
    for most in (0, 1, 17, 5000, 15_000):
        np.testing.assert_array_equal(TOK.encode(text, max_tokens=most), whole[:most])


def test_the_first_ids_cost_what_they_are_not_what_the_text_is() -> None:
    text = "".join(TEXTS) * 100  # 20 MB
    TOK.encode(text, max_tokens=1)  # Python keeps the UTF-8 of the text with it
    started = time.process_time()
    for _ in range(100):
        assert len(TOK.encode(text, max_tokens=50)) == 50
    once = (time.process_time() - started) / 100
    started = time.process_time()
    TOK.encode(text)
    assert once < (time.process_time() - started) / 100


@pytest.mark.parametrize("most", [-1, 2**64])
def test_a_limit_that_is_none_is_refused(most: int) -> None:
    with pytest.raises(InvalidArgument, match="max_tokens"):
        TOK.encode("a", max_tokens=most)


# --- spans ---


@given(texts)
@example("é中🚀e\u0301")
def test_spans_are_the_fewest_whole_characters_that_hold_a_token(text: str) -> None:
    ids, spans = TOK.encode_with_spans(text)
    _, offsets = TOK.encode_with_offsets(text)
    bounds = np.cumsum([0, *(len(character.encode()) for character in text)])
    assert spans.shape == (len(ids), 2)
    assert ids.tolist() == TOK.encode(text).tolist()
    assert spans[:, 0].tolist() == (np.searchsorted(bounds, offsets[:-1], side="right") - 1).tolist()
    assert spans[:, 1].tolist() == np.searchsorted(bounds, offsets[1:], side="left").tolist()


def test_tokens_that_share_a_character_all_have_it() -> None:
    tok = Tokenizer.train(["x"], 256)
    _, spans = tok.encode_with_spans("a€b")
    assert spans.tolist() == [[0, 1], [1, 2], [1, 2], [1, 2], [2, 3]]


def test_spans_are_those_of_the_tokenizers_library() -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra: hf)")
    theirs = tokenizers.Tokenizer.from_str(TOK._to_json())
    for text in ["plain text", "naïve — “quotes” €5", "日本語のテキスト", "a🚀b"]:
        encoding = theirs.encode(text)
        ids, spans = TOK.encode_with_spans(text)
        assert ids.tolist() == encoding.ids
        assert [tuple(span) for span in spans.tolist()] == encoding.offsets


# --- counting ---


def test_counts_of_a_batch_are_the_counts_of_its_texts() -> None:
    large = "".join(TEXTS) * 12  # shared by threads
    batch = [*TEXTS, "", large, "end"]
    expected = [TOK.count(text) for text in batch]
    for threads in (1, 2, None):
        assert TOK.count_batch(batch, threads=threads).tolist() == expected
        assert TOK.encode_batch(batch, threads=threads).lengths.tolist() == expected
    assert TOK.count_batch([]).tolist() == []
    assert TOK.count(large) == len(TOK.encode(large))
