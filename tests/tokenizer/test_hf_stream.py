"""What a stream gives out, joined, is the text of all its ids, for every decoder: of texts and of random ids."""

from __future__ import annotations

import copy
import json
import pickle
from itertools import chain, product
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from stategpt.errors import UnknownToken
from stategpt.tokenizer import HfTokenizer, Tokenizer
from stategpt.tokenizer.hf_decoders import Shape, shape_of
from tokenizer.hf_files import BYTES, FIRST_SPACE, FUSE, SPACE, TEXTS, byte_fallback, trained

LEVEL: dict[str, Any] = json.loads(Tokenizer.train(TEXTS, 500, special_tokens=["<|user|>"])._to_json())
TWO_SPACES = {**FIRST_SPACE, "start": 2}
BPE = {
    "version": "1.0",
    "added_tokens": [],
    "model": {
        "type": "BPE",
        "vocab": {"a": 0, "b</w>": 1, "ab</w>": 2, "</w></w>": 3, "c</w>d</w>": 4, "</w>": 5, "<0xC3>": 6},
        "merges": [],
    },
}
METASPACE = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
FILES: dict[str, dict[str, Any]] = {
    "WordPiece": trained("WordPiece"),
    "WordPiece as it is": {
        **trained("WordPiece"),
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": False},
    },
    "Unigram, Metaspace": trained("Unigram"),
    "WordLevel, no decoder": trained("WordLevel"),
    "Gemma": byte_fallback([SPACE, BYTES, FUSE]),
    "Llama 2": byte_fallback([SPACE, BYTES, FUSE, FIRST_SPACE]),
    "two spaces stripped": byte_fallback([SPACE, BYTES, FUSE, TWO_SPACES]),
    "bytes first": byte_fallback([BYTES, FUSE, SPACE, FIRST_SPACE]),
    "bytes, then Metaspace": byte_fallback([BYTES, METASPACE]),
    "each token stripped": byte_fallback([SPACE, FIRST_SPACE]),
    "replaced across tokens": byte_fallback([FUSE, {**SPACE, "pattern": {"String": "\u2581t"}}]),
    "end stripped": byte_fallback([SPACE, BYTES, FUSE, {**FIRST_SPACE, "start": 0, "stop": 1}]),
    "bytes made by replacing": byte_fallback([{**SPACE, "content": "<0xC3>"}, BYTES, FUSE]),
    "GPT-2": LEVEL,
    "GPT-2 in a sequence": {**LEVEL, "decoder": {"type": "Sequence", "decoders": [LEVEL["decoder"]]}},
    "word ends": {**BPE, "decoder": {"type": "BPEDecoder", "suffix": "</w>"}},
    "odd word ends": {**BPE, "decoder": {"type": "BPEDecoder", "suffix": "w"}},
    "CTC": {**BPE, "decoder": {"type": "CTC", "pad_token": "a", "word_delimiter_token": "b</w>", "cleanup": True}},
}
TOKENIZERS = {name: HfTokenizer(json.dumps(file)) for name, file in FILES.items()}
AT_THE_END = {"replaced across tokens", "end stripped", "bytes made by replacing"}
every_file = pytest.mark.parametrize("name", FILES)


def streamed(tok: HfTokenizer, ids: list[int]) -> list[str]:
    decoder = tok.decoder()
    return [*(decoder.push(token) for token in ids), decoder.finish()]


@every_file
@given(st.data())
def test_of_random_ids(name: str, data: st.DataObject) -> None:
    tok = TOKENIZERS[name]
    known = list(range(tok.vocab_size))
    some = st.lists(st.sampled_from(known), max_size=6)  # few, so that they repeat
    ids = data.draw(some.flatmap(lambda few: st.lists(st.sampled_from(few or known[:3]), max_size=14)))
    assume(ids or name != "end stripped")  # of no text, the library panics
    assert "".join(streamed(tok, ids)) == tok.decode(ids)


