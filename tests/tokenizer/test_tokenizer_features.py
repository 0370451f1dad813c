"""What a tokenizer.json may ask for, feature by feature: ids equal to those of the `tokenizers` library."""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stategpt.errors import InvalidArgument, MissingExtra, PatternLimit, TokenizerFormatError, TokenizerUnsupported
from stategpt.tokenizer.hf_tokenizer import HfTokenizer
from stategpt.tokenizer.tokenizer import Tokenizer
from tokenizer.tokenizer_oracles import VOCABULARIES, floods, library_texts, odd_text

tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra: hf)")

TEXTS = library_texts(60_000)
BASE: dict[str, Any] = json.loads(Tokenizer.train(TEXTS, 600)._to_json())
NFC = {"type": "NFC"}
COMPOSING = "e\u0301 a\u0300\u0323 \u1100\u1161\u11a8 \u212b \u0958 \u09c7\u09be x\u0345\u0301 \U0002f800 ;\u037e\u0344"


def level(**changes: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True, **changes}


def split(regex: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


def sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(steps)}


def changed(**parts: Any) -> str:
    """The small tokenizer.json with other parts; `added` are entries without ids, which follow the vocabulary."""
    file = json.loads(json.dumps(BASE))
    size = len(file["model"]["vocab"])
    flags = dict.fromkeys(("special", "normalized", "lstrip", "rstrip", "single_word"), False)
    added = [{"id": size + place, **flags, **token} for place, token in enumerate(parts.pop("added", []))]
    model = parts.pop("model", {})
    file.update(parts, added_tokens=added)
    file["model"].update(model)
    return json.dumps(file)


def ours(text: str, folder: Path) -> Tokenizer:
    (folder / "tokenizer.json").write_text(text)
    made = Tokenizer.load(folder / "tokenizer.json")
    assert isinstance(made, Tokenizer)
    return made


def assert_equal(made: Tokenizer, file: str, texts: list[str], folder: Path) -> None:
    """Our ids, the library's, and both again from the file we save."""
    made.save(folder / "saved.json")
    saved = (folder / "saved.json").read_text(encoding="utf-8")
    again, theirs = Tokenizer.load(folder / "saved.json"), tokenizers.Tokenizer.from_str(file)
    theirs_again = tokenizers.Tokenizer.from_str(saved)
    assert again.fingerprint == made.fingerprint
    for text in texts:
        expected = theirs.encode(text, add_special_tokens=False).ids
        assert made.encode(text, special="allow").tolist() == expected, repr(text)
        assert again.encode(text, special="allow").tolist() == expected, repr(text)
        assert theirs_again.encode(text, add_special_tokens=False).ids == expected, repr(text)


def some_texts(seed: int, count: int = 400) -> list[str]:
    draw = random.Random(seed)
    composing = ["".join(draw.choices(COMPOSING, k=12)) for _ in range(count)]
    return ["", " ", *TEXTS[:3], *floods(600).values(), *(odd_text(draw) for _ in range(count)), *composing]


# --- real files ---


@pytest.mark.parametrize("name", ["qwen3", "llama3", "deepseek3", "o200k", "cl100k"])
def test_real_files_give_the_librarys_ids(name: str, tmp_path: Path) -> None:
    path = VOCABULARIES / f"{name}.json"
    if not path.exists():
        pytest.skip(f"no {path}: the shared vocabularies are not here")
    file = path.read_text(encoding="utf-8")
    made, draw = Tokenizer.load(path), random.Random(2)
    assert isinstance(made, Tokenizer)
    added = list(made.special_tokens) or ["<none>"]
    spelled = ["".join(draw.choice([draw.choice(added), " ", "x", "é"]) for _ in range(5)) for _ in range(200)]
    assert_equal(made, file, [*some_texts(3), *spelled], tmp_path)


# --- normalizers ---


@pytest.mark.parametrize("normalizer", [NFC, {"type": "Sequence", "normalizers": [NFC]}])
def test_nfc(normalizer: dict[str, Any], tmp_path: Path) -> None:
    added = [{"content": "caf\u00e9", "normalized": True}, {"content": "e\u0301x"}, {"content": "<s>", "special": True}]
    file = changed(normalizer=normalizer, added=added)
    texts = [*some_texts(5), "cafe\u0301 café", "<s>e\u0301<s>\u0301", "e\u0301x", "éx"]
    made = ours(file, tmp_path)
    assert_equal(made, file, texts, tmp_path)
    assert made.decode(made.encode("cafe\u0301")) == "caf\u00e9"
    assert not set(made.special_tokens.values()) & set(made.encode("cafe\u0301 <s>").tolist())


def test_an_empty_sequence_of_normalizers_is_none(tmp_path: Path) -> None:
    file = changed(normalizer={"type": "Sequence", "normalizers": []})
    assert_equal(ours(file, tmp_path), file, some_texts(7, 50), tmp_path)


def nfc_differs() -> set[int]:
    """The committed list of code points on which the two normalise by different versions of Unicode."""
    listed = json.loads((Path(__file__).parent / "nfc_differs.json").read_text())["code_points"]
    bounds = [(entry.split("-")[0], entry.split("-")[-1]) for entry in listed]
    return {code for first, last in bounds for code in range(int(first, 16), int(last, 16) + 1)}


