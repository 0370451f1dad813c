"""The tokenizer's promises: lossless, text never a special token, one result for every way of calling it."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stategpt.errors import CorpusError, InvalidArgument, StorageError, UnknownToken
from stategpt.tokenizer.ragged import Ragged
from stategpt.tokenizer.tokenizer import Tokenizer
from tokenizer.tokenizer_oracles import floods, library_texts

SPECIALS = ["<|endoftext|>", "<|user|>", "<|pad|>"]
TEXTS = library_texts(300_000)
TOK = Tokenizer.train(TEXTS, 1024, special_tokens=SPECIALS)
PATTERNS = ["gpt2", "gpt4", "llama3", "o200k", "qwen"]
BY_PATTERN = {name: Tokenizer.train(TEXTS[:6], 600, pattern=name) for name in PATTERNS}

any_text = st.text(st.characters(exclude_categories=("Cs",)), max_size=200)
spelled = st.lists(st.sampled_from([*SPECIALS, "<|", "|>", "a", " ", "\n", "<|end"]), max_size=12).map("".join)


# --- lossless ---


@given(st.binary(max_size=300), st.sampled_from(PATTERNS))
@example(b"\xe2\x82", "gpt4")
@example(b"\xed\xa0\x80 \xff a", "o200k")
def test_any_bytes_come_back(data: bytes, pattern: str) -> None:
    tok = BY_PATTERN[pattern]
    assert tok.decode_bytes(tok.encode_bytes(data)) == data


@given(any_text)
def test_any_text_comes_back(text: str) -> None:
    assert TOK.decode(TOK.encode(text)) == text
    assert "".join(TOK.pieces(text)) == text


@pytest.mark.parametrize("name", sorted(floods(12)))
def test_a_flood_of_one_thing_comes_back(name: str) -> None:
    # A quadratic tokenizer would need minutes here; the suite's time limit is the assertion.
    text = floods(400_000)[name]
    assert TOK.decode(TOK.encode(text)) == text


def test_a_token_does_not_depend_on_what_was_encoded_before() -> None:
    fresh = Tokenizer.train(TEXTS, 1024, special_tokens=SPECIALS)
    for text in TEXTS[:5]:
        TOK.encode(text)
    for text in TEXTS[5:8]:
        np.testing.assert_array_equal(TOK.encode(text), fresh.encode(text))


# --- special tokens ---


@settings(max_examples=300)
@given(spelled | any_text)
def test_text_never_becomes_a_special_token(text: str) -> None:
    specials = set(TOK.special_tokens.values())
    for ids in (TOK.encode(text), TOK.encode_bytes(text.encode()), TOK.encode_batch([text]).ids):
        assert not specials & set(ids.tolist())


@given(spelled)
def test_special_tokens_stand_where_they_are_spelled_if_allowed(text: str) -> None:
    ids = TOK.encode(text, special="allow")
    assert TOK.decode(ids) == text
    expected = sum(text.count(name) for name in SPECIALS)
    assert sum(token in TOK.special_tokens.values() for token in ids.tolist()) == expected
    assert TOK.decode(ids, skip_special=True) == "".join(
        TOK.decode([token]) for token in ids.tolist() if token not in TOK.special_tokens.values()
    )


def test_a_special_token_that_merges_spell_is_still_never_text() -> None:
    tok = Tokenizer.train(["the the the the"], 262, special_tokens=["the"])
    assert tok.special_tokens == {"the": 0}
    assert 0 not in tok.encode("the there").tolist()
    assert tok.encode("the there", special="allow").tolist().count(0) == 2
    assert tok.decode(tok.encode("the there")) == "the there"


def test_special_tokens_come_first_then_bytes_then_merges() -> None:
    assert TOK.special_tokens == {name: place for place, name in enumerate(SPECIALS)}
    assert TOK.token_bytes(3) == b"!"
    assert TOK.vocab_size == 1024
    assert len(TOK.token_bytes(3 + 256)) == 2
    assert TOK.special_id("<|pad|>") == 2


def test_an_unknown_special_token_is_answered_with_those_there_are() -> None:
    with pytest.raises(InvalidArgument, match="endoftext"):
        TOK.special_id("<|system|>")


# --- one result for every way of calling it ---


def test_batch_count_and_offsets_agree_with_encode() -> None:
    alone = [TOK.encode(text) for text in TEXTS]
    for threads in (1, 2, 5, None):
        batch = TOK.encode_batch(TEXTS, threads=threads)
        assert len(batch) == len(TEXTS)
        assert all(np.array_equal(a, b) for a, b in zip(alone, batch, strict=True))
    assert [TOK.count(text) for text in TEXTS] == [len(ids) for ids in alone]
    assert TOK.decode_batch(batch) == TEXTS


def test_an_empty_batch_and_empty_texts_are_batches() -> None:
    assert len(TOK.encode_batch([])) == 0
    assert TOK.encode_batch(["", "a", ""]).lengths.tolist() == [0, 1, 0]
    assert TOK.encode("").tolist() == []
    assert TOK.decode([]) == ""


@given(any_text | spelled, st.sampled_from(["text", "allow"]))
def test_offsets_are_where_each_token_begins(text: str, special: str) -> None:
    ids, offsets = TOK.encode_with_offsets(text, special=special)  # type: ignore[arg-type]
    data = text.encode()
    assert offsets[0] == 0
    assert offsets[-1] == len(data)
    assert [data[a:b] for a, b in pairwise(offsets.tolist())] == [TOK.token_bytes(i) for i in ids.tolist()]


@given(st.binary(max_size=60) | any_text.map(str.encode))
@example("é中💚".encode())
@example(b"\xf0\x9f\xff\xe4\xb8")
def test_streaming_gives_what_decoding_at_once_gives(data: bytes) -> None:
    ids = TOK.encode_bytes(data).tolist()
    decoder = TOK.decoder()
    parts = [decoder.push(token) for token in ids]
    assert "".join(parts) + decoder.finish() == TOK.decode(ids) == data.decode("utf-8", "replace")
    assert decoder.finish() == ""


def test_a_stream_holds_a_character_back_until_it_is_whole() -> None:
    tok = Tokenizer.train(["x"], 256)
    decoder = tok.decoder()
    assert [decoder.push(token) for token in tok.encode("a€b").tolist()] == ["a", "", "", "€", "b"]


def test_arrays_of_every_integer_type_and_lists_decode() -> None:
    ids = TOK.encode("integers of every width")
    for kind in (np.int32, np.int64, np.uint64):
        assert TOK.decode(ids.astype(kind)) == "integers of every width"
    assert TOK.decode(ids.tolist()) == TOK.decode(tuple(ids.tolist())) == "integers of every width"
    assert TOK.decode(np.repeat(ids, 2)[::2]) == "integers of every width"


# --- threads and processes ---


def test_threads_share_a_tokenizer() -> None:
    expected = [TOK.encode(text).tolist() for text in TEXTS]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(lambda text: TOK.encode(text).tolist(), TEXTS)) == expected


def test_a_tokenizer_works_in_a_child_after_fork() -> None:
    code = """
