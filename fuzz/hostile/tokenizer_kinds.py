"""tokenizer.json: flipped, retyped, and with every part that the format knows."""

from __future__ import annotations

import json
from typing import Any

from changes import dumped, flipped, json_bombs, retyped
from harness import Case, Kind
from workplace import at

import stategpt as sg
from stategpt import _native
from stategpt.tokenizer import HfTokenizer
from stategpt.tokenizer.gguf_vocabulary import tokenizer_json

PROBE = "hello <|user|> world 123, it's 12345\n\tdef f(x): \u00e9\u4e16 <|endoftext|>"


def _use(tok: Any) -> tuple[int, list[int], str]:
    ids = tok.encode(PROBE)
    tok.encode("a" * 300 + "b")
    return tok.vocab_size, ids.tolist(), tok.decode(ids)


def _load(case: Case, content: bytes) -> object:
    path = case.folder / "tokenizer.json"
    path.write_bytes(content)
    return _use(sg.Tokenizer.load(path))


def _good_json() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(at("tokenizer.json").read_bytes())
    return found


def tokenizer_flips(case: Case) -> object:
    """Bit flips, truncations and havoc."""
    good = at("tokenizer.json").read_bytes()
    return _load(case, good if case.is_good else flipped(good, case.draw))


def tokenizer_types(case: Case) -> object:
    """One value of another type."""
    good = _good_json()
    return _load(case, dumped(good if case.is_good else retyped(good, case.draw)))


def _model_parts() -> list[tuple[str, Any]]:
    """Settings of the BPE model, most of them not covered by our engine."""
    found: list[tuple[str, Any]] = [
        ("model." + key, value)
        for key in ("continuing_subword_prefix", "end_of_word_suffix")
        for value in ("\u0000", "##", "", "x" * 100_000)
    ]
    found += [
        ("model." + key, value)
        for key, value in (
            ("dropout", 0.5),
            ("dropout", 2.0),
            ("unk_token", "x"),
            ("fuse_unk", True),
            ("byte_fallback", True),
            ("ignore_merges", True),
            ("type", "WordPiece"),
            ("type", "WordLevel"),
            ("type", "Unigram"),
            ("type", "x"),
            ("vocab", {}),
            ("merges", []),
            ("merges", ["a b"] * 100_000),
            ("merges", [["\u0120", "x" * 100_000]]),
            ("vocab", {"a": 2**32}),
            ("vocab", {"a": -1}),
            ("vocab", {str(number): 7 for number in range(1000)}),
        )
    ]
    return found


def _normalizer_parts() -> list[tuple[str, Any]]:
    """Normalizers that the format knows, with hostile arguments."""
    normalizers = [
        {"type": "Precompiled", "precompiled_charsmap": text} for text in ("", "/////w==", "AAAA", "A" * 100_000)
    ] + [
        {"type": "Replace", "pattern": {"String": ""}, "content": "x"},
        {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""},
        {"type": "Replace", "pattern": {"Regex": "("}, "content": ""},
        {"type": "Prepend", "prepend": ""},
        {"type": "NFKC"},
        {"type": "Strip", "strip_left": True, "strip_right": True},
        {"type": "Nmt"},
        {"type": "x"},
        {"type": "Sequence", "normalizers": [{"type": "NFC"}] * 10_000},
        {"type": "BertNormalizer"},
    ]
    return [("normalizer", value) for value in normalizers]


def _pre_tokenizer_parts() -> list[tuple[str, Any]]:
    """Pre-tokenizers, and patterns that backtrack, nest or repeat without end."""
    patterns = [
        "(a+)+$",
        "(?=a)*",
        "(a|a)*b",
        "x|(?:a|a)*(?=b)",
        "a*b|a",
        "\\p{L}*1|\\p{L}",
        "(" * 10_000,
        "a{1000000}",
        "(a{1000}){1000}",
        "|".join("a" * 10 + str(number) for number in range(20_000)),
        "",
        "^",
        "\\b",
        "(?<=a{1,5000})b",
        "(?i:" * 500 + "a" + ")" * 500,
    ]
    found: list[tuple[str, Any]] = [
        ("pre_tokenizer", {"type": "Split", "pattern": {"Regex": text}, "behavior": behavior, "invert": False})
        for text in patterns
        for behavior in ("Isolated", "Removed")
    ]
    found += [
        ("pre_tokenizer", value)
        for value in (
            {"type": "FixedLength", "length": 0},
            {"type": "Metaspace", "replacement": "", "prepend_scheme": "x"},
            {"type": "Whitespace"},
            {"type": "ByteLevel", "add_prefix_space": True, "use_regex": False},
            {"type": "Digits", "individual_digits": True},
            None,
            {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}] * 5_000},
            {"type": "Punctuation"},
        )
    ]
    return found