def normalise_alike(codes: Iterable[int], folder: Path) -> dict[int, bool]:
    """Whether both give the same text for a code point alone, and between letters and marks that compose."""
    made, theirs = ours(changed(normalizer=NFC), folder), tokenizers.normalizers.NFC()
    frames = ["{0}", "a{0}\u0301", "a\u0301{0}", "a{0}\u0323", "\u0915{0}\u0301", "{0}{0}"]
    frame, held, alike = "\n".join(frames), list(codes), {}

    def same(text: str) -> bool:
        return made.decode(made.encode(text)) == theirs.normalize_str(text)

    for start in range(0, len(held), 20):  # a line break composes with nothing: together they are alike, or each alone
        texts = {code: frame.format(chr(code)) for code in held[start : start + 20]}
        together = same("\n".join(texts.values()))
        alike |= {code: together or same(text) for code, text in texts.items()}
    return alike


def scalar_values(every: int = 1) -> list[int]:
    return [code for code in range(0x80, 0x11_0000, every) if not 0xD800 <= code < 0xE000]


def test_code_points_normalise_as_in_the_library_but_for_a_committed_list(tmp_path: Path) -> None:
    held = [*range(0x80, 0x3400), *scalar_values(211)]
    differing = {code for code, alike in normalise_alike(held, tmp_path).items() if not alike}
    assert differing <= nfc_differs()


@pytest.mark.slow
def test_every_code_point_normalises_as_in_the_library_but_for_a_committed_list(tmp_path: Path) -> None:
    differing = {code for code, alike in normalise_alike(scalar_values(), tmp_path).items() if not alike}
    assert differing <= nfc_differs()
    assert len(differing) > 100


def test_offsets_are_those_of_the_text_as_it_was_given(tmp_path: Path) -> None:
    file = changed(normalizer=NFC, added=[{"content": "<s>", "lstrip": True}])
    made = ours(file, tmp_path)
    text = "ab e\u0301e\u0301 cd <s>x"
    ids, offsets = made.encode_with_offsets(text, special="allow")
    raw = text.encode()
    for token, start, end in zip(ids.tolist(), offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        assert (
            made.token_bytes(token) in (raw[start:end], raw[start:end].strip(), "é".encode())
            or start == end
            or (raw[start:end] in "e\u0301".encode())
        )
    assert offsets[0] == 0
    assert offsets[-1] == len(raw)
    assert bool(np.all(offsets[1:] >= offsets[:-1]))


# --- prefix space ---


def test_a_prefix_space_stands_before_each_segment(tmp_path: Path) -> None:
    added = [{"content": "<s>", "special": True}, {"content": "<n>", "normalized": True}]
    for normalizer in (None, NFC):
        file = changed(pre_tokenizer=level(add_prefix_space=True), normalizer=normalizer, added=added)
        made = ours(file, tmp_path)
        assert_equal(made, file, [*some_texts(9, 100), "a<s>b<s> c<n>d<s><n>", "<s>", "\ta"], tmp_path)
    ids, offsets = made.encode_with_offsets("a<s>b", special="allow")
    assert len(ids) == 3
    assert offsets.tolist() == [0, 1, 4, 5]


# --- added tokens ---

PIECES = ["<a>", "<ab>", "b>", "wo", "é", "e\u0301", " ", "  ", "<", ">", "a", "\n", "\u3000", "_", "1", "x"]
added_tokens = st.lists(
    st.fixed_dictionaries(
        {
            "content": st.lists(st.sampled_from(PIECES), min_size=1, max_size=3).map("".join),
            **{flag: st.booleans() for flag in ("special", "normalized", "lstrip", "rstrip", "single_word")},
        }
    ),
    max_size=5,
    unique_by=lambda token: token["content"],
)


@settings(max_examples=150, deadline=None)
@given(added_tokens, st.booleans(), st.booleans(), st.lists(st.lists(st.sampled_from(PIECES), max_size=12), max_size=8))
def test_added_tokens_with_any_flags(
    added: list[dict[str, Any]], nfc: bool, prefix: bool, words: list[list[str]]
) -> None:
    from stategpt import _native

    known = BASE["model"]["vocab"]
    added = [token for token in added if token["content"] not in known]
    parts = {"normalizer": NFC if nfc else None, "added": added}
    file = changed(**parts, pre_tokenizer=level(add_prefix_space=prefix))
    made, theirs = Tokenizer(_native.Tokenizer._from_json(file.encode())), tokenizers.Tokenizer.from_str(file)
    for pieces in words:
        text = "".join(pieces)
        assert made.encode(text, special="allow").tolist() == theirs.encode(text, add_special_tokens=False).ids
        assert not set(made.special_tokens.values()) & set(made.encode(text).tolist())


def test_no_added_token_comes_out_of_text(tmp_path: Path) -> None:
    added = [{"content": "<s>", "special": True}, {"content": "e\u0301", "normalized": True}, {"content": "if x"}]
    made = ours(changed(normalizer=NFC, added=added), tmp_path)
    draw = random.Random(1)
    alphabet = ["<s>", "<", "s", ">", "e", "\u0301", "é", "if", " ", "x", "\n", "ab"]
    texts = ["".join(draw.choices(alphabet, k=8)) for _ in range(100_000)]
    ids = set(np.unique(made.encode_batch(texts).ids).tolist())
    assert not ids & set(made.special_tokens.values())


# --- ids ---


def test_ids_with_gaps_bytes_anywhere_and_unreached_entries(tmp_path: Path) -> None:
    vocabulary = dict(BASE["model"]["vocab"])
    draw = random.Random(4)
    ids = draw.sample(range(2000), len(vocabulary) + 2)
    names = [*vocabulary, "zqzq", "Ġif"] if "Ġif" not in vocabulary else [*vocabulary, "zqzq"]
    moved = dict(zip(names, ids, strict=False))
    for ignore_merges in (False, True):
        model = {"vocab": moved, "ignore_merges": ignore_merges}
        file = changed(model=model)
        texts = [*some_texts(11, 100), "zqzq", " if zqzq"]
        assert_equal(ours(file, tmp_path), file, texts, tmp_path)


def test_merges_as_pairs_and_as_strings(tmp_path: Path) -> None:
    pairs = [list(merge.split(" ")) for merge in BASE["model"]["merges"]]
    first, second = ours(changed(), tmp_path), ours(changed(model={"merges": pairs}), tmp_path)
    assert first.fingerprint == second.fingerprint


# --- what is not covered ---

FALLBACK: list[tuple[str, dict[str, Any]]] = [
    ("$.normalizer", {"normalizer": {"type": "Lowercase"}}),
    ("$.normalizer.normalizers[0]", {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}]}}),
    ("$.pre_tokenizer.pretokenizers[0].pattern", {"pre_tokenizer": sequence(split(r"^a|\S+"), level(use_regex=False))}),
    ("$.pre_tokenizer.pretokenizers[0]", {"pre_tokenizer": sequence({"type": "WhitespaceSplit"}, level())}),
    ("$.model.dropout", {"model": {"dropout": 0.0001}}),
    ("$.truncation", {"truncation": {"max_length": 5, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}}),
]