import os
from stategpt.tokenizer.tokenizer import Tokenizer
texts = ["one two three " * 30000] * 4
tok = Tokenizer.train(texts, 280)
before = tok.encode_batch(texts, threads=2).ids.tobytes()
child = os.fork()
if child == 0:
    os._exit(0 if tok.encode_batch(texts, threads=2).ids.tobytes() == before else 1)
print(os.waitpid(child, 0)[1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=250, check=True)
    assert done.stdout.strip() == "0"


# --- files ---


def test_files_are_documents_whole_or_by_line(tmp_path: Path) -> None:
    texts = ["one\ntwo\n", "", "drei\r\nvier"]
    paths = [tmp_path / f"{place}.txt" for place in range(3)]
    for path, text in zip(paths, texts, strict=True):
        path.write_bytes(text.encode())
    assert TOK.decode_batch(TOK.encode_files(paths, threads=2)) == texts
    assert TOK.decode_batch(TOK.encode_files(paths, documents="lines")) == ["one\n", "two\n", "drei\r\n", "vier"]


def test_a_file_that_is_not_utf8_is_named_with_the_place(tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes(b"caf\xe9!")
    for read in (lambda: TOK.encode_files([path]), lambda: Tokenizer.train([path], 300)):
        with pytest.raises(CorpusError, match=r"latin.txt is not UTF-8 at byte 3"):
            read()
    assert TOK.decode_batch(TOK.encode_files([path], errors="replace")) == ["caf\ufffd!"]
    assert Tokenizer.train([path], 300, errors="replace").vocab_size > 256


def test_a_missing_file_is_a_storage_error_that_names_it(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    for call in (
        lambda: Tokenizer.load(gone),
        lambda: Tokenizer.from_tiktoken(gone, "gpt4"),
        lambda: TOK.encode_files([gone]),
    ):
        with pytest.raises(StorageError, match="gone"):
            call()
    with pytest.raises(OSError, match="gone"):
        Tokenizer.train([gone], 300)


# --- bad input ---


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_lone_surrogates_are_refused(text: str) -> None:
    for call in (TOK.encode, TOK.count, TOK.encode_with_offsets, lambda text: TOK.encode_batch(["a", text])):
        with pytest.raises(ValueError, match="surrogate"):
            call(text)  # type: ignore[operator]
    with pytest.raises(InvalidArgument, match="surrogate"):
        Tokenizer.train(["a", text], 300)


@pytest.mark.parametrize("token", [1024, -1, 2**32, 2**70])
def test_an_unknown_id_is_named_with_the_size_of_the_vocabulary(token: int) -> None:
    decoder = TOK.decoder()
    for call in (lambda: TOK.decode([5, token]), lambda: TOK.token_bytes(token), lambda: decoder.push(token)):
        with pytest.raises(UnknownToken, match=rf"{token} is not in this vocabulary of 1024"):
            call()
    with pytest.raises(UnknownToken):
        TOK.decode_batch(Ragged.of([[1024]]))


def test_ids_that_are_no_integers_are_refused() -> None:
    for ids in ([1.5], np.array([1.5]), np.zeros((2, 2), np.uint32), ["a"]):
        with pytest.raises(InvalidArgument):
            TOK.decode(ids)  # type: ignore[arg-type]


def test_options_are_checked() -> None:
    for call in (
        lambda: TOK.encode("a", special="all"),  # type: ignore[arg-type]
        lambda: TOK.encode_batch(["a"], threads=0),
        lambda: TOK.encode_batch(["a", b"b"]),  # type: ignore[list-item]
        lambda: TOK.encode_files([], documents="pages"),  # type: ignore[arg-type]
        lambda: Tokenizer.train(["a"], 300, ties="lowest"),  # type: ignore[arg-type]
        lambda: Tokenizer.train(["a"], 300, pattern="gpt5"),
        lambda: Tokenizer.train(["a"], -1),
        lambda: Tokenizer.train(["a"], 300, min_frequency=2**64),
        lambda: Tokenizer.train("one text", 300),
    ):
        with pytest.raises(InvalidArgument):
            call()


def test_an_unknown_pattern_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InvalidArgument, match="gpt2, gpt4, llama3, o200k, qwen"):
        Tokenizer.train(["a"], 300, pattern="gpt5")


def test_a_vocabulary_too_small_is_told_what_it_needs() -> None:
    with pytest.raises(InvalidArgument, match=r"vocab_size 257 .* 2 special tokens and 256 bytes need at least 258"):
        Tokenizer.train(["a"], 257, special_tokens=["<|a|>", "<|b|>"])


@pytest.mark.parametrize("special", [[""], ["<|a|>", "<|a|>"], ["a"], ["Ġ"]])
def test_special_tokens_that_cannot_be_are_refused(special: list[str]) -> None:
    with pytest.raises(InvalidArgument, match="special token"):
        Tokenizer.train(["a"], 400, special_tokens=special)


def test_nothing_to_train_on_is_a_corpus_error() -> None:
    for source in ([], [""], iter(["", ""])):
        with pytest.raises(CorpusError, match="no text"):
            Tokenizer.train(source, 300)


def test_the_name_of_a_file_is_not_trained_on_as_text(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("text")
    with pytest.raises(InvalidArgument, match="pass Path"):
        Tokenizer.train([str(path)], 300)
