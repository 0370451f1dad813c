"""Makes `golden/vocabularies.json`: small vocabularies with the ids that llama.cpp and SentencePiece give.

    python tests/tokenizer/make_golden_vocabularies.py

Needs gguf, xllamacpp and sentencepiece. llama.cpp reads a vocabulary with a model only, so each gets a tiny one.
"""

from __future__ import annotations

import base64
import io
import json
import os
import random
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import sentencepiece
import xllamacpp

import stategpt as sg
from stategpt.tokenizer.gguf_patterns import CUTS

OUT = Path(__file__).with_name("golden") / "vocabularies.json"
DOCS = sorted((Path(__file__).parents[2] / "docs").glob("*.md"))[:4]
TEXTS = [
    *(
        "",
        " ",
        "  ",
        "Hello world",
        " two  spaces ",
        "\t tab\n\nlines\r\n",
        "a\n\n\nb",
        "don't I'LL we've 'S",
        "1234567 12",
    ),
    *(
        "x1y22z333",
        "naïve façade",
        "e\u0301 ǆ Ⅷ ½",
        "日本語のテキスト。",
        "Привет, мир!",
        "안녕 세계",
        "नमस्ते",
        "🚀👩\u200d👧",
        "\u00a0\u3000 x",
    ),
    *(
        "<|end|> and <s> and <unk>",
        "[tool] calls [tool]",
        "def f(x):\n    return {x: -1.5e3}  # ok",
        "$5 <= a^b ~ `c` | +d",
    ),
    *(
        "UPPERlower CamelCase fooBar",
        "!!! ??? ...",
        "\u2581under\u2581",
        "the tokenizer of the model",
        "http://a.b/c?d=e&f",
        "<0x0A>",
    ),
]

ACCENTS = [
    "École ÉCOLE élÉgance",
    "ñandú ÑANDÚ ÁÉÍ áéí",
    "ПриВЕТ",
    "हिन्दी में",
    "ǅungla ʰx",
    "a\u0301B\u0301c",
    "ΑΒΓαβγ",
    "ßẞ",
]
"""Where capitals meet small letters and marks outside ASCII."""