@pytest.mark.parametrize(("path", "parts"), FALLBACK, ids=[path for path, _ in FALLBACK])
def test_what_is_not_covered_goes_to_the_library_on_request_only(
    path: str, parts: dict[str, Any], tmp_path: Path
) -> None:
    file = changed(**parts, added=[{"content": "<s>", "special": True}, {"content": "<n>"}])
    (tmp_path / "tokenizer.json").write_text(file)
    with pytest.raises(TokenizerUnsupported, match=f'at {re.escape(path)}: .*engine="tokenizers"'):
        Tokenizer.load(tmp_path / "tokenizer.json")
    made = Tokenizer.load(tmp_path / "tokenizer.json", engine="tokenizers")
    assert type(made) is HfTokenizer
    assert made.encode("ab", special="allow").dtype == np.uint32
    assert not set(made.encode("<s><n> A").tolist()) & set(made.special_tokens.values())
    assert made.special_id("<n>") in made.encode("<n>", special="allow").tolist()


def test_without_the_library_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tokenizer.json").write_text(changed(normalizer={"type": "Lowercase"}))
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(TokenizerUnsupported, match=r"\$\.normalizer: normalizer Lowercase"):
        Tokenizer.load(tmp_path / "tokenizer.json")
    with pytest.raises(MissingExtra, match="tokenizers"):
        Tokenizer.load(tmp_path / "tokenizer.json", engine="tokenizers")


def test_the_library_streams_as_it_decodes(tmp_path: Path) -> None:
    made = HfTokenizer(changed())
    text = "naïve 中文 🙂 and so on\n"
    decoder = made.decoder()
    assert "".join([*(decoder.push(token) for token in made.encode(text)), decoder.finish()]) == text
    assert made.decode(made.encode(text)) == text
    with pytest.raises(InvalidArgument, match="not UTF-8"):
        made.encode_bytes(b"\xff")
    with pytest.raises(TokenizerFormatError):
        HfTokenizer("{}")


def test_a_pattern_with_look_around_has_a_limit() -> None:
    tok = Tokenizer.train(["ab"], 256, pattern=r"x|(?:a|a)*(?=b)")
    with pytest.raises(PatternLimit, match=r"more than 10015616 steps, the last at byte 1 of a text"):
        tok.encode("x" + "a" * 60)
    assert tok.encode("xaab").tolist() == tok.encode_bytes(b"xaab").tolist()


def test_a_repr_shows_few_control_tokens_whole_and_many_by_their_number() -> None:
    few = Tokenizer.train(["to be"], vocab_size=260, special_tokens=["<|a|>", "<|b|>"])
    assert "special_tokens={'<|a|>': 0, '<|b|>': 1})" in repr(few)
    many = Tokenizer.train(["to be"], vocab_size=300, special_tokens=[f"<|{number}|>" for number in range(20)])
    assert "'<|7|>': 7, and 12 more})" in repr(many)
