"""Files that are unlike most: other kinds of models, vocabularies with holes, added tokens that are ordinary ones.

What is loaded gives the ids of the `tokenizers` library; what is not is called unsupported, with its place."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stategpt import _native
from stategpt.errors import TokenizerFormatError, TokenizerUnsupported
from stategpt.tokenizer.tokenizer import Tokenizer
from tokenizer.tokenizer_oracles import library_texts, odd_text

tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra: hf)")

TEXTS = library_texts(60_000)
WORD_LINES = "the\nother\ntether\nin\nself\nher\n12 123 1234\n" * 2000
BASE: dict[str, Any] = json.loads(Tokenizer.train([*TEXTS[:4], WORD_LINES], 420, pattern="gpt2")._to_json())
SIZE = len(BASE["model"]["vocab"])
FLAGS = ("special", "normalized", "lstrip", "rstrip", "single_word")

Change = Callable[[dict[str, Any]], object]


def added(token: int, content: str, **flags: bool) -> dict[str, Any]:
    return {"id": token, "content": content, **dict.fromkeys(FLAGS, False), **flags}


def changed(*changes: Change) -> str:
    file = json.loads(json.dumps(BASE))
    for change in changes:
        change(file)
    return json.dumps(file)


def loaded(file: str) -> Tokenizer:
    return Tokenizer(_native.Tokenizer._from_json(file.encode()))


def assert_equal(file: str, texts: list[str]) -> Tokenizer:
    """Our ids with special="allow" are the library's, and so are both again from what we save."""
    made, theirs = loaded(file), tokenizers.Tokenizer.from_str(file)
    saved = made._to_json()
    again, theirs_again = loaded(saved), tokenizers.Tokenizer.from_str(saved)
    assert again.fingerprint == made.fingerprint
    for text in texts:
        expected = theirs.encode(text, add_special_tokens=False).ids
        assert made.encode(text, special="allow").tolist() == expected, repr(text)
        assert again.encode(text, special="allow").tolist() == expected, repr(text)
        assert theirs_again.encode(text, add_special_tokens=False).ids == expected, repr(text)
        assert made.count(text, special="allow") == len(expected)
    return made


def some_texts(seed: int, count: int = 150) -> list[str]:
    draw = random.Random(seed)
    return ["", " ", "the other 12 1234 tether", *TEXTS[:2], *(odd_text(draw) for _ in range(count))]


