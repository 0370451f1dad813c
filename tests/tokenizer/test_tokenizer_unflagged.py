"""`special="unflagged"`: added tokens that are not flagged special come out of text, those flagged never do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import stategpt as sg
from stategpt import _native
from stategpt.errors import InvalidArgument
from stategpt.tokenizer import Control, HfTokenizer
from tokenizer.tokenizer_oracles import library_texts

tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra: hf)")

TEXTS = library_texts(60_000)
BASE: dict[str, Any] = json.loads(
    sg.Tokenizer.train(TEXTS, 500, special_tokens=["<|endoftext|>", "<|user|>"])._to_json()
)
FLAGGED = {"<|endoftext|>", "<|user|>", "<qzb>", "\u212b!"}
PLAIN = {
    "  ": {},
    "    ": {},
    "\t\t": {},
    "qzb": {"lstrip": True},
    ">x": {},
    "<|user": {"rstrip": True},
    "zq": {"single_word": True},
    "e\u0301!": {"normalized": True},
}
SPELLED = [
    *FLAGGED,
    *PLAIN,
    " ",
    "\n",
    "<",
    "|",
    ">",
    "q",
    "zb",
    "x",
    "\u00e9!",
    "\u00c5!",
    "zqzq",
    "the",
    "\U0001f680",
]
TEXT = st.lists(st.sampled_from(SPELLED), max_size=12).map("".join)


def with_added(file: dict[str, Any]) -> dict[str, Any]:
    """Runs of spaces and the like as added tokens that are not flagged, behind ones that are."""
    made = json.loads(json.dumps(file))
    names = [*sorted(FLAGGED - {token["content"] for token in made["added_tokens"]}), *PLAIN]
    for number, name in enumerate(names, start=len(made["model"]["vocab"])):
        flags = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False, **PLAIN.get(name, {})}
        made["added_tokens"].append({"id": number, "content": name, "special": name in FLAGGED, **flags})
    return made


LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
FILES = {
    "plain": with_added(BASE),
    "nfc": with_added({**BASE, "normalizer": {"type": "NFC"}}),
    "prefix space": with_added({**BASE, "pre_tokenizer": LEVEL}),
    "no unflagged": BASE,
}
OURS = {name: sg.Tokenizer(_native.Tokenizer._from_json(json.dumps(file).encode())) for name, file in FILES.items()}
every_file = pytest.mark.parametrize("name", FILES)


def library(name: str) -> Any:
    made = tokenizers.Tokenizer.from_str(json.dumps(FILES[name]))
    made.encode_special_tokens = True
    return made


THEIRS = {name: library(name) for name in FILES}
FALLBACK = {name: HfTokenizer(json.dumps(file)) for name, file in FILES.items()}


@every_file
@given(text=TEXT)
def test_the_ids_are_the_librarys_with_encode_special_tokens(name: str, text: str) -> None:
    expected = THEIRS[name].encode(text, add_special_tokens=False).ids
    assert OURS[name].encode(text, special="unflagged").tolist() == expected
    assert FALLBACK[name].encode(text, special="unflagged").tolist() == expected
    assert not {OURS[name].special_tokens[each] for each in FLAGGED & {*OURS[name].special_tokens}} & {*expected}


@every_file
@given(text=TEXT, most=st.integers(0, 12))
def test_all_entry_points_agree(name: str, text: str, most: int) -> None:
    for tok in (OURS[name], FALLBACK[name]):
        ids = tok.encode(text, special="unflagged").tolist()
        assert tok.encode(text, special="unflagged", max_tokens=most).tolist() == ids[:most]
        assert tok.encode_bytes(text.encode(), special="unflagged").tolist() == ids
        assert tok.count(text, special="unflagged") == len(ids)
        assert tok.encode_with_offsets(text, special="unflagged")[0].tolist() == ids
        assert tok.encode_with_spans(text, special="unflagged")[0].tolist() == ids
        assert tok.encode_batch([text, "", text], special="unflagged").ids.tolist() == ids * 2
        assert tok.count_batch([text, "", text], special="unflagged").tolist() == [len(ids), 0, len(ids)]
        # Segments are text, whatever they spell.
        plain = tok.encode(text).tolist()
        assert tok.encode_segments([text, Control("<|user|>")]).tolist() == [*plain, tok.special_id("<|user|>")]


def test_texts_large_enough_for_several_threads_and_files(tmp_path: Path) -> None:
    text = "".join(TEXTS)[:50_000] * 30 + " <|user|>  qzb"
    (tmp_path / "file").write_text(text, encoding="utf-8", newline="")
    for name in FILES:
        tok = OURS[name]
        one = tok.encode(text, special="unflagged")
        assert tok.special_tokens["<|user|>"] not in one
        assert (tok.special_tokens.get("  ", -1) in one) == (name != "no unflagged")
        assert tok.encode_batch([text], threads=2, special="unflagged").ids.tolist() == one.tolist()
        assert tok.encode_files([tmp_path / "file"], threads=2, special="unflagged").ids.tolist() == one.tolist()


def test_where_no_token_is_unflagged_text_is_encoded_as_text() -> None:
    text = "".join(TEXTS) + "<|user|>"
    assert OURS["no unflagged"].encode(text, special="unflagged").tolist() == OURS["no unflagged"].encode(text).tolist()


def test_shards_hold_unflagged_tokens_and_never_a_flagged_one(tmp_path: Path) -> None:
    tok = OURS["plain"]
    text = "if x:\n        return <|user|><|endoftext|>"
    shards = sg.write_shards([text], tok, tmp_path / "data", special="unflagged")
    assert shards.document(0).tolist() == tok.encode(text, special="unflagged").tolist() != tok.encode(text).tolist()
    assert sg.write_shards([text], tok, tmp_path / "text").document(0).tolist() == tok.encode(text).tolist()
    with pytest.raises(InvalidArgument, match="special is 'allow'; choose one of text, unflagged"):
        sg.write_shards([text], tok, tmp_path / "none", special="allow")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match=r'"qzb" is not flagged special, .* ends documents'):
        sg.write_shards([text], tok, tmp_path / "none", special="unflagged", end_of_text="qzb")
    assert not (tmp_path / "none").exists()


def test_an_added_token_comes_from_a_match_and_never_from_a_merge() -> None:
    file = json.loads(json.dumps(BASE))
    number = file["model"]["vocab"]["self"]
    flags = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False}
    file["added_tokens"].append({"id": number, "content": "self", "special": False, **flags})
    name = {"id": len(file["model"]["vocab"]), "content": "(self)", "special": True, **flags}
    file["added_tokens"].append(name)
    tok = sg.Tokenizer(_native.Tokenizer._from_json(json.dumps(file).encode()))
    assert tok.encode("self", special="unflagged").tolist() == [number]
    # What spells a flagged token is text as a whole, so nothing is matched in it; the library's merges
    # give "self" there.
    assert number not in tok.encode("(self)", special="unflagged")
    assert tok.decode(tok.encode("(self)", special="unflagged")) == "(self)"
