"""A `tokenizer.json` for the `tokenizers` library: read, and as the file of the same model without its added tokens."""

from __future__ import annotations

import secrets
from collections.abc import Set
from typing import Any

from stategpt.errors import InvalidArgument, TokenizerFormatError
from stategpt.json_reader import Optional, Record, check_value, parse_json

_FILE = Record({"model": Record({}), "decoder": Optional(Record({}))})


def parsed(text: str, where: str) -> dict[str, Any]:
    """The fields of a file, as the library gets them: without what a template, padding or truncation would change.

    Raises:
        TokenizerFormatError: it is not Unicode, no JSON, or no object with a model.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TokenizerFormatError(
            f"{where}: character {error.start} is a lone surrogate; it is no JSON text"
        ) from None
    value = parse_json(text, where=where, error=TokenizerFormatError)
    fields: dict[str, Any] = check_value(value, _FILE, where=where, error=TokenizerFormatError)
    # What a template adds is not the text's, and offsets are not to be trimmed of white space.
    return {**fields, "post_processor": None, "padding": None, "truncation": None}


def unknown_token(model: dict[str, Any]) -> str | None:
    """The token for text that the vocabulary lacks: the one added token that plain text yields."""
    vocabulary, place = model.get("vocab"), model.get("unk_id")
    if isinstance(vocabulary, list):  # Unigram
        return str(vocabulary[place][0]) if isinstance(place, int) and place < len(vocabulary) else None
    named = model.get("unk_token")
    return named if isinstance(named, str) else None


def without_tokens(fields: dict[str, Any], hidden: Set[str], *, kept: Set[str] = frozenset()) -> dict[str, Any]:
    """The same file, whose model does not know the tokens `hidden` and which has no added tokens but those `kept`.

    So no text can yield them, whatever the model's kind: not by a match, not by merging, not as a whole word.

    Raises:
        InvalidArgument: text needs one of them: without it, a character would be lost.
    """
    model = fields["model"]
    vocabulary = model["vocab"]
    if isinstance(vocabulary, list):
        # A Unigram id is a place in the list, so a piece stays; under a name that no text can be made to spell.
        # The unknown piece is known by its place, so no text need spell it.
        unspelled = {*hidden, unknown_token(model)}
        left: Any = [
            [f"\0{secrets.token_hex(16)}", score] if piece in unspelled else [piece, score]
            for piece, score in vocabulary
        ]
    else:
        left = {token: number for token, number in vocabulary.items() if token not in hidden}
    changed = {**model, "vocab": left}
    if "merges" in model:
        _refuse_needed(model, hidden)
        changed["merges"] = [merge for merge in model["merges"] if hidden.isdisjoint(_joined(model, merge))]
    added = [token for token in fields.get("added_tokens") or [] if token["content"] in kept]
    return {**fields, "added_tokens": added, "model": changed}


def _joined(model: dict[str, Any], merge: str | list[str]) -> set[str]:
    """The tokens of a merge: its parts and what they become."""
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if len(parts) != 2:
        return set()
    left, right = parts
    return {left, right, left + right.removeprefix(model.get("continuing_subword_prefix") or "")}


def _refuse_needed(model: dict[str, Any], hidden: Set[str]) -> None:
    """BPE drops a character that has no token, where there is no unknown token."""
    vocabulary = model["vocab"]
    prefix, suffix = model.get("continuing_subword_prefix") or "", model.get("end_of_word_suffix") or ""
    by_bytes = bool(model.get("byte_fallback")) and all(f"<0x{byte:02X}>" in vocabulary for byte in range(256))
    if by_bytes or model.get("unk_token") is not None:
        return
    for token in hidden:
        if token in vocabulary and len(token.removeprefix(prefix).removesuffix(suffix)) == 1:
            raise InvalidArgument(
                f"the added token {token!r} is the only one of its character, which plain text needs; "
                'use special="unflagged" or special="allow" with this file'
            )
