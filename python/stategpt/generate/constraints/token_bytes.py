"""The bytes of each token, as text that follows a prompt: what a grammar is matched against.

Tokens without bytes are never allowed: added tokens (control tokens among them), the ids of a padded vocabulary, and
all but one of several tokens with equal bytes. Where a vocabulary has a token for a character and one for its byte
(`A` and `<0x41>`), the character's is kept: it is what the tokenizer writes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from stategpt.errors import ConstraintError, UnknownToken
from stategpt.tokenizer.byte_level import bytes_of
from stategpt.tokenizer.hf_decoders import steps_of
from stategpt.tokenizer.hf_tokenizer import HfTokenizer
from stategpt.tokenizer.tokenizer import AnyTokenizer

LONGEST_BYTES = 1000
"""Longer tokens are never allowed: llguidance's prefix tree takes 1,024 bytes."""
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_LOST = (
    "the text of a token depends on the tokens around it there, so no grammar can be followed token by token. Use a "
    "byte-level or SentencePiece tokenizer."
)


def token_bytes(tok: AnyTokenizer, model_vocab: int) -> list[bytes]:
    """Returns the bytes of every id below `model_vocab`; empty for those that a constraint never allows.

    Raises:
        ConstraintError: tokens of this kind of vocabulary have no fixed bytes (WordPiece).
    """
    read = _hf_bytes(tok) if isinstance(tok, HfTokenizer) else tok.token_bytes
    never = {*tok.special_tokens.values()}
    table = [b""] * model_vocab
    by_bytes: dict[bytes, int] = {}
    for token in range(min(tok.vocab_size, model_vocab)):
        if token in never:
            continue
        try:
            spelled = read(token)
        except UnknownToken:  # a gap in the numbers
            continue
        if not spelled or len(spelled) > LONGEST_BYTES:
            continue
        other = by_bytes.setdefault(spelled, token)
        if other != token:
            if not isinstance(tok, HfTokenizer) or not _is_fallback(tok, other):
                continue
            table[other] = b""
            by_bytes[spelled] = token
        table[token] = spelled
    return table


def _is_fallback(tok: HfTokenizer, token: int) -> bool:
    return _BYTE.fullmatch(tok._token(token)) is not None


def _hf_bytes(tok: HfTokenizer) -> Callable[[int], bytes]:
    """How a token of the `tokenizers` library is read, by the steps of the file's decoder."""
    decoder: Mapping[str, Any] | None = tok._fields["decoder"]
    unknown = tok._unknown
    steps = steps_of(decoder)
    if [step.get("type") for step in steps] == ["ByteLevel"]:
        return lambda token: b"" if tok._token(token) == unknown else bytes_of(tok._token(token))
    changes = [_change(step) for step in steps]
    if not changes:
        raise ConstraintError(f"this tokenizer has no decoder, which joins its tokens by spaces: {_LOST}")
    falls_back = any(step.get("type") == "ByteFallback" for step in steps)

    def read(token: int) -> bytes:
        text = tok._token(token)
        if text == unknown:
            return b""
        found = _BYTE.fullmatch(text) if falls_back else None
        if found is not None:
            return bytes([int(found[1], 16)])
        for change in changes:
            text = change(text)
        return text.encode()

    return read


def _change(step: Mapping[str, Any]) -> Callable[[str], str]:
    """What a step of the decoder makes of one token.

    `Strip` and the prefix of `Metaspace` concern the first token of a whole text, which is the prompt's.
    """
    kind = step.get("type")
    pattern = (step.get("pattern") or {}).get("String") if kind == "Replace" else None
    if isinstance(pattern, str) and pattern:
        content = str(step.get("content", ""))
        return lambda text: text.replace(pattern, content)
    if kind == "Metaspace":
        mark = str(step.get("replacement", "\u2581"))
        return lambda text: text.replace(mark, " ")
    if kind in ("ByteFallback", "Fuse") or (kind == "Strip" and step.get("stop") == 0):
        return lambda text: text
    raise ConstraintError(f"the decoder of this tokenizer has a step {kind!r}: {_LOST}")