def _other_parts() -> list[tuple[str, Any]]:
    """Decoders, truncation, padding and added tokens."""
    found: list[tuple[str, Any]] = [
        ("decoder", value)
        for value in ({"type": "Strip", "content": "x", "start": 10**9, "stop": 0}, {"type": "WordPiece"}, None)
    ]
    found += [
        ("truncation", {"max_length": 1, "strategy": "LongestFirst", "stride": 9, "direction": "Right"}),
        (
            "padding",
            {
                "strategy": {"Fixed": 2**40},
                "direction": "Left",
                "pad_id": 0,
                "pad_type_id": 0,
                "pad_token": "x",
                "pad_to_multiple_of": 0,
            },
        ),
    ]
    added = [
        [
            {
                "id": number,
                "content": text,
                "special": True,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": norm,
            }
        ]
        for number in (0, 16, 319, 320, 2**31, 2**32 - 1)
        for text, norm in (("a", False), ("", False), ("\u00e9", True))
    ]
    return [*found, *(("added_tokens", value) for value in added)]


PARTS = [*_model_parts(), *_normalizer_parts(), *_pre_tokenizer_parts(), *_other_parts()]


def _hostile_file(number: int) -> bytes:
    if number >= len(PARTS):
        return json_bombs()[number - len(PARTS)]
    changed, (key, value) = _good_json(), PARTS[number]
    owner, _, last = key.rpartition(".")
    (changed[owner] if owner else changed)[last] = value
    return dumped(changed)


def tokenizer_hostile(case: Case) -> object:
    """Parts that the format knows, with arguments that engines fail on."""
    return _load(case, dumped(_good_json()) if case.is_good else _hostile_file(case.number))


def tokenizer_native(case: Case) -> object:
    """The same, by the compiled engine without the file."""
    content = dumped(_good_json()) if case.is_good else _hostile_file(case.number)
    return _use(sg.Tokenizer(_native.Tokenizer._from_json(content)))


def sentencepiece_flips(case: Case) -> object:
    """tokenizer.model with flipped bits, cut off, and with lengths that are too large."""
    pieces = [_piece(text, kind) for text, kind in (("<unk>", 2), ("<s>", 3), ("\u2581", 1), ("a", 1), ("\u2581a", 1))]
    good = b"".join(pieces) + b"\x12\x02\x18\x02"  # BPE
    path = case.folder / "tokenizer.model"
    path.write_bytes(good if case.is_good else flipped(good, case.draw))
    return sg.Tokenizer.load(path).encode("a a <s>").tolist()


def _piece(text: str, kind: int) -> bytes:
    inner = b"\x0a" + bytes([len(text.encode())]) + text.encode() + bytes([0x18, kind])
    return b"\x0a" + bytes([len(inner)]) + inner


def gguf_metadata_types(case: Case) -> object:
    """The metadata of a GGUF file with values of other types and sizes."""
    good: dict[str, Any] = {
        "tokenizer.ggml.model": case.draw.choice(("gpt2", "llama", "t5", "bert", "gemma4")),
        "tokenizer.ggml.tokens": ["<unk>", "<s>", "a", "b", "ab", "\u2581"],
        "tokenizer.ggml.scores": [0.0, 0.0, -1.0, -2.0, -3.0, -4.0],
        "tokenizer.ggml.token_type": [2, 3, 1, 1, 1, 1],
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.unknown_token_id": 0,
    }
    return HfTokenizer(tokenizer_json(good if case.is_good else retyped(good, case.draw))).encode("ab <s>").tolist()


KINDS = [
    Kind("tokenizer.model: flips, truncations, havoc", sentencepiece_flips),
    Kind("GGUF metadata of a tokenizer: wrong types", gguf_metadata_types),
    Kind("tokenizer.json: flips, truncations, havoc", tokenizer_flips, (3500, 3344, 74, 82, 0, 0, 0, 0)),
    Kind("tokenizer.json: wrong types", tokenizer_types, (1000, 832, 106, 61, 0, 1, 0, 0)),
    Kind(
        "tokenizer.json: hostile parts",
        tokenizer_hostile,
        (258, 112, 84, 0, 0, 57, 3, 2),
        fixed=len(PARTS) + len(json_bombs()),
    ),
    Kind(
        "the same, compiled engine alone",
        tokenizer_native,
        (258, 241, 16, 0, 0, 0, 0, 1),
        fixed=len(PARTS) + len(json_bombs()),
    ),
]
