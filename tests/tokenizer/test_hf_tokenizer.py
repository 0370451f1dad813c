"""The fallback to the `tokenizers` library does what our engine does, on files that both can load."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import stategpt as sg
from stategpt import _native
from stategpt.errors import CorpusError, InvalidArgument, StorageError, TokenizerUnsupported, UnknownToken
from stategpt.tokenizer import Control, HfTokenizer, Ragged
from stategpt.tokenizer.byte_level import byte_offsets
from stategpt.tokenizer.hf_stream import HfStreamDecoder
from tokenizer.tokenizer_oracles import library_texts

pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra: hf)")

SPECIALS = ["<|endoftext|>", "<|user|>"]
TEXTS = library_texts(60_000)
BASE: dict[str, Any] = json.loads(sg.Tokenizer.train(TEXTS, 600, special_tokens=SPECIALS)._to_json())
LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
FILES = {
    "plain": BASE,
    "trims offsets": {**BASE, "post_processor": {**LEVEL, "add_prefix_space": False}},
    "nfc": {**BASE, "normalizer": {"type": "NFC"}},
    "prefix space": {**BASE, "pre_tokenizer": LEVEL},
}


def both(name: str) -> tuple[sg.Tokenizer, HfTokenizer]:
    file = json.dumps(FILES[name])
    return sg.Tokenizer(_native.Tokenizer._from_json(file.encode())), HfTokenizer(file)


PAIRS = {name: both(name) for name in FILES}
pairs = pytest.mark.parametrize("name", FILES)
texts = st.lists(
    st.sampled_from([*SPECIALS, " ", "\n", "é", "e\u0301", "中", "🚀", "the", "naïve", "\u3000", "x", "'s"]),
    max_size=12,
).map("".join)


# --- the surface ---


def surface(tokenizer: type) -> dict[str, list[tuple[str, object, object]] | None]:
    """Public methods with their arguments, and properties."""
    makers = {"train", "from_tiktoken", "load"}
    named = {name: getattr(tokenizer, name) for name in dir(tokenizer) if not name.startswith("_")}
    return {name: arguments(member) for name, member in named.items() if name not in makers}


def arguments(member: object) -> list[tuple[str, object, object]] | None:
    if not callable(member):
        return None
    held = inspect.signature(member).parameters.values()
    return [(each.name, each.kind, each.default) for each in held if each.name != "self"]


def test_the_two_have_the_same_methods_with_the_same_arguments() -> None:
    for ours, theirs in ((sg.Tokenizer, HfTokenizer), (sg.StreamDecoder, HfStreamDecoder)):
        assert surface(theirs) == surface(ours)


def test_the_caller_chooses_the_engine_and_the_file_never_does(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(BASE))
    for engine, made in (("native", sg.Tokenizer), ("tokenizers", HfTokenizer)):
        tok = sg.Tokenizer.load(path, engine=engine)  # type: ignore[call-overload]
        assert type(tok) is made
        assert isinstance(tok, sg.AnyTokenizer)
    path.write_text(json.dumps({**BASE, "normalizer": {"type": "Lowercase"}}))
    with pytest.raises(TokenizerUnsupported, match=r"\$\.normalizer: .*Lowercase.*engine=\"tokenizers\""):
        sg.Tokenizer.load(path)
    assert (
        sg.Tokenizer.load(path, engine="tokenizers").encode("THE").tolist()
        == sg.Tokenizer.train(TEXTS, 600, special_tokens=SPECIALS).encode("the").tolist()
    )
    with pytest.raises(InvalidArgument, match="engine is 'fast'; choose one of native, tokenizers"):
        sg.Tokenizer.load(path, engine="fast")  # type: ignore[call-overload]


def test_the_tokenizers_engine_does_not_touch_the_native_reader(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(BASE))
    with mock.patch.object(_native.Tokenizer, "_load", side_effect=AssertionError):
        assert type(sg.Tokenizer.load(path, engine="tokenizers")) is HfTokenizer


# --- the same answers ---


@pairs
@given(texts, st.sampled_from(["text", "unflagged", "allow"]), st.integers(0, 12))
def test_ids_spans_and_offsets(name: str, text: str, special: Any, most: int) -> None:
    ours, theirs = PAIRS[name]
    assert theirs.encode(text, special=special).tolist() == ours.encode(text, special=special).tolist()
    assert theirs.count(text, special=special) == ours.count(text, special=special)
    for tok in (ours, theirs):
        assert (
            tok.encode(text, special=special, max_tokens=most).tolist()
            == tok.encode(text, special=special)[:most].tolist()
        )
    unchanged = name in ("plain", "trims offsets")  # else the library has its own view of what a token covers
    for method in ("encode_with_offsets", "encode_with_spans")[: 1 + unchanged]:
        (ids, places), (same_ids, same_places) = (getattr(tok, method)(text, special=special) for tok in PAIRS[name])
        assert ids.tolist() == same_ids.tolist()
        assert places.tolist() == same_places.tolist(), method
        assert (ids.dtype, places.dtype, places.shape) == (same_ids.dtype, same_places.dtype, same_places.shape)


@pairs
@given(texts)
def test_bytes_and_pieces(name: str, text: str) -> None:
    ours, theirs = PAIRS[name]
    if name == "plain":
        assert theirs.pieces(text) == ours.pieces(text)
    ids = ours.encode_bytes(text.encode(), special="allow")
    assert theirs.encode_bytes(text.encode(), special="allow").tolist() == ids.tolist()
    for some in (ids, ids[1:], ids[::-1]):  # from within a character, too
        for skip_special in (False, True):
            assert theirs.decode_bytes(some, skip_special=skip_special) == ours.decode_bytes(
                some, skip_special=skip_special
            )
            assert theirs.decode(some, skip_special=skip_special) == ours.decode(some, skip_special=skip_special)


@pairs
@given(st.lists(texts | st.sampled_from(SPECIALS).map(Control), max_size=6))
def test_segments_and_batches(name: str, segments: list[str | Control]) -> None:
    ours, theirs = PAIRS[name]
    assert theirs.encode_segments(segments).tolist() == ours.encode_segments(segments).tolist()
    batch = [segment for segment in segments if isinstance(segment, str)]
    assert_equal(theirs.encode_batch(batch, threads=2), ours.encode_batch(batch, threads=2))
    counts, same = theirs.count_batch(batch, special="allow"), ours.count_batch(batch, special="allow")
    assert (counts.tolist(), counts.dtype) == (same.tolist(), same.dtype)
    ragged = ours.encode_batch(batch)
    assert theirs.decode_batch(ragged) == ours.decode_batch(ragged)


def assert_equal(first: Ragged, second: Ragged) -> None:
    assert first.offsets.tolist() == second.offsets.tolist()
    assert first.ids.tolist() == second.ids.tolist()


def test_every_token_has_the_same_bytes() -> None:
    ours, theirs = PAIRS["plain"]
    assert theirs.vocab_size == ours.vocab_size
    assert [theirs.token_bytes(token) for token in range(600)] == [ours.token_bytes(token) for token in range(600)]


@pytest.mark.parametrize("documents", ["whole", "lines"])
def test_files(documents: Any, tmp_path: Path) -> None:
    contents = {"code": "".join(TEXTS[:3]).encode(), "odd": b"a\r\nb\x0c\x85\xe2\x80\xa8c\n\xff\xe4\xb8 d", "none": b""}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    paths = [tmp_path / name for name in contents]
    ours, theirs = PAIRS["plain"]
    settings: dict[str, Any] = {"documents": documents, "errors": "replace", "threads": 1}
    assert_equal(theirs.encode_files(paths, **settings), ours.encode_files(paths, **settings))
    for tok in (ours, theirs):
        with pytest.raises(CorpusError, match=r"odd is not UTF-8 at byte 5; convert .* errors=\"replace\""):
            tok.encode_files(paths, documents=documents)
        with pytest.raises(StorageError, match="missing"):
            tok.encode_files([tmp_path / "missing"])


# --- the same refusals ---


def test_what_one_refuses_the_other_refuses() -> None:
    for tok in PAIRS["plain"]:
        with pytest.raises(InvalidArgument, match="max_tokens"):
            tok.encode("a", max_tokens=-1)
        with pytest.raises(InvalidArgument, match="special is"):
            tok.encode("a", special="all")  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument, match="threads is 0"):
            tok.encode_batch(["a"], threads=0)
        with pytest.raises(InvalidArgument, match="a segment is int"):
            tok.encode_segments([1])  # type: ignore[list-item]
        with pytest.raises(InvalidArgument, match="documents is 'line'"):
            tok.encode_files([], documents="line")  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument, match="ids are float64"):
            tok.decode(np.asarray([1.5]))  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument, match="surrogate"):
            tok.count_batch(["\ud800"])
        with pytest.raises(UnknownToken, match="token id 600"):
            tok.token_bytes(600)
        assert tok.decode([]) == ""


def test_what_the_library_cannot_do_exactly_is_refused_by_name() -> None:
    vocabulary = {"<0xC3>": 0, "<0xA9>": 1, "a": 2}
    model = {"type": "BPE", "vocab": vocabulary, "merges": [], "byte_fallback": True, "unk_token": None}
    decoder = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]}
    tok = HfTokenizer(json.dumps({"version": "1.0", "added_tokens": [], "model": model, "decoder": decoder}))
    ids = tok.encode("aé")
    assert ids.tolist() == [2, 0, 1]
    assert tok.decode_bytes(ids) == "aé".encode()
    assert tok.encode_with_spans("aé")[1].tolist() == [[0, 1], [1, 2], [1, 2]]
    assert tok.encode_with_offsets("aé")[1].tolist() == [0, 1, 1, 3]
    with pytest.raises(InvalidArgument, match="decode_bytes: "):
        tok.decode_bytes(ids[:2])
    with pytest.raises(InvalidArgument, match="token_bytes: "):
        tok.token_bytes(0)
    with pytest.raises(InvalidArgument, match="encode_bytes: not UTF-8 at byte 1"):
        tok.encode_bytes(b"a\xff")


def test_tokens_that_share_a_character_lie_in_it_end_to_end_unless_it_was_changed() -> None:
    assert byte_offsets("a€", [(0, 1), (1, 2), (1, 2)], [b"a", b"\xe2\x82", b"\xac"]) == [0, 1, 3, 4]
    assert byte_offsets("e\u0301", [(0, 2), (0, 2)], [b"\xc3", b"\xa9"]) == [0, 0, 3]
    assert byte_offsets("é", [(0, 1), (0, 1), (0, 1)], [b" ", b"\xc3", b"\xa9"]) == [0, 0, 1, 2]
    assert byte_offsets("", [], []) == [0]