@pytest.mark.parametrize("name", ["Llama 2", "two spaces stripped", "bytes first", "each token stripped"])
def test_of_all_short_runs_of_spaces_letters_and_bytes(name: str) -> None:
    tok = TOKENIZERS[name]
    vocabulary = FILES[name]["model"]["vocab"]
    few = [vocabulary["\u2581"], vocabulary["a"], vocabulary["<0x20>"]]
    for ids in chain.from_iterable(product(few, repeat=length) for length in range(7)):
        assert "".join(streamed(tok, list(ids))) == tok.decode(list(ids)), ids


@every_file
@given(
    text=st.text(max_size=30)
    | st.lists(st.sampled_from(["I love it ", "\U0001f44d\U0001f3fd", " so", "much", "  "])).map("".join)
)
def test_of_texts(name: str, text: str) -> None:
    tok = TOKENIZERS[name]
    ids = tok.encode(text, special="allow").tolist()
    assume(ids or name != "end stripped")
    assert "".join(streamed(tok, ids)) == tok.decode(ids)


@every_file
def test_of_a_long_text_comes_piece_by_piece_in_little_memory(name: str) -> None:
    tok = TOKENIZERS[name]
    ids = tok.encode(TEXTS[0][:4000]).tolist()
    decoder, parts, most_held = tok.decoder(), [], 0
    for token in ids:
        parts.append(decoder.push(token))
        most_held = max(most_held, len(decoder._context) + len(decoder._waiting))
    assert "".join([*parts, decoder.finish()]) == tok.decode(ids)
    if name in AT_THE_END:
        assert not any(parts)
    elif name not in ("word ends", "odd word ends", "CTC"):  # their vocabularies have none of this text
        assert sum(map(bool, parts)) > len(ids) / 3
        assert most_held < 40  # a run of byte tokens, at most


def test_spaces_and_word_pieces_behind_an_emoji() -> None:
    vocabulary = {"[UNK]": 0, "em": 1, "##bed": 2, "a": 3}
    model = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "vocab": vocabulary}
    decoder = {"type": "WordPiece", "prefix": "##", "cleanup": False}
    tok = HfTokenizer(
        json.dumps(
            {
                "version": "1.0",
                "added_tokens": [],
                "decoder": decoder,
                "model": {**model, "max_input_chars_per_word": 100},
            }
        )
    )
    assert streamed(tok, [1, 2, 3]) == ["em", "bed", " a", ""]
    llama = TOKENIZERS["Llama 2"]
    text = "I love it \U0001f44d\U0001f3fd so much"
    assert "".join(streamed(llama, llama.encode(text).tolist())) == llama.decode(llama.encode(text)) == text


def test_an_id_outside_the_vocabulary_changes_nothing_and_a_finished_decoder_starts_anew() -> None:
    for name in ("WordPiece", "GPT-2", "Llama 2"):
        tok = TOKENIZERS[name]
        ids = tok.encode("the print").tolist()
        decoder = tok.decoder()
        for _ in range(2):
            parts = []
            for token in ids:
                parts.append(decoder.push(token))
                with pytest.raises(UnknownToken):
                    decoder.push(tok.vocab_size)
            assert "".join([*parts, decoder.finish()]) == tok.decode(ids)


def test_shapes_of_published_decoders() -> None:
    def sequence(*steps: dict[str, Any]) -> dict[str, Any]:
        return {"type": "Sequence", "decoders": list(steps)}

    assert shape_of(None) == shape_of(METASPACE) == Shape()
    assert shape_of(sequence(SPACE, BYTES, FUSE)) == Shape(has_byte_tokens=True)
    assert shape_of(sequence(sequence(SPACE), BYTES, FUSE, FIRST_SPACE)) == Shape(has_byte_tokens=True, strips=True)
    assert shape_of({"type": "ByteLevel"}) == Shape(is_bytes=True)
    assert {name for name, file in FILES.items() if shape_of(file["decoder"]) is None} == AT_THE_END


def test_a_decoder_is_neither_copied_nor_pickled_and_says_why() -> None:
    for decoder in (TOKENIZERS["GPT-2"].decoder(), Tokenizer.train(["a"], 256).decoder()):
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match=r"in the middle of a stream; .*decoder\(\)"):
                attempt(decoder)