# --- kinds of models ---

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("WordPiece", {"type": "WordPiece", "unk_token": "[UNK]", "vocab": {"[UNK]": 0, "##a": 1}}),
    ("WordPiece", {"type": "WordPiece", "vocab": {"a": 0, "ab": 1}, "merges": ["a b"]}),
    ("WordPiece", {"max_input_chars_per_word": 100, "unk_token": "[UNK]", "vocab": {"[UNK]": 0}}),
    ("Unigram", {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.5]]}),
    ("Unigram", {"unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.5]]}),
    ("WordLevel", {"type": "WordLevel", "unk_token": "[UNK]", "vocab": {"[UNK]": 0}}),
    ("WordLevel", {"unk_token": "[UNK]", "vocab": {"[UNK]": 0}}),
    ('"Other"', {"type": "Other", "vocab": 7}),
]


@pytest.mark.parametrize(("kind", "model"), KINDS)
def test_another_kind_of_model_is_unsupported_and_named(kind: str, model: dict[str, Any]) -> None:
    file = changed(lambda file: file.update(model=model, truncation={"max_length": 5}))
    with pytest.raises(TokenizerUnsupported, match=rf"\$\.model\.type: {kind} is not supported"):
        loaded(file)


def test_a_broken_file_of_byte_pair_encoding_stays_malformed() -> None:
    for model in ({"vocab": {"a": 0}, "merges": ["a b"]}, {"type": "BPE", "vocab": {"a": 0}}, {"vocab": 7}):
        with pytest.raises(TokenizerFormatError) as caught:
            loaded(changed(lambda file, model=model: file.update(model=model)))  # type: ignore[misc]
        assert not isinstance(caught.value, TokenizerUnsupported)


# --- what the library loads ---

VOCABULARY: dict[str, int] = BASE["model"]["vocab"]
LOADED: dict[str, list[Change]] = {
    "an empty token": [lambda file: file["model"]["vocab"].update({"": SIZE})],
    "an empty token before an added one": [
        lambda file: file["model"]["vocab"].update({"": SIZE}),
        lambda file: file.update(added_tokens=[added(SIZE + 1, "<x>")]),
    ],
    "an added token twice": [lambda file: file.update(added_tokens=[added(SIZE, "<x>"), added(SIZE, "<x>")])],
    "an added token without text": [lambda file: file.update(added_tokens=[added(SIZE, ""), added(SIZE, "<x>")])],
    "an added token beside an empty one": [
        lambda file: file["model"]["vocab"].update({"": SIZE}),
        lambda file: file.update(added_tokens=[added(SIZE, ""), added(SIZE + 1, "<x>")]),
    ],
    "a version before the merges": [lambda file: file["model"]["merges"].insert(0, "#version: 0.2")],
    "a version among the merges": [lambda file: file["model"]["merges"].insert(9, "#versions of it")],
    "a digit": [lambda file: file.update(added_tokens=[added(VOCABULARY["1"], "1")])],
    "digits and a letter": [
        lambda file: file.update(added_tokens=[added(VOCABULARY[one], one, normalized=True) for one in "a123"])
    ],
    "a line end": [lambda file: file.update(added_tokens=[added(SIZE, "\n"), added(SIZE + 1, " ")])],
}  # fmt: skip


@pytest.mark.parametrize("name", LOADED)
def test_what_the_library_loads_gives_its_ids(name: str) -> None:
    made = assert_equal(changed(*LOADED[name]), [*some_texts(3), "a<x>b1<x>11\n \n"])
    theirs = tokenizers.Tokenizer.from_str(changed(*LOADED[name]))
    for token in range(SIZE - 3, theirs.get_vocab_size()):
        assert made.decode([token, 300]) == theirs.decode([token, 300], skip_special_tokens=False)


UNSUPPORTED: dict[str, tuple[list[Change], str]] = {
    "two tokens of one id": ([lambda file: file["model"]["vocab"].update(zz=5)], 'vocab: id 5 of "zz" belongs'),
    "two tokens of one id, in merges": (
        [lambda file: file["model"]["vocab"].update(zz=5), lambda file: file["model"]["merges"].append("z z")],
        'vocab: id 5 of "zz" belongs',
    ),
    "a large id": ([lambda file: file["model"]["vocab"].update(zz=5_000_000)], "5000000 of"),
    "a large id of an added token": ([lambda file: file.update(added_tokens=[added(5_000_000, "x")])], "5000000"),
    "another id than in the vocabulary": ([lambda file: file.update(added_tokens=[added(7, "1")])], "7 here"),
    "twice with other flags": (
        [lambda file: file.update(added_tokens=[added(SIZE, "<x>"), added(SIZE, "<x>", rstrip=True)])],
        "occurs twice, with other flags",
    ),
    "a control token that text needs": (
        [lambda file: file.update(added_tokens=[added(VOCABULARY["1"], "1", special=True)])],
        "flagged special, but it is the token of a byte",
    ),
    "the name of another byte": (
        [lambda file: file.update(added_tokens=[added(VOCABULARY["\u00e9"], "\u00e9")])],
        "the name of byte 0xE9",
    ),
    "the name of other text": (
        [lambda file: file.update(added_tokens=[added(VOCABULARY["\u0120the"], "\u0120the")])],
        "from another text than its text as an added token",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_the_library_loads_and_we_do_not_is_unsupported(name: str) -> None:
    changes, message = UNSUPPORTED[name]
    tokenizers.Tokenizer.from_str(changed(*changes))
    with pytest.raises(TokenizerUnsupported) as caught:
        loaded(changed(*changes))
    assert message in str(caught.value)


# --- bytes without a token ---


def without(file: dict[str, Any], missing: str) -> None:
    """Takes tokens of single bytes away, and what is made of them."""
    model = file["model"]
    model["vocab"] = {token: place for token, place in model["vocab"].items() if not set(token) & set(missing)}
    model["merges"] = [merge for merge in model["merges"] if not set(merge) & set(missing)]
    ids = {token: place for place, token in enumerate(model["vocab"])}
    model["vocab"] = ids


HOLES = "1te\u00c0\u00c3\u00f1\u010a"
ALPHABET = [*"1ter he\n", "\u00e9", "\u0441", "the", " other", "\x04", "12", "r1", "!", "\U00040000"]
HOLED: dict[str, dict[str, Any]] = {
    "dropped": {},
    "unknown": {"unk_token": "!"},
    "unknown, fused": {"unk_token": "!", "fuse_unk": True},
    "byte fallback without its tokens": {"byte_fallback": True},
    "whole pieces": {"ignore_merges": True},
    "whole pieces, unknown": {"ignore_merges": True, "unk_token": "!", "fuse_unk": True},
}


def holed(name: str) -> str:
    model = HOLED[name]
    # Tokens that no merge makes: found only as a whole piece, and only with ignore_merges.
    extra = {"h1r": 0, "hr": 0, "\u01201": 0}

    def more(file: dict[str, Any]) -> None:
        file["model"]["vocab"].update({token: len(file["model"]["vocab"]) + n for n, token in enumerate(extra)})
        file["pre_tokenizer"] = {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": r" ?\S+|\s+"}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
            ],
        }

    return changed(lambda file: without(file, HOLES), more, lambda file: file["model"].update(model))


@pytest.mark.parametrize("name", HOLED)
@settings(max_examples=60, deadline=None)
@given(words=st.lists(st.lists(st.sampled_from(ALPHABET), max_size=12).map("".join), max_size=12))
def test_bytes_without_a_token_are_what_the_library_makes_of_them(name: str, words: list[str]) -> None:
    made, theirs = MADE[name]
    for text in [*words, "h1r th1r 1h1r1 r", " 1"]:
        expected = theirs.encode(text, add_special_tokens=False).ids
        assert made.encode(text).tolist() == expected, repr(text)
        assert made.decode(expected) == theirs.decode(expected)
        assert made.encode(text, max_tokens=3).tolist() == expected[:3]
        ids, offsets = made.encode_with_offsets(text)
        assert ids.tolist() == expected
        assert offsets.tolist() == sorted(offsets.tolist())
        raw = text.encode()
        for place, token in enumerate(expected):
            inside = raw[offsets[place] : offsets[place + 1]]
            assert inside
            known = bytes(byte for byte in inside if byte in KNOWN)
            assert known == bytes(byte for byte in made.token_bytes(token) if byte in KNOWN) or not known
        _, spans = made.encode_with_spans(text)
        assert (spans[:, 0] < spans[:, 1]).all()
    batch = made.encode_batch(words)
    assert [batch[place].tolist() for place in range(len(words))] == [theirs.encode(text).ids for text in words]


MADE = {name: (loaded(holed(name)), tokenizers.Tokenizer.from_str(holed(name))) for name in HOLED}
KNOWN = {MADE["dropped"][0].token_bytes(token)[0] for token in range(256 - len(HOLES))}


@pytest.mark.parametrize("name", HOLED)
def test_a_vocabulary_with_holes_is_saved_and_read_again(name: str) -> None:
    texts = ["h1r th1r 1h1r1 r", " 1", "the other", "\x04e\n1"]
    assert_equal(holed(name), texts)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"unk_token": "<nope>"}, r"unk_token: \"<nope>\" is not in the vocabulary"),
        ({"unk_token": "h"}, "is part of merges"),
        ({"unk_token": "<s>"}, "is an added token, which plain text must not give"),
    ],
)
def test_an_unknown_token_that_is_no_plain_one_is_unsupported(model: dict[str, Any], message: str) -> None:
    def more(file: dict[str, Any]) -> None:
        file["model"]["vocab"]["<s>"] = len(file["model"]["vocab"])
        file["added_tokens"] = [added(file["model"]["vocab"]["<s>"], "<s>", special=True)]
        file["model"]["merges"] = (
            [*file["model"]["merges"], "h o"] if "ho" in file["model"]["vocab"] else file["model"]["merges"]
        )
        file["model"].update(model)

    with pytest.raises(TokenizerUnsupported, match=message):
        loaded(changed(lambda file: without(file, HOLES), more))


