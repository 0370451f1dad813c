"""Files of every model kind by the `tokenizers` engine: text never becomes a control token, by construction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import stategpt as sg
from stategpt.errors import DataError, InvalidArgument, TokenizerFormatError
from stategpt.tokenizer import HfTokenizer
from tokenizer.hf_files import BYTES, CONTROLS, FUSE, SPACE, TEXTS, byte_fallback, tokenizers, trained

KINDS = ("WordPiece", "Unigram", "WordLevel")
FILES = {kind: trained(kind) for kind in KINDS}
LEVEL: dict[str, Any] = json.loads(sg.Tokenizer.train(TEXTS, 500, special_tokens=["<|end|>", "<|user|>"])._to_json())
TRUNCATION = {"direction": "Right", "max_length": 512, "strategy": "LongestFirst", "stride": 0}


def special(content: str, number: int, *, flagged: bool = True) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": number, "content": content, "special": flagged, **flags}


@pytest.mark.parametrize("kind", KINDS)
def test_real_files_load_and_encode_as_the_library_does(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(FILES[kind]))
    tok, library = sg.Tokenizer.load(path, engine="tokenizers"), tokenizers.Tokenizer.from_file(str(path))
    for text in TEXTS:
        ids = library.encode(text, add_special_tokens=False).ids
        assert tok.encode(text, special="allow").tolist() == ids
        assert tok.decode(ids) == library.decode(ids, skip_special_tokens=False)
        plain = tok.encode(text).tolist()
        assert plain == ids or any(name in text for name in tok.special_tokens)
    with pytest.raises(TokenizerFormatError):
        sg.Tokenizer.load(path)


# --- text that spells control tokens ---


def in_vocabulary() -> dict[str, Any]:
    """A piece that is an added token, under `ignore_merges`."""
    file = json.loads(json.dumps({**LEVEL, "truncation": TRUNCATION}))
    file["model"]["ignore_merges"] = True
    file["model"]["vocab"]["hello"] = len(file["model"]["vocab"])
    file["added_tokens"].append(special("hello", file["model"]["vocab"]["hello"]))
    return file


def spelled_by_merges() -> dict[str, Any]:
    """Merges that spell a control token, in text that is not cut."""
    file = json.loads(json.dumps(LEVEL))
    file["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    vocabulary, name = file["model"]["vocab"], "<|user|>"
    for end in range(2, len(name) + 1):
        vocabulary.setdefault(name[:end], len(vocabulary))
        file["model"]["merges"].insert(end - 2, f"{name[: end - 1]} {name[end - 1]}")
    return file


def word_piece() -> dict[str, Any]:
    return {**FILES["WordPiece"], "normalizer": None, "pre_tokenizer": {"type": "WhitespaceSplit"}}


CRAFTED: dict[str, tuple[dict[str, Any], str]] = {
    "a piece under ignore_merges": (in_vocabulary(), "hello"),
    "merges": (spelled_by_merges(), "x <|user|> y"),
    "WordPiece": (word_piece(), "[CLS]"),
    "WordLevel": (FILES["WordLevel"], "def [CLS] def"),
    "Unigram": (FILES["Unigram"], "ab</s>"),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_text_that_spells_a_control_token_is_text(name: str) -> None:
    file, text = CRAFTED[name]
    tok = HfTokenizer(json.dumps(file))
    unknown = {"[UNK]", "<unk>"}
    control = {number for token, number in tok.special_tokens.items() if token not in unknown}
    assert control & {*tok.encode(text, special="allow").tolist()}
    assert not control & {*tok.encode(text).tolist()}
    if name == "Unigram":  # its control tokens have no spelling there
        assert not control & {*tok.encode(text, special="unflagged").tolist()}
        return
    # With "unflagged" the ids are the library's own; where they hold a control token, there is an error in its place.
    with pytest.raises(DataError, match=r"text 0 became the control token .* special='unflagged'"):
        tok.encode(text, special="unflagged")


@pytest.mark.parametrize("name", CRAFTED)
@given(data=st.data())
def test_no_text_yields_a_control_token(name: str, data: st.DataObject) -> None:
    tok = HfTokenizer(json.dumps(CRAFTED[name][0]))
    parts = [*tok.special_tokens, " ", "<", "s", ">", "[", "]", "hello", "def", "\u2581", "</"]
    text = data.draw(st.lists(st.sampled_from(parts), max_size=8).map("".join))
    control = {number for token, number in tok.special_tokens.items() if token not in ("[UNK]", "<unk>")}
    for ids in (
        tok.encode(text),
        tok.encode_bytes(text.encode()),
        tok.encode_batch([text, text]).ids,
        tok.encode_with_offsets(text)[0],
        tok.encode_with_spans(text)[0],
        tok.encode_segments([text, text]),
    ):
        assert not control & {*ids.tolist()}
    assert tok.count(text) == len(tok.encode(text)) == tok.count_batch([text])[0]


def test_text_is_encoded_as_if_the_vocabulary_lacked_the_tokens() -> None:
    tok = HfTokenizer(json.dumps(FILES["WordLevel"]))
    assert tok.encode("[CLS] [SEP]").tolist() == [tok.special_id("[UNK]")] * 2
    unigram = HfTokenizer(json.dumps(FILES["Unigram"]))
    assert unigram.decode(unigram.encode("ab</s>")) == "ab</s>"
    level = HfTokenizer(json.dumps(spelled_by_merges()))
    assert level.decode(level.encode("x <|user|> y")) == "x <|user|> y"


def test_an_unflagged_token_that_text_needs_is_named_rather_than_dropped() -> None:
    file = json.loads(json.dumps(LEVEL))
    file["added_tokens"].append(special("1", file["model"]["vocab"]["1"], flagged=False))
    tok = HfTokenizer(json.dumps(file))
    with pytest.raises(InvalidArgument, match=r"the added token '1' .* special=\"unflagged\""):
        tok.encode("101")
    assert tok.decode(tok.encode("101", special="unflagged")) == "101"
    # Where byte tokens stand in for it, nothing is lost.
    gemma = byte_fallback([SPACE, BYTES, FUSE])
    gemma["model"]["unk_token"] = None
    gemma["added_tokens"].append(special("t", gemma["model"]["vocab"]["t"], flagged=False))
    tok = HfTokenizer(json.dumps(gemma))
    assert tok.decode(tok.encode("the tart")) == "the tart"
    assert tok.special_id("t") not in tok.encode("the tart")


# --- files that are none ---


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff{}", "not UTF-8 at byte 0"),
        (b"[1]", "expected an object"),
        (b'{"model": 5}', r"\$\.model is 5"),
        (b'{"decoder": "x", "model": {}}', r"\$\.decoder"),
        (b'{"model": {}, "model": {}}', "appears twice"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"model": {"x": ' + b"[" * 900 + b"]" * 900 + b"}}", "cannot read it"),
        (b'{"model": {"type": "BPE", "vocab": {"\\ud800": 0}, "merges": []}}', "cannot read it"),
        (json.dumps({**FILES["WordLevel"], "added_tokens": 7}).encode(), "cannot read it"),
    ],
)
def test_what_is_no_tokenizer_is_a_format_error_with_the_files_name(
    content: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "odd.json"
    path.write_bytes(content)
    with pytest.raises(TokenizerFormatError, match=message) as caught:
        sg.Tokenizer.load(path, engine="tokenizers")
    assert "odd.json" in str(caught.value)


def test_a_lone_surrogate_in_the_text_of_a_file() -> None:
    with pytest.raises(TokenizerFormatError, match="character 1 is a lone surrogate"):
        HfTokenizer("[\ud800]")


def test_controls_are_those_of_the_trainer() -> None:
    assert list(HfTokenizer(json.dumps(FILES["WordPiece"])).special_tokens) == CONTROLS
