"""tokenizer.json and rank files: ids equal to those of their owners, and every fault named by its place."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stategpt.errors import InvalidArgument, TokenizerFormatError
from stategpt.tokenizer.tokenizer import Tokenizer
from tokenizer.tokenizer_oracles import (
    RANK_FILES,
    cutter,
    floods,
    library_texts,
    odd_text,
    ours_saved,
    pre_tokenizer,
    rank_file,
    tiktoken_encoding,
)

TEXTS = library_texts(200_000)
SPECIALS = ["<|endoftext|>", "<|user|>"]
TOK = Tokenizer.train(TEXTS, 700, special_tokens=SPECIALS)
GOOD: dict[str, Any] = json.loads(TOK._to_json())

Change = Callable[[dict[str, Any]], object]


# --- round trips ---


@pytest.mark.parametrize("pattern", ["gpt2", "gpt4", "llama3", "o200k", "qwen"])
def test_a_saved_tokenizer_loads_as_the_same_one(pattern: str, tmp_path: Path) -> None:
    tok = Tokenizer.train(TEXTS[:5], 500, pattern=pattern, special_tokens=SPECIALS)
    tok.save(tmp_path / "tokenizer.json")
    again = Tokenizer.load(tmp_path / "tokenizer.json")
    assert again.fingerprint == tok.fingerprint
    assert again.pattern == tok.pattern
    assert again.special_tokens == tok.special_tokens
    assert [again.token_bytes(i) for i in range(500)] == [tok.token_bytes(i) for i in range(500)]
    np.testing.assert_array_equal(again.encode_batch(TEXTS).ids, tok.encode_batch(TEXTS).ids)


def test_the_fingerprint_is_that_of_the_saved_bytes(tmp_path: Path) -> None:
    assert TOK.fingerprint.startswith("b3:")
    assert len(TOK.fingerprint) == 3 + 64
    saved = ours_saved(TOK, tmp_path)
    (tmp_path / "compact.json").write_text(json.dumps(json.loads(saved), separators=(",", ":")))
    assert Tokenizer.load(tmp_path / "compact.json").fingerprint == TOK.fingerprint
    assert Tokenizer.train(TEXTS, 699, special_tokens=SPECIALS).fingerprint != TOK.fingerprint


@pytest.mark.parametrize("pattern", ["gpt2", "gpt4", "o200k", "qwen"])
def test_the_tokenizers_library_gives_the_same_ids(pattern: str, tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra: hf)")
    tok = Tokenizer.train(TEXTS, 900, pattern=pattern, special_tokens=SPECIALS)
    ours_saved(tok, tmp_path)
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    draw = random.Random(3)
    texts = [*TEXTS, *floods(3000).values(), *(odd_text(draw) for _ in range(300)), "a<|user|>b<|endoftext|><|user"]
    for text in texts:
        assert tok.encode(text, special="allow").tolist() == theirs.encode(text, add_special_tokens=False).ids
    theirs.encode_special_tokens = True
    for text in texts[-200:]:
        assert tok.encode(text).tolist() == theirs.encode(text, add_special_tokens=False).ids


@pytest.mark.filterwarnings("ignore")
def test_transformers_loads_what_we_save(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed (extra: hf)")
    TOK.save(tmp_path / "tokenizer.json")
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    for text in TEXTS[:3]:
        assert theirs(text)["input_ids"] == TOK.encode(text).tolist()
    assert theirs.convert_tokens_to_ids("<|user|>") == TOK.special_id("<|user|>")
    assert theirs.decode(TOK.encode("a<|user|>b", special="allow").tolist(), skip_special_tokens=True) == "ab"


# --- patterns, character by character ---


def characters(every: int) -> list[str]:
    """All code points below U+3400 and each `every`th above, surrogates aside."""
    codes = [*range(0x3400), *range(0x3400, 0x11_0000, every)]
    return [chr(code) for code in codes if not 0xD800 <= code < 0xE000]


def assert_pieces_equal(pattern: str, every: int) -> None:
    tok = Tokenizer.train(["a"], 256, pattern=pattern)
    theirs = cutter(pattern)
    held = characters(every)
    for start in range(0, len(held), 100):  # the library takes longer for each character of a long text
        text = "".join(f"a{c}b {c} \n{c}1{c}'{c}A{c}a!{c}\n" for c in held[start : start + 100])
        expected = [text[a:b] for _, (a, b) in theirs.pre_tokenize_str(text)]
        assert tok.pieces(text) == expected


@pytest.mark.parametrize("pattern", ["gpt2", "gpt4", "o200k", "qwen"])
def test_characters_are_cut_as_the_tokenizers_library_cuts_them(pattern: str) -> None:
    assert_pieces_equal(pattern, every=499)


@pytest.mark.slow
@pytest.mark.parametrize("pattern", ["gpt2", "gpt4", "o200k", "qwen"])
def test_every_code_point_is_cut_as_the_tokenizers_library_cuts_it(pattern: str) -> None:
    assert_pieces_equal(pattern, every=1)


@pytest.mark.parametrize("pattern", ["gpt2", "gpt4", "o200k", "qwen"])
def test_odd_text_is_cut_as_the_tokenizers_library_cuts_it(pattern: str) -> None:
    tok = Tokenizer.train(["a"], 256, pattern=pattern)
    theirs = pre_tokenizer(pattern)
    draw = random.Random(11)
    for _ in range(1500):
        text = odd_text(draw)
        assert tok.pieces(text) == [text[a:b] for _, (a, b) in theirs.pre_tokenize_str(text)], repr(text)


# --- rank files ---


@pytest.mark.parametrize("pattern", sorted(RANK_FILES))
def test_real_rank_files_give_tiktokens_ids(pattern: str, tmp_path: Path) -> None:
    theirs = tiktoken_encoding(pattern)
    special = {"<|endoftext|>": RANK_FILES[pattern][1]}
    tok = Tokenizer.from_tiktoken(rank_file(pattern), pattern, special)
    tok.save(tmp_path / "tokenizer.json")
    again = Tokenizer.load(tmp_path / "tokenizer.json")
    draw = random.Random(5)
    texts = [*TEXTS, *floods(20_000).values(), *(odd_text(draw) for _ in range(1000))]
    for text in texts:
        expected = theirs.encode_ordinary(text)
        assert tok.encode(text).tolist() == expected
        assert again.encode(text).tolist() == expected
    text = "a<|endoftext|>b"
    assert tok.encode(text, special="allow").tolist() == theirs.encode(text, allowed_special="all")
    assert again.fingerprint == tok.fingerprint
    assert tok.vocab_size == RANK_FILES[pattern][1] + 1


def ranks(*lines: str) -> str:
    """A rank file with all bytes, then these lines."""
    import base64

    alphabet = [f"{base64.b64encode(bytes([byte])).decode()} {byte}" for byte in range(256)]
    return "\n".join([*alphabet, *lines]) + "\n"


def test_a_small_rank_file_merges_by_rank(tmp_path: Path) -> None:
    path = tmp_path / "small.tiktoken"
    path.write_text(ranks("YWI= 256", "YmM= 257", "YWJj 258"))  # ab, bc, abc
    tok = Tokenizer.from_tiktoken(path, "gpt2", {"<|e|>": 300})
    assert tok.encode("abc").tolist() == [258]
    assert tok.encode("abcb").tolist() == [258, 98]
    assert tok.encode("bc").tolist() == [257]
    assert tok.vocab_size == 301
    for gap in (259, 299, 301):
        with pytest.raises(IndexError, match=f"{gap} is not in this vocabulary of 301"):
            tok.token_bytes(gap)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["YWI="], "line 257: expected base64"),
        (["YWI 256"], "line 257"),
        (["YWI= x"], "line 257"),
        (["YWI= 256", "YWI= 257"], "line 258: this token is already on line 257"),
        (["YWI= 255"], "line 257: rank 255 is already on line 256"),
        (["YWI= 99999999"], "line 257"),
    ],
)
def test_a_bad_line_of_a_rank_file_is_named(lines: list[str], message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.tiktoken"
    path.write_text(ranks(*lines))
    with pytest.raises(TokenizerFormatError, match=message) as caught:
        Tokenizer.from_tiktoken(path, "gpt4")
    assert "bad.tiktoken" in str(caught.value)


def test_a_rank_file_without_all_bytes_and_a_taken_id_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ranks"
    path.write_text("YQ== 0\n")
    with pytest.raises(TokenizerFormatError, match="has no token"):
        Tokenizer.from_tiktoken(path, "gpt4")
    path.write_text(ranks())
    for special in ({"<|a|>": 7}, {"": 300}, {"<|a|>": 2**31}, {"<|a|>": 2**40}, {"<|a|>": -1}):
        with pytest.raises(InvalidArgument, match=r"<\|a\||special token"):
            Tokenizer.from_tiktoken(path, "gpt4", special)


# --- odds and ends of tokenizer.json ---


def test_merges_as_pairs_and_an_inverted_split_are_read(tmp_path: Path) -> None:
    file = json.loads(json.dumps(GOOD))
    file["model"]["merges"] = [merge.split(" ") for merge in file["model"]["merges"]]
    file["pre_tokenizer"]["pretokenizers"][0].update(behavior="Removed", invert=True)
    file["model"].pop("type")
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(file))
    assert Tokenizer.load(path).fingerprint == TOK.fingerprint


def test_a_post_processor_is_kept_and_is_not_in_the_fingerprint(tmp_path: Path) -> None:
    file = json.loads(json.dumps(GOOD))
    file["post_processor"] = {"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}}
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(file))
    tok = Tokenizer.load(path)
    assert json.loads(ours_saved(tok, tmp_path))["post_processor"] == file["post_processor"]
    assert tok.fingerprint == TOK.fingerprint


def test_vocabulary_entries_that_no_merge_reaches_stay_unreached(tmp_path: Path) -> None:
    file = json.loads(json.dumps(GOOD))
    file["model"]["vocab"]["zqzq"] = 700
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(file))
    assert 700 not in Tokenizer.load(path).encode("zqzq").tolist()
    file["model"]["ignore_merges"] = True
    path.write_text(json.dumps(file))
    assert Tokenizer.load(path).encode("zqzq").tolist() == [700]
