"""A tokenizer as llguidance needs it: bytes of tokens, and an encoder that never writes a control token."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stategpt.arguments import whole
from stategpt.errors import ConstraintError, InvalidArgument, StategptError
from stategpt.extras import require
from stategpt.tokenizer.hf_tokenizer import HfTokenizer
from stategpt.tokenizer.tokenizer import AnyTokenizer

from .json_text import Marks, Sorted
from .token_bytes import token_bytes

Mask = NDArray[np.uint32]
_KEPT = 4
"""Vocabularies kept; each holds a prefix tree of its tokens, some MB."""


class Vocabulary:
    """The tokens of `tok` for a model with `model_vocab` ids, whose texts each of `ends` ends.

    llguidance is given bytes of plain tokens only, and encodes by `encode`: a schema that spells a control token gives
    the plain tokens of that text.
    """

    def __init__(self, tok: AnyTokenizer, model_vocab: int, ends: Sequence[int]) -> None:
        self.tok = tok
        self.model_vocab = whole("model_vocab", model_vocab, 1)
        self.ends = tuple(dict.fromkeys(whole("an end id", end) for end in ends))
        if not self.ends:
            raise InvalidArgument("ends is empty; give the ids that end a completion, as Engine.end_ids")
        if outside := [end for end in self.ends if end >= self.model_vocab]:
            raise InvalidArgument(f"end id {outside[0]} is outside the model's vocabulary of {self.model_vocab} ids")
        if tok.vocab_size > self.model_vocab:
            raise InvalidArgument(
                f"the tokenizer has {tok.vocab_size} tokens, the model {self.model_vocab}; take the model's tokenizer"
            )
        self.tokens = token_bytes(tok, self.model_vocab)
        for end in self.ends:
            self.tokens[end] = b""
        self.fingerprint = f"{tok.fingerprint} {self.model_vocab} {self.ends}"
        self.words = -(-self.model_vocab // 32)
        self.plain = self.mask_of(token for token, spelled in enumerate(self.tokens) if spelled)
        """Tokens with bytes: all that a text can hold."""
        self.ends_mask = self.mask_of(self.ends)
        self.marks = Marks(self.tokens)
        self.beginning_with = Sorted(self.tokens).beginning_with
        self._by_bytes = {spelled: token for token, spelled in enumerate(self.tokens) if spelled}
        self._longest = max(map(len, self._by_bytes), default=0)
        self.library = self._library()

    def mask_of(self, ids: Iterable[int]) -> Mask:
        """Returns the mask of some ids: bit i of word i // 32."""
        mask = np.zeros(self.words, dtype=np.uint32)
        held = np.fromiter(ids, dtype=np.int64)
        np.bitwise_or.at(mask, held // 32, np.uint32(1) << (held % 32).astype(np.uint32))
        return mask

    def encode(self, text: str) -> list[int]:
        """Returns plain tokens whose bytes are those of a text that follows other text.

        They are the tokenizer's own, unless it changes the text (normalization): then the longest token is taken each
        time, up to the first byte that none begins with. It never raises: llguidance calls it.
        """
        try:
            tok = self.tok
            ids = (tok._encode_after(text, "text") if isinstance(tok, HfTokenizer) else tok.encode(text)).tolist()
        except StategptError:
            ids = []
        raw = text.encode()
        if b"".join(self.tokens[token] for token in ids) == raw and all(self.tokens[token] for token in ids):
            return list(map(int, ids))
        return self._longest_tokens(raw)

    def _longest_tokens(self, raw: bytes) -> list[int]:
        ids: list[int] = []
        start = 0
        while start < len(raw):
            ends = range(min(len(raw), start + self._longest), start, -1)
            found = next((end for end in ends if raw[start:end] in self._by_bytes), None)
            if found is None:
                break
            ids.append(self._by_bytes[raw[start:found]])
            start = found
        return ids

    def control_id(self, name: str) -> int | None:
        """Returns the id of an added token that a format writes, or None where the vocabulary has none."""
        found = self.tok.special_tokens.get(name)
        return None if found is None or found >= self.model_vocab else int(found)

    def bytes_of(self, ids: Iterable[int]) -> bytes:
        """Returns the text of ids; ends and control tokens have none."""
        return b"".join(self.tokens[token] for token in ids)

    def _library(self) -> Any:
        require("llguidance", "A constraint", "constraints")
        import llguidance

        wrapper: Any = _Wrapper(self)  # it has what LLTokenizer reads
        try:
            return llguidance.LLTokenizer(wrapper, eos_token=list(self.ends))
        except ValueError as error:
            raise ConstraintError(f"llguidance cannot take this vocabulary: {error}") from None


class _Wrapper:
    """What llguidance reads of a tokenizer."""

    is_tokenizer_wrapper = True
    bos_token_id = None
    special_token_ids: tuple[int, ...] = ()

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.eos_token_id = vocabulary.ends[0]
        self.tokens = vocabulary.tokens
        self._encode = vocabulary.encode

    def __call__(self, text: str) -> list[int]:
        return self._encode(text)


_lock = threading.Lock()
_made: OrderedDict[tuple[int, int, tuple[int, ...]], Vocabulary] = OrderedDict()


def vocabulary(tok: AnyTokenizer, model_vocab: int, ends: Sequence[int]) -> Vocabulary:
    """Returns the vocabulary of a tokenizer; the last few are kept.

    Raises:
        InvalidArgument: no end id, or one outside the vocabulary; more tokens than the model has.
        ConstraintError: tokens have no fixed bytes.
        MissingExtra: llguidance is not installed.
    """
    key = (id(tok), int(model_vocab), tuple(map(int, ends)))
    with _lock:
        if key in _made:  # it holds the tokenizer, so the id is still that one's
            _made.move_to_end(key)
            return _made[key]
    made = Vocabulary(tok, model_vocab, ends)
    with _lock:
        _made[key] = made
        while len(_made) > _KEPT:
            _made.popitem(last=False)
    return made
