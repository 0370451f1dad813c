"""Regular expressions as patterns: pieces equal to those that the `tokenizers` library (Oniguruma) cuts."""

from __future__ import annotations

import random
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from stategpt.errors import InvalidArgument
from stategpt.tokenizer.tokenizer import Tokenizer
from tokenizer.tokenizer_oracles import floods, library_texts, odd_text

tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra: hf)")

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
# What published vocabularies cut by, and the constructs those are made of.
REAL = {
    "gpt-neox": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+(?=\S)",
    "starcoder": r"\p{N}",
    "bloom": r" ?[^(\s|[.,!?…。，、।۔،])]+",
    "falcon": r"[0-9][0-9][0-9]",
    "deepseek numbers": r"\p{N}{1,3}",
    "deepseek han": r"[一-龥぀-ゟ゠-ヿ]+",
    "deepseek words": r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^"""
    "\r\n"
    r"""\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+["""
    "\r\n"
    r"""]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
    "deepseek llm": r"[\r\n]",
    "deepseek cjk": r"[一-龥ࠀ-一가-퟿]+",
    "llama4": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + CONTRACTIONS + r"?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + CONTRACTIONS + r"?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)| {2,}|\s",
    "kimi": r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*"
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+" + CONTRACTIONS + r"?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*"
    + CONTRACTIONS
    + r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "digits from the right": r"\d{1,3}(?=(?:\d{3})*\b)|\D+".replace(r"\b", r"(?!\d)"),
    "possessive": r"[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++",
    "look behind": r"(?<=[a-z])(?=[A-Z])|(?<!\d)\d",
    "words": r"\w+|[^\w\s]+",
    "lazy": r"\w+?\b|.".replace(r"\b", r"(?!\w)"),
    "dot": r".{1,4}",
    "atomic": r"(?>\p{L}+|\p{N})'?",
    "escapes": r"\x41|\x{e9}|\u3042|\/|\<|\-|\t|[\s\-\]\\]+",
    "empty": r"x*",
    "class operators": r"[a-z&&[^aeiou]]+|[^a-z&&[^\s]]+",
    "ends": r"\A\s+|\s+\z",
}


def cutter(regex: str) -> Any:
    return tokenizers.pre_tokenizers.Split(tokenizers.Regex(regex), "isolated")


def pre_tokenizer(regex: str) -> Any:
    level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return tokenizers.pre_tokenizers.Sequence([cutter(regex), level])


def assert_pieces_equal(regex: str, texts: list[str]) -> None:
    tok, theirs = Tokenizer.train(["a"], 256, pattern=regex), pre_tokenizer(regex)
    for text in texts:
        assert tok.pieces(text) == [text[a:b] for _, (a, b) in theirs.pre_tokenize_str(text)], repr(text)


@cache
def texts() -> list[str]:
    draw = random.Random(13)
    return ["", *library_texts(20_000), *floods(400).values(), *(odd_text(draw) for _ in range(500))]


@pytest.mark.parametrize("name", REAL)
def test_real_expressions_cut_as_the_library_cuts(name: str) -> None:
    assert_pieces_equal(REAL[name], texts())


CLASSES = [
    "\\w",
    "\\W",
    "[\\w]",
    "[^\\w\\s]",
    "[\\W\\d]",
    "\\s",
    "\\d",
    ".",
    *(f"\\p{{{name}}}" for name in ("Han", "Hiragana", "Cyrillic", "Alphabetic")),
]
CATEGORIES = sorted({unicodedata.category(chr(code)) for code in range(0x11_0000)} - {"Cs"})


@cache
def all_characters(before: str) -> list[str]:
    """Lines of one character each after `before`, 3,000 in a text."""
    lines = [before + chr(code) for code in range(0x11_0000) if not 0xD800 <= code < 0xE000]
    return ["\n".join(lines[at : at + 3000]) for at in range(0, len(lines), 3000)]


@pytest.mark.parametrize("expression", [*CLASSES, *(f"\\p{{{name}}}" for name in CATEGORIES), "(?i:'k|'t)"])
def test_every_code_point_is_of_the_same_class(expression: str) -> None:
    tok, theirs = Tokenizer.train(["a"], 256, pattern=expression), cutter(expression)
    for text in all_characters("'" if expression.startswith("(?i") else ""):
        assert tok.pieces(text) == [text[a:b] for _, (a, b) in theirs.pre_tokenize_str(text)]


@pytest.mark.parametrize("name", ["kimi", "look behind", "deepseek words"])
def test_training_with_an_expression_is_the_librarys(name: str, tmp_path: Path) -> None:
    tok = Tokenizer.train(library_texts(60_000), 600, pattern=REAL[name], special_tokens=["<s>"])
    assert tok.pattern == REAL[name]
    tok.save(tmp_path / "tokenizer.json")
    again, theirs = (
        Tokenizer.load(tmp_path / "tokenizer.json"),
        tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json")),
    )
    assert again.fingerprint == tok.fingerprint
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = pre_tokenizer(REAL[name])
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=alphabet, special_tokens=["<s>"], show_progress=False
    )
    made.train_from_iterator(library_texts(60_000), trainer)
    for text in texts()[:200]:
        expected = theirs.encode(text, add_special_tokens=False).ids
        assert tok.encode(text, special="allow").tolist() == expected
        assert made.encode(text, add_special_tokens=False).ids == expected


@pytest.mark.parametrize("pattern", [r"\p{N}|\s+(?!\S)", r"(?<=a)b|\w+"])
def test_bytes_that_are_not_text_come_back(pattern: str) -> None:
    tok = Tokenizer.train(library_texts(20_000), 400, pattern=pattern)
    draw = random.Random(3)
    for _ in range(200):
        data = draw.randbytes(40) + "é a".encode() + draw.randbytes(3)
        assert tok.decode_bytes(tok.encode_bytes(data)) == data


@pytest.mark.parametrize(
    "pattern", ["gpt5", "^a", "a$", "(", "[[:alpha:]]", r"\p{N}{1,3}+", r"(?i:stress)", r"\p{Nope}"]
)
def test_an_expression_that_means_something_else_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidArgument, match="pattern"):
        Tokenizer.train(["a"], 256, pattern=pattern)
