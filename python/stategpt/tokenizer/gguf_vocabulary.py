"""Tokenizers of GGUF files: their metadata as a `tokenizer.json`, and back.

Text that spells a control token stays text. User-defined tokens are added tokens that are not flagged special, so
`special="unflagged"` gives the ids of llama.cpp, which always takes them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from stategpt.errors import TokenizerFormatError, TokenizerUnsupported
from stategpt.tokenizer.gguf_export import gguf_metadata
from stategpt.tokenizer.gguf_fields import KEY, boolean, numbers, piece_list, texts, token_id
from stategpt.tokenizer.gguf_patterns import CUTS, DEFAULT, GPT2, Cut
from stategpt.tokenizer.piece_vocabulary import (
    SPACE,
    Kind,
    Piece,
    added_tokens,
    bpe_model,
    checked_pieces,
    decoder,
    no_byte_is_spelled,
    normalizers,
    unigram_model,
)

__all__ = ["gguf_metadata", "tokenizer_json"]

_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def tokenizer_json(metadata: Mapping[str, Any]) -> str:
    """The text of a `tokenizer.json` that encodes as llama.cpp does with this metadata; nothing is put around texts.

    Args:
        metadata: keys and values as in the file; those that begin with `tokenizer.ggml.` are read, and `general.name`,
            by which llama.cpp knows Phi-3, whose tokens take the white space that follows.

    Raises:
        TokenizerFormatError: a key is missing or of another type, lists are of unlike lengths, a token occurs twice.
        TokenizerUnsupported: another `model`, or a `pre` that is not known; the message names it.
    """
    if not isinstance(metadata, Mapping):
        raise TokenizerFormatError(f"metadata is {type(metadata).__name__}; give the keys and values of a GGUF file")
    kind = metadata.get(KEY + "model")
    make = {"gpt2": _byte_level, "llama": _scored, "gemma4": _gemma4, "t5": _unigram, "bert": _words}
    if not isinstance(kind, str) or kind not in make:
        raise TokenizerUnsupported(f"{KEY}model is {kind!r}; supported are {', '.join(make)}")
    pieces = piece_list(metadata)
    ids = checked_pieces(pieces, KEY + "tokens")
    fields = make[kind](metadata, pieces, ids)
    added = _strips_right(metadata, added_tokens(pieces))
    empty = {"truncation": None, "padding": None, "added_tokens": added, "normalizer": None, "pre_tokenizer": None}
    return json.dumps({"version": "1.0", **empty, "post_processor": None, **fields}, ensure_ascii=False)


def _byte_level(metadata: Mapping[str, Any], pieces: Sequence[Piece], ids: dict[str, int]) -> dict[str, Any]:
    """GPT-2's kind: `pre` says what cuts the text."""
    name = metadata.get(KEY + "pre")
    if name not in (None, "", "default") and (not isinstance(name, str) or name not in CUTS):
        raise TokenizerUnsupported(
            f"{KEY}pre is {name!r}, which is not known here; known are {', '.join(sorted(CUTS))} and default"
        )
    cut = CUTS.get(name or "default", DEFAULT)
    model = {**_merged(metadata, ids), "ignore_merges": cut.ignore_merges}
    return {"model": model, "pre_tokenizer": pre_tokenizer(cut), "decoder": _LEVEL}


def pre_tokenizer(cut: Cut) -> dict[str, Any]:
    """What cuts text in a `tokenizer.json`, spelled as this package writes its named patterns."""
    *first, last = cut.regexes
    by_level = last == GPT2  # ByteLevel has GPT-2's expression built in
    steps: list[dict[str, Any]] = [
        {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
        for regex in (first if by_level else cut.regexes)
    ]
    steps.append({**_LEVEL, "use_regex": by_level})
    return steps[0] if len(steps) == 1 else {"type": "Sequence", "pretokenizers": steps}


def _merged(metadata: Mapping[str, Any], ids: dict[str, int]) -> dict[str, Any]:
    """A model with a list of merges."""
    merges = []
    for place, merge in enumerate(texts(metadata, "merges")):
        space = merge.find(" ", 1)
        if space < 0:
            raise TokenizerFormatError(f"{KEY}merges[{place}] is {merge[:60]!r}; a merge is two tokens and a space")
        pair = [merge[:space], merge[space + 1 :]]
        lacking = next((token for token in (*pair, "".join(pair)) if token not in ids), None)
        if lacking is not None:
            raise TokenizerFormatError(f"{KEY}merges[{place}]: {lacking[:60]!r} is not in {KEY}tokens")
        merges.append(pair)
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "vocab": ids,
        "merges": merges,
    }