def test_byte_fallback_with_its_tokens_is_unsupported_where_bytes_are_missing() -> None:
    def more(file: dict[str, Any]) -> None:
        for name in ("<0x31>", "<0xC3>"):
            file["model"]["vocab"][name] = len(file["model"]["vocab"])
        file["model"]["byte_fallback"] = True

    with pytest.raises(TokenizerUnsupported, match=r"\$\.model\.byte_fallback"):
        loaded(changed(lambda file: without(file, HOLES), more))
    assert_equal(changed(more), some_texts(5, 20))


# --- added tokens that merging makes, too ---

WORDS = ["the", "other", "he", "th", "er", "12", "123", "1", "in", "re", "self"]
KNOWN_WORDS = [word for word in WORDS if word in VOCABULARY]
TEXT_PARTS = [
    "the",
    "o",
    "ther",
    "her",
    "12",
    "3",
    "1",
    " ",
    "  ",
    "in",
    "self",
    "_",
    ".",
    "re",
    "\n",
    "x",
    "\u00e9",
    "\u212a",
]
flags = st.fixed_dictionaries({flag: st.booleans() for flag in FLAGS})


@settings(max_examples=250, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([*KNOWN_WORDS, "<x>", "ther", " the"]), flags),
        max_size=4,
        unique_by=lambda one: one[0],
    ),
    st.booleans(),
    st.booleans(),
    st.lists(st.lists(st.sampled_from(TEXT_PARTS), max_size=9).map("".join), min_size=10, max_size=20),
)
def test_added_tokens_that_merging_makes_give_the_librarys_ids(
    chosen: list[tuple[str, dict[str, bool]]], nfc: bool, whole: bool, texts: list[str]
) -> None:
    tokens, following = [], SIZE
    for content, flags in chosen:
        known = VOCABULARY.get(content)
        tokens.append(added(following if known is None else known, content, **flags))
        following += known is None
    file = changed(
        lambda file: file.update(added_tokens=tokens, normalizer={"type": "NFC"} if nfc else None),
        lambda file: file["model"].update(ignore_merges=whole),
    )
    try:
        made = loaded(file)
    except TokenizerUnsupported:
        special_byte = any(flags["special"] and len(content) == 1 for content, flags in chosen)
        in_words = whole and any(flags["single_word"] for _, flags in chosen)
        assert special_byte or in_words
        return
    theirs = tokenizers.Tokenizer.from_str(file)
    for text in texts:
        assert made.encode(text, special="allow").tolist() == theirs.encode(text, add_special_tokens=False).ids, (
            text,
            tokens,
        )
        ours = set(made.encode(text).tolist())
        assert not ours & {token["id"] for token in tokens if len(token["content"]) > 1}
    batch = made.encode_batch(texts, special="allow")
    assert [batch[n].tolist() for n in range(len(texts))] == [
        theirs.encode(text, add_special_tokens=False).ids for text in texts
    ]


