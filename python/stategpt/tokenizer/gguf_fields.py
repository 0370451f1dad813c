"""Fields of a GGUF file's metadata that describe its tokenizer, checked: types, ranges, equal lengths."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from stategpt.errors import TokenizerFormatError
from stategpt.tokenizer.piece_vocabulary import Kind, Piece

KEY = "tokenizer.ggml."


def piece_list(metadata: Mapping[str, Any]) -> list[Piece]:
    """The tokens with scores (0 without any) and kinds (NORMAL without any).

    Raises:
        TokenizerFormatError: no tokens, another type, lists of unlike lengths.
    """
    names = texts(metadata, "tokens")
    # llama.cpp gives a token without text this name.
    names = [name or f"[EMPTY_{place}]" for place, name in enumerate(names)]
    scores = _as_long(metadata, "scores", names)
    kinds = _as_long(metadata, "token_type", names)
    pieces = []
    for place, name in enumerate(names):
        score = 0.0 if scores is None else scores[place]
        kind = Kind.NORMAL if kinds is None else kinds[place]
        if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
            raise TokenizerFormatError(f"{KEY}scores[{place}] is {score!r}; it must be a finite number")
        # 0 is "undefined", which llama.cpp treats as it does a normal token in text.
        if isinstance(kind, bool) or not isinstance(kind, int) or kind not in (0, *Kind):
            raise TokenizerFormatError(f"{KEY}token_type[{place}] is {kind!r}; it must be 0 to 6")
        pieces.append(Piece(name, float(score), Kind(kind or 1)))
    return pieces


def texts(metadata: Mapping[str, Any], name: str) -> list[str]:
    """A list of texts.

    Raises:
        TokenizerFormatError: it is missing, or something else.
    """
    found = _list(metadata, name)
    if found is None:
        raise TokenizerFormatError(f"{KEY}{name} is missing; the file has no tokenizer of this kind")
    for place, text in enumerate(found):
        if not isinstance(text, str):
            raise TokenizerFormatError(f"{KEY}{name}[{place}] is {type(text).__name__}; it must be a text")
    return list(found)


def numbers(metadata: Mapping[str, Any], name: str, least: int, most: int) -> list[int]:
    """A list of whole numbers, or none.

    Raises:
        TokenizerFormatError: it is something else.
    """
    found = [] if (held := _list(metadata, name)) is None else held
    for place, number in enumerate(found):
        if type(number) is not int or not least <= number <= most:
            raise TokenizerFormatError(f"{KEY}{name}[{place}] is {number!r}; it must be {least} to {most}")
    return list(found)


def boolean(metadata: Mapping[str, Any], name: str, *, default: bool) -> bool:
    """True or false.

    Raises:
        TokenizerFormatError: it is something else.
    """
    found = metadata.get(KEY + name, default)
    if not isinstance(found, bool):
        raise TokenizerFormatError(f"{KEY}{name} is {found!r}; it must be true or false")
    return found


def token_id(metadata: Mapping[str, Any], name: str, tokens: int, *, default: int | None) -> int | None:
    """The id of a token; the default where the file does not say it and there is such a token.

    Raises:
        TokenizerFormatError: it is something else, or no token has it.
    """
    found = metadata.get(KEY + name)
    if found is None:
        return default if default is not None and default < tokens else None
    if type(found) is not int or not 0 <= found < tokens:
        raise TokenizerFormatError(f"{KEY}{name} is {found!r}; it must be the id of one of {tokens} tokens")
    return found


def _as_long(metadata: Mapping[str, Any], name: str, tokens: Sequence[str]) -> Sequence[Any] | None:
    found = _list(metadata, name)
    if found is not None and len(found) != len(tokens):
        raise TokenizerFormatError(f"{KEY}{name} has {len(found)} entries for {len(tokens)} tokens")
    return found


def _list(metadata: Mapping[str, Any], name: str) -> Sequence[Any] | None:
    found = metadata.get(KEY + name)
    if found is not None and not isinstance(found, list | tuple):
        # Arrays of numpy are lists of Python numbers first.
        found = found.tolist() if hasattr(found, "tolist") else found
        if not isinstance(found, list):
            raise TokenizerFormatError(f"{KEY}{name} is {type(found).__name__}; it must be a list")
    return found