def _gemma4(metadata: Mapping[str, Any], pieces: Sequence[Piece], ids: dict[str, int]) -> dict[str, Any]:
    """BPE by merges over characters, bytes for others; a run of line ends is separate, and one token if it is one."""
    ends = sorted((piece.text for piece in pieces if set(piece.text) == {"\n"}), key=len)
    model = {**_merged(metadata, ids), "byte_fallback": True, "fuse_unk": True}
    # A run of line ends that is a token is that token: merges that come first, the longest before, make it so.
    first = [[shorter, "\n"] for shorter, longer in pairwise(ends) if longer == shorter + "\n"]
    if len(first) + 1 == len(ends):
        model["merges"] = [*first[::-1], *(merge for merge in model["merges"] if set(merge[0] + merge[1]) != {"\n"})]
    return {
        "model": model,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": r"\n+"}, "behavior": "Isolated", "invert": False},
        "decoder": decoder(prefix=False),
    }


def _scored(metadata: Mapping[str, Any], pieces: Sequence[Piece], ids: dict[str, int]) -> dict[str, Any]:
    """SentencePiece BPE. A space comes before the text and, unlike there, after each control token in it."""
    prefix = boolean(metadata, "add_space_prefix", default=True)
    steps = normalizers("", extra_spaces_removed=False, prefix=prefix)
    unknown = token_id(metadata, "unknown_token_id", len(pieces), default=None)
    return {
        "model": bpe_model(pieces, ids, unknown),
        "normalizer": {"type": "Sequence", "normalizers": steps},
        "decoder": decoder(prefix=prefix),
    }


def _unigram(metadata: Mapping[str, Any], pieces: Sequence[Piece], ids: dict[str, int]) -> dict[str, Any]:
    """SentencePiece Unigram."""
    unknown = token_id(metadata, "unknown_token_id", len(pieces), default=2)
    prefix = boolean(metadata, "add_space_prefix", default=False)
    if unknown is None:
        raise TokenizerFormatError(f"{KEY}unknown_token_id is 2 by default, and there are {len(ids)} tokens; set it")
    charsmap = bytes(byte & 0xFF for byte in numbers(metadata, "precompiled_charsmap", -128, 255))
    steps = normalizers(
        base64.b64encode(charsmap).decode(),
        extra_spaces_removed=boolean(metadata, "remove_extra_whitespaces", default=False),
        prefix=prefix,
        spelled_spaces_end=False,
    )
    byte_fallback = any(piece.kind is Kind.BYTE for piece in pieces)
    return {
        "model": unigram_model(pieces, unknown, byte_fallback=byte_fallback),
        "normalizer": {"type": "Sequence", "normalizers": steps},
        "pre_tokenizer": no_byte_is_spelled() if byte_fallback else None,
        "decoder": decoder(prefix=prefix),
    }


def _words(metadata: Mapping[str, Any], pieces: Sequence[Piece], ids: dict[str, int]) -> dict[str, Any]:
    """WordPiece. GGUF spells the beginning of a word (U+2581), `tokenizer.json` what continues one (`##`)."""
    unknown = token_id(metadata, "unknown_token_id", len(pieces), default=100)
    if unknown is None:
        raise TokenizerFormatError(f"{KEY}unknown_token_id is 100 by default, and there are {len(ids)} tokens; set it")
    plain = (Kind.NORMAL, Kind.UNUSED, Kind.USER_DEFINED)
    spelled = {
        piece.text.removeprefix(SPACE)
        if piece.text.startswith(SPACE)
        else "##" + piece.text
        if piece.kind in plain
        else piece.text: place
        for place, piece in enumerate(pieces)
    }
    if len(spelled) != len(pieces):
        raise TokenizerFormatError(f"{KEY}tokens: {len(pieces) - len(spelled)} tokens are spelled as others are")
    lower = boolean(metadata, "normalizer.lowercase", default=True)
    model = {
        "type": "WordPiece",
        "unk_token": pieces[unknown].text,
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 1 << 20,
        "vocab": spelled,
    }
    return {
        "model": model,
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": boolean(metadata, "normalizer.strip_accents", default=lower),
            "lowercase": lower,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": False},
    }


def _strips_right(metadata: Mapping[str, Any], added: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Phi-3's tokens take the white space after them. GGUF has no field for it: llama.cpp goes by the model's name."""
    name = metadata.get("general.name")
    if not isinstance(name, str) or not ("phi-3" in name.lower() or "phi3" in name.lower()):
        return added
    keeps = ("<unk>", "<s>", "<|endoftext|>")
    return [{**token, "rstrip": token["content"] not in keeps} for token in added]
