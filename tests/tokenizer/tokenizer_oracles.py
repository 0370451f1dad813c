"""Other tokenizers, and text to compare ours with them on."""

from __future__ import annotations

import base64
import json
import random
import sysconfig
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from native.naive_bpe import PATTERNS
from stategpt.tokenizer.tokenizer import Tokenizer

VOCABULARIES = Path(__file__).resolve().parents[3] / "shared" / "data" / "vocab"
RANK_FILES = {
    "gpt2": ("gpt2.tiktoken", 50256),
    "gpt4": ("cl100k.tiktoken", 100257),
    "o200k": ("o200k.tiktoken", 199999),
}

Merges = list[tuple[str, str]]


def library_texts(limit_bytes: int) -> list[str]:
    """Sources of the standard library, the same ones each time, about `limit_bytes` in all."""
    texts: list[str] = []
    size = 0
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("[a-z]*.py")):
        texts.append(path.read_bytes().decode("utf-8", "replace"))
        size += len(texts[-1])
        if size >= limit_bytes:
            break
    return texts


def rank_file(pattern: str) -> Path:
    """A real rank file, or a skip."""
    path = VOCABULARIES / RANK_FILES[pattern][0]
    if not path.exists():
        pytest.skip(f"no {path}: the shared vocabularies are not here")
    return path


def tiktoken_encoding(pattern: str) -> Any:
    """tiktoken with the same rank file and its own form of the pattern, which is written to run faster."""
    tiktoken = pytest.importorskip("tiktoken", reason="tiktoken is not installed (extra: dev)")
    from tiktoken_ext import openai_public as published

    base = {"gpt2": published.r50k_base, "gpt4": published.cl100k_base, "o200k": published.o200k_base}[pattern]
    with mock.patch.object(published, "load_tiktoken_bpe", return_value={}):  # it would be downloaded
        own_form = base()["pat_str"]
    lines = rank_file(pattern).read_bytes().splitlines()
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines)}
    special = {"<|endoftext|>": RANK_FILES[pattern][1]}
    return tiktoken.Encoding(pattern, pat_str=own_form, mergeable_ranks=ranks, special_tokens=special)


def cutter(pattern: str) -> Any:
    """What cuts in the `tokenizers` library for a pattern; of GPT-2's it has a form of its own."""
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra: hf)")
    if pattern == "gpt2":
        return tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizers.pre_tokenizers.Split(tokenizers.Regex(PATTERNS[pattern]), "isolated")


def pre_tokenizer(pattern: str) -> Any:
    """The `tokenizers` library's whole pre-tokenizer for a pattern: cut, then spelled byte by byte."""
    cut = cutter(pattern)
    if pattern == "gpt2":
        return cut
    steps = pytest.importorskip("tokenizers").pre_tokenizers
    return steps.Sequence([cut, steps.ByteLevel(add_prefix_space=False, use_regex=False)])


def hf_trained(
    pattern: str, vocab_size: int, *, texts: list[str] | None = None, files: list[str] | None = None, **options: Any
) -> Any:
    """A tokenizer trained by the `tokenizers` library, from texts or from files."""
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra: hf)")
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = pre_tokenizer(pattern)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False, **options
    )
    if files is not None:
        made.train(files, trainer)
    else:
        made.train_from_iterator(texts, trainer)
    return made


def learned(saved: str) -> tuple[dict[str, int], Merges]:
    """Vocabulary and merges of a tokenizer.json."""
    model = json.loads(saved)["model"]
    merges = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
    return model["vocab"], merges


def ours_saved(tok: Tokenizer, folder: Path) -> str:
    """The text that `save` writes."""
    tok.save(folder / "tokenizer.json")
    return (folder / "tokenizer.json").read_text(encoding="utf-8")


def odd_text(random: random.Random) -> str:
    """Text that patterns stumble over: white space, contractions, cases, marks, any code point, runs."""
    length = random.randrange(1, 120)
    kind = random.randrange(6)
    if kind == 0:
        return "".join(random.choice(" \n\r\t\u3000\x85 a1.'sS/") for _ in range(length))
    if kind == 1:
        return "".join(any_character(random) for _ in range(length))
    if kind == 2:
        return "".join(random.choice("abcABC éÉ中ǅʰ\u0300'sſ!12²/\n ") for _ in range(length))
    if kind == 3:
        return random.choice("a =-_^~\n\té中7") * (length * 5)
    if kind == 4:
        return "".join(random.choice("'sStTrReEvVmMlLdDſK a") for _ in range(length))
    return random.randbytes(length).decode("utf-8", "replace")


def any_character(random: random.Random) -> str:
    """Any code point but a surrogate."""
    code = random.randrange(0x11_0000 - 0x800)
    return chr(code if code < 0xD800 else code + 0x800)


@cache
def floods(length: int) -> dict[str, str]:
    """Monotonous texts that make careless tokenizers quadratic."""
    draw = random.Random(7)

    def of(alphabet: str) -> str:
        return "".join(draw.choices(alphabet, k=length))

    letters = "abcdefghijklmnopqrstuvwxyz"
    return {
        **{name: one * length for name, one in [("a", "a"), ("space", " "), ("newline", "\n"), ("caret", "^")]},
        **{name: one * length for name, one in [("dash", "-"), ("digit", "7")]},
        "abab": "ab" * (length // 2),
        "letters": of(letters),
        "base64": of(letters + letters.upper() + "0123456789+/"),
        "cjk": "".join(chr(draw.randrange(0x4E00, 0x9FA5)) for _ in range(length // 3)),
        "unicode": "".join(any_character(draw) for _ in range(length // 4)),
        "mixed white space": of(" \t\n"),
    }