def test_a_whole_word_inside_another_is_merged() -> None:
    file = changed(lambda file: file.update(added_tokens=[added(VOCABULARY["the"], "the", single_word=True)]))
    made, theirs = loaded(file), tokenizers.Tokenizer.from_str(file)
    expected = theirs.encode("other").ids
    assert VOCABULARY["the"] in [*expected, *theirs.encode("tthe").ids]
    for text in ("other", "tthe", "the", "the other the", "xthe"):
        assert made.encode(text, special="allow").tolist() == theirs.encode(text).ids
        assert made.encode(text).tolist() != theirs.encode(text).ids or "the" not in text
    # What one mode remembers is not what the other one finds.
    for _ in range(3):
        assert VOCABULARY["the"] not in made.encode("tthe").tolist()
        assert made.encode("tthe", special="allow").tolist() == theirs.encode("tthe").ids


# --- spans under NFC ---


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["A", "B ", "\u0344", "\u2126", "\u212b", "e\u0301", "\u0958", "\u1100\u1161", "\u0301", "\u0323", "1"]
        ),
        max_size=10,
    )
)
def test_every_token_has_the_characters_it_is_made_of(parts: list[str]) -> None:
    made, theirs = NFC_MADE
    text = "".join(parts)
    ids, spans = made.encode_with_spans(text)
    encoding = theirs.encode(text)
    assert ids.tolist() == encoding.ids
    for (first, end), (their_first, their_end) in zip(spans.tolist(), encoding.offsets, strict=True):
        assert first < end
        # The library gives a part of what normalising took apart; here all its tokens have all of it.
        assert first <= their_first or their_first == their_end
        assert their_end <= end or their_first == their_end
    _, offsets = made.encode_with_offsets(text)
    assert offsets.tolist() == sorted(offsets.tolist())


NFC_FILE = changed(lambda file: file.update(normalizer={"type": "NFC"}))
NFC_MADE = (loaded(NFC_FILE), tokenizers.Tokenizer.from_str(NFC_FILE))


def test_spans_of_characters_that_nfc_takes_apart() -> None:
    def spans(text: str) -> list[list[int]]:
        found: list[list[int]] = NFC_MADE[0].encode_with_spans(text)[1].tolist()
        return found

    assert {tuple(span) for span in spans("\u0344")} == {(0, 1)}
    assert spans("Q\u0344B")[0] == [0, 1]
    assert spans("Q\u0344B")[-1] == [2, 3]
    # A and the first of the two marks become one character.
    assert spans("A\u0344B")[0] == [0, 2]
    assert {tuple(span) for span in spans("\u2126\u212b")} == {(0, 1), (1, 2)}
