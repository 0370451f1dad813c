"""A SentencePiece `tokenizer.model` as a `tokenizer.json` with the same ids.

User-defined symbols are added tokens that are not flagged special: `special="unflagged"` gives SentencePiece's ids of
texts that hold them, `special="text"` takes them as text.
"""

from __future__ import annotations

import base64
import json

from stategpt.errors import TokenizerFormatError, TokenizerUnsupported
from stategpt.tokenizer.piece_vocabulary import (
    Kind,
    added_tokens,
    bpe_model,
    checked_pieces,
    decoder,
    no_byte_is_spelled,
    normalizers,
    refuse_unused,
    unigram_model,
)
from stategpt.tokenizer.sentencepiece_file import BPE, UNIGRAM, SentencePieceModel, read_model


def tokenizer_json(data: bytes, where: str = "tokenizer.model") -> str:
    """The text of a `tokenizer.json` for the `tokenizers` library.

    Args:
        data: the file's bytes.
        where: its name, for errors.

    Raises:
        TokenizerFormatError: it is no SentencePiece model; the message has the byte or the piece.
        TokenizerUnsupported: a model whose ids the library cannot give; the message has the setting.
    """
    model = read_model(data, where)
    ids = checked_pieces(model.pieces, where)
    _refuse(model, where)
    unknown = _unknown(model, where)
    if model.is_bpe:
        fields = bpe_model(model.pieces, ids, unknown)
        fields["byte_fallback"] = model.byte_fallback
    else:
        fields = unigram_model(model.pieces, unknown, byte_fallback=model.byte_fallback)
    charsmap = base64.b64encode(model.charsmap).decode()
    steps = normalizers(charsmap, extra_spaces_removed=model.removes_extra_spaces, prefix=model.adds_prefix)
    cuts = not model.is_bpe and model.byte_fallback
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": added_tokens(model.pieces),
            "normalizer": {"type": "Sequence", "normalizers": steps},
            "pre_tokenizer": no_byte_is_spelled() if cuts else None,
            "post_processor": None,
            "decoder": decoder(prefix=model.adds_prefix),
            "model": fields,
        },
        ensure_ascii=False,
    )


def _unknown(model: SentencePieceModel, where: str) -> int:
    """The piece for characters without one: the one of that kind."""
    found = [place for place, piece in enumerate(model.pieces) if piece.kind is Kind.UNKNOWN]
    if len(found) != 1:
        raise TokenizerFormatError(f"{where}: {len(found)} pieces are of the unknown kind; there must be one")
    return found[0]


def _refuse(model: SentencePieceModel, where: str) -> None:
    """Refuses what the library cannot do exactly."""
    if model.kind not in (UNIGRAM, BPE):
        raise TokenizerUnsupported(f"{where}: model_type {model.kind} is not supported, only unigram (1) and BPE (2)")
    refuse_unused(model.pieces, where)
    user_defined = any(piece.kind is Kind.USER_DEFINED for piece in model.pieces)
    for found, setting in (
        (model.space_is_suffix, "treat_whitespace_as_suffix"),
        (not model.escapes_spaces, "escape_whitespaces = false"),
        (user_defined and model.removes_extra_spaces, "remove_extra_whitespaces with user-defined symbols"),
        (user_defined and model.adds_prefix, "add_dummy_prefix with user-defined symbols"),
    ):
        if found:
            raise TokenizerUnsupported(f"{where}: {setting} is not supported")
    if model.byte_fallback:
        kinds = {piece.text for piece in model.pieces if piece.kind is Kind.BYTE}
        lacking = [f"<0x{byte:02X}>" for byte in range(256) if f"<0x{byte:02X}>" not in kinds]
        if lacking:
            raise TokenizerFormatError(f"{where}: byte_fallback is set and the piece {lacking[0]} is missing")