def tiny_file(path: str, tokenizer: dict[str, Any]) -> None:
    """A llama of one layer with that vocabulary."""
    writer = gguf.GGUFWriter(path, "llama")
    for name, value in (("context_length", 64), ("embedding_length", 32), ("feed_forward_length", 32)):
        writer.add_uint32(f"llama.{name}", value)
    for name, value in (("block_count", 1), ("attention.head_count", 2), ("attention.head_count_kv", 2)):
        writer.add_uint32(f"llama.{name}", value)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-5)
    for key, value in tokenizer.items():
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_array(key, value)
    size = len(tokenizer["tokenizer.ggml.tokens"])
    shapes = {"token_embd": (size, 32), "output": (size, 32), "output_norm": (32,)}
    block = {"attn_norm": (32,), "ffn_norm": (32,)} | {f"attn_{name}": (32, 32) for name in ("q", "k", "v", "output")}
    block |= {f"ffn_{name}": (32, 32) for name in ("gate", "down", "up")}
    for name, shape in (shapes | {f"blk.0.{name}": shape for name, shape in block.items()}).items():
        writer.add_tensor(name + ".weight", np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def llama_ids(tokenizer: dict[str, Any], texts: Sequence[str]) -> list[list[int]]:
    """What llama.cpp makes of texts; control tokens stay text."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "tiny.gguf")
        tiny_file(path, tokenizer)
        asked = xllamacpp.CommonParams()
        asked.model.path, asked.n_ctx, asked.n_parallel, asked.warmup = path, 64, 1, False
        server = xllamacpp.Server(asked)
        found = []
        for text in texts:
            body = json.dumps({"content": text, "add_special": False, "parse_special": False}).encode()
            request = urllib.request.Request(server.listening_address + "/tokenize", body)
            with urllib.request.urlopen(request, timeout=60) as answer:
                found.append(json.load(answer)["tokens"])
        return found


def byte_level(texts: Sequence[str]) -> dict[str, Any]:
    """GPT-2's kind, with a control and a user-defined token, without `pre`.

    Its merges were learned from whole texts, so they cross every border at which a text could be cut.
    """
    table = {text: 3 for text in texts if text}
    tok = sg.Tokenizer.train(table, 1100, pattern="gpt2", special_tokens=["<|end|>", "[tool]"], min_frequency=2)
    fields = json.loads(tok._to_json())
    vocabulary = sorted(fields["model"]["vocab"], key=fields["model"]["vocab"].get)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": ["<|end|>", "[tool]", *vocabulary[len(vocabulary) - tok.vocab_size + 2 :]],
        "tokenizer.ggml.token_type": [3, 4] + [1] * (tok.vocab_size - 2),
        "tokenizer.ggml.merges": [
            merge if isinstance(merge, str) else " ".join(merge) for merge in fields["model"]["merges"]
        ],
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 0,
    }


def trained(kind: str, **settings: Any) -> bytes:
    """A SentencePiece model."""
    made = io.BytesIO()
    lines = [line for path in DOCS for line in path.read_text().splitlines() if line]
    defaults = {"vocab_size": 420, "normalization_rule_name": "identity", "minloglevel": 2, "character_coverage": 0.99}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=made, model_type=kind, **{**defaults, **settings}
    )
    return made.getvalue()


def pieces(model: bytes, kind: str, **more: Any) -> dict[str, Any]:
    """The metadata of a SentencePiece model."""
    tok = sentencepiece.SentencePieceProcessor(model_proto=model)
    order = range(tok.get_piece_size())

    def type_of(i: int) -> int:
        return 2 if tok.is_unknown(i) else 3 if tok.is_control(i) else 6 if tok.is_byte(i) else 1

    return {
        "tokenizer.ggml.model": kind,
        "tokenizer.ggml.tokens": [tok.id_to_piece(i) for i in order],
        "tokenizer.ggml.scores": [tok.get_score(i) for i in order],
        "tokenizer.ggml.token_type": [type_of(i) for i in order],
        "tokenizer.ggml.unknown_token_id": tok.unk_id(),
        "tokenizer.ggml.bos_token_id": tok.bos_id(),
        "tokenizer.ggml.eos_token_id": tok.eos_id(),
        **more,
    }


def words() -> dict[str, Any]:
    """WordPiece, spelled as GGUF does."""
    chosen = ["hello", "world", "two", "spaces", "tab", "lines", "don", "t", "i", "we", "ve", "and", "the"]
    chosen += ["token", "izer", "of", "model", "def", "return", "x"]
    singles = [chr(code) for code in range(0x21, 0x7F) if not chr(code).isupper()]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens += [f"\u2581{text}" for text in dict.fromkeys([*chosen, *singles, "日", "本"])]
    tokens += [text for text in dict.fromkeys(["izer", "s", "ing", *singles]) if text.isalnum()]
    return {
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3, 2, 3, 3, 3] + [1] * (len(tokens) - 5),
        "tokenizer.ggml.unknown_token_id": 1,
        "tokenizer.ggml.cls_token_id": 2,
        "tokenizer.ggml.bos_token_id": 2,
        "tokenizer.ggml.seperator_token_id": 3,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.mask_token_id": 4,
    }


def main() -> None:
    """Writes the file."""
    chance = random.Random(1)
    letters = [
        *"abcdehilnorst  \n.,'0127<>",
        "é",
        "e\u0301",
        "日",
        "🚀",
        "\u2581",
        "[tool]",
        "<|end|>",
        "\u00a0",
        "\r\n",
    ]
    texts = TEXTS + ACCENTS + ["".join(chance.choices(letters, k=chance.randint(2, 24))) for _ in range(20)]
    base = byte_level([*texts, *ACCENTS])
    cases: list[dict[str, Any]] = []
    by_cut = {cut: name for name, cut in reversed(CUTS.items())}
    for name in [*by_cut.values(), "default"]:
        cases.append({"pre": name, "ids": llama_ids({**base, "tokenizer.ggml.pre": name}, texts)})
    bpe, unigram = trained("bpe", byte_fallback=True, remove_extra_whitespaces=False), trained("unigram")
    scored: dict[str, dict[str, Any]] = {
        "llama": pieces(bpe, "llama"),
        "llama, no prefix": pieces(bpe, "llama", **{"tokenizer.ggml.add_space_prefix": False}),
        "bert": words(),
        "t5": pieces(
            unigram, "t5", **{"tokenizer.ggml.add_space_prefix": True, "tokenizer.ggml.remove_extra_whitespaces": True}
        ),
    }
    models = {
        "bpe": bpe,
        "bpe, unknown": trained("bpe", vocab_size=200, remove_extra_whitespaces=False, add_dummy_prefix=False),
        "unigram": unigram,
        "unigram, bytes": trained("unigram", byte_fallback=True),
        "user-defined": trained(
            "bpe", user_defined_symbols=["[tool]"], remove_extra_whitespaces=False, add_dummy_prefix=False
        ),
    }
    made = {
        "texts": texts,
        "byte_level": base,
        "cuts": cases,
        "metadata": {name: {"metadata": held, "ids": llama_ids(held, texts)} for name, held in scored.items()},
        "models": {
            name: {
                "model": base64.b64encode(model).decode(),
                "ids": sentencepiece.SentencePieceProcessor(model_proto=model).encode(texts),
            }
            for name, model in models.items()
        },
    }
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(made, ensure_ascii=True, separators=(",", ":")) + "\n")
    print(OUT.stat().st_size, file=sys.stderr)
    os._exit(0)  # the servers have threads that do not end


if __name__ == "__main__":
    main()
