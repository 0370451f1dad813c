"""Small `tokenizer.json` files of every model and decoder kind, made with the `tokenizers` library."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tokenizer.tokenizer_oracles import library_texts

tokenizers: Any = pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra: hf)")

TEXTS = library_texts(40_000)
CONTROLS = ["[UNK]", "[CLS]", "[SEP]", "[PAD]"]


def trained(model: str) -> dict[str, Any]:
    """The file of a model that the library's own trainer made: WordPiece, Unigram or WordLevel."""
    t = tokenizers
    if model == "Unigram":
        made = t.Tokenizer(t.models.Unigram())
        made.pre_tokenizer = t.pre_tokenizers.Metaspace()
        made.decoder = t.decoders.Metaspace()
        trainer = t.trainers.UnigramTrainer(
            vocab_size=400, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
        )
    elif model == "WordPiece":
        made = t.Tokenizer(t.models.WordPiece(unk_token="[UNK]"))
        made.normalizer = t.normalizers.BertNormalizer()
        made.pre_tokenizer = t.pre_tokenizers.BertPreTokenizer()
        made.decoder = t.decoders.WordPiece()
        trainer = t.trainers.WordPieceTrainer(vocab_size=500, special_tokens=CONTROLS, show_progress=False)
    else:
        made = t.Tokenizer(t.models.WordLevel(unk_token="[UNK]"))
        made.pre_tokenizer = t.pre_tokenizers.WhitespaceSplit()
        trainer = t.trainers.WordLevelTrainer(vocab_size=500, special_tokens=CONTROLS, show_progress=False)
    made.train_from_iterator(TEXTS, trainer)
    fields: dict[str, Any] = json.loads(made.to_str())
    return fields


def byte_fallback(decoders: list[dict[str, Any]]) -> dict[str, Any]:
    """A BPE file as Llama 2, Mistral and Gemma have it: words begin with U+2581, rare characters are byte tokens."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>"))
    made.normalizer = tokenizers.normalizers.Replace(" ", "\u2581")
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>", "<s>"], show_progress=False)
    made.train_from_iterator([line for text in TEXTS for line in text.split("\n")][:600], trainer)
    fields: dict[str, Any] = json.loads(made.to_str())
    vocabulary, first = fields["model"]["vocab"], len(fields["model"]["vocab"])
    vocabulary.update({f"<0x{byte:02X}>": first + byte for byte in range(256)})
    fields["model"]["byte_fallback"] = True
    fields["decoder"] = {"type": "Sequence", "decoders": decoders}
    return fields


SPACE = {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}
BYTES, FUSE = {"type": "ByteFallback"}, {"type": "Fuse"}
FIRST_SPACE = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
