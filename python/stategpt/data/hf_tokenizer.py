"""The `tokenizers` library behind the methods of `Tokenizer`, for files that ask for what our engine does not cover.

`Tokenizer.load` returns an `HfTokenizer` by itself, with one logged line that names what is not covered. It is some
hundred times slower, knows text only (no bytes that are not UTF-8), and is not what token shards are written with.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from stategpt import _native
from stategpt.data.ragged import Ragged
from stategpt.errors import (
    InvalidArgument,
    MissingExtra,
    TokenizerFormatError,
    TokenizerUnsupported,
    UnknownToken,
)

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from stategpt.data.tokenizer import Control

Ids: TypeAlias = npt.NDArray[np.uint32]
Special: TypeAlias = Literal["text", "allow"]


class HfTokenizer:
    """A tokenizer of the `tokenizers` library. By default text is text: no added token comes out of it.

    Example:
        >>> tok = HfTokenizer.load("wordpiece.json")  # doctest: +SKIP
        >>> tok.decode(tok.encode("to be"))  # doctest: +SKIP
        'to be'
    """

    __slots__ = ("_added", "_json", "_plain", "_special", "_whole")

    def __init__(self, json: str) -> None:
        """Reads the text of a `tokenizer.json`.

        Raises:
            MissingExtra: `tokenizers` is not installed.
            TokenizerFormatError: it cannot read the file either.
        """
        tokenizers = _library()
        try:
            self._whole = tokenizers.Tokenizer.from_str(json)
            self._plain = tokenizers.Tokenizer.from_str(json)
        except Exception as error:  # the library raises nothing narrower
            raise TokenizerFormatError(f"tokenizer: the tokenizers library cannot read it: {error}") from error
        self._json = json
        for each in (self._whole, self._plain):  # ids of a text, whatever a model's own tools pad or cut it to
            each.no_padding()
            each.no_truncation()
        decoder: dict[int, Any] = self._whole.get_added_tokens_decoder()
        self._added = {token.content: number for number, token in sorted(decoder.items())}
        self._special = frozenset(number for number, token in decoder.items() if token.special)
        self._forget_added_tokens(tokenizers, decoder)

    def _forget_added_tokens(self, tokenizers: Any, decoder: dict[int, Any]) -> None:
        """Makes `_plain` take added tokens for text: the flag that does so is heeded for special ones only."""
        self._plain.add_special_tokens([_as_special(tokenizers, token) for token in decoder.values()])
        self._plain.encode_special_tokens = True

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> HfTokenizer:
        """Reads a `tokenizer.json`.

        Raises:
            MissingExtra, TokenizerFormatError: as the constructor.
        """
        return cls(Path(path).read_text(encoding="utf-8"))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file it came from, all or nothing."""
        _native.publish_file(os.fspath(path), self._json.encode())

    def encode(self, text: str, *, special: Special = "text", max_tokens: int | None = None) -> Ids:
        """The ids of a text: uint32 [n].

        Args:
            special: "text": text that spells an added token is text; "allow": it becomes the token.
            max_tokens: only the first so many ids (the library encodes the text whole).

        Raises:
            InvalidArgument: the text holds a lone surrogate.
        """
        return np.asarray(self._encoded([text], special)[0].ids[:max_tokens], dtype=np.uint32)

    def encode_segments(self, segments: Iterable[str | Control]) -> Ids:
        """The ids of a template: text never yields a control token, `Control("<|user|>")` is exactly that one."""
        parts = [self.encode(part) if isinstance(part, str) else [self.special_id(part.name)] for part in segments]
        return np.concatenate([np.empty(0, dtype=np.uint32), *(np.asarray(part, dtype=np.uint32) for part in parts)])

    def encode_bytes(self, data: bytes, *, special: Special = "text") -> Ids:
        """The ids of UTF-8.

        Raises:
            InvalidArgument: the bytes are not UTF-8, which the library cannot encode.
        """
        try:
            return self.encode(data.decode(), special=special)
        except UnicodeDecodeError as error:
            raise InvalidArgument(
                f"the bytes are not UTF-8 at {error.start}; this tokenizer knows text only"
            ) from error

    def encode_batch(self, texts: Iterable[str], *, threads: int | None = None, special: Special = "text") -> Ragged:
        """The ids of many texts, one document each. The library chooses its threads itself."""
        return Ragged.of([encoding.ids for encoding in self._encoded(list(texts), special)])

    def encode_with_offsets(self, text: str, *, special: Special = "text") -> tuple[Ids, npt.NDArray[np.uint64]]:
        """Ids [n] and byte offsets [n + 1], taken from the library's offsets in characters: each token's beginning."""
        encoding = self._encoded([text], special)[0]
        ends = np.cumsum([0, *(len(character.encode()) for character in text)], dtype=np.uint64)
        starts = [ends[start] for start, _ in encoding.offsets]
        offsets = np.maximum.accumulate(np.asarray([*starts, ends[-1]], dtype=np.uint64))
        return np.asarray(encoding.ids, dtype=np.uint32), offsets

    def count(self, text: str, *, special: Special = "text") -> int:
        """How many ids `encode` gives."""
        return len(self._encoded([text], special)[0].ids)

    def pieces(self, text: str) -> list[str]:
        """What a text is cut into before it is encoded; normalised, and without what the file says to remove."""
        normalizer, cutter = self._plain.normalizer, self._plain.pre_tokenizer
        normal = normalizer.normalize_str(text) if normalizer is not None else text
        if cutter is None:
            return [normal] if normal else []
        return [normal[start:end] for _, (start, end) in cutter.pre_tokenize_str(normal)]

    def decode(self, ids: npt.NDArray[np.integer] | Sequence[int], *, skip_special: bool = False) -> str:
        """The text of ids.

        Args:
            skip_special: leave special tokens out.

        Raises:
            UnknownToken: an id outside the vocabulary.
        """
        held = [int(token) for token in ids]
        for token in held:
            self._token(token)
        text: str = self._whole.decode(held, skip_special_tokens=skip_special)
        return text

    def decode_bytes(self, ids: npt.NDArray[np.integer] | Sequence[int], *, skip_special: bool = False) -> bytes:
        """The UTF-8 of `decode`."""
        return self.decode(ids, skip_special=skip_special).encode()

    def decoder(self) -> HfStreamDecoder:
        """A decoder for ids that come one by one."""
        return HfStreamDecoder(self)

    def decode_batch(self, ragged: Ragged, *, skip_special: bool = False) -> list[str]:
        """The text of each document."""
        return [self.decode(ids.tolist(), skip_special=skip_special) for ids in ragged]

    def token_bytes(self, token: int) -> bytes:
        """The bytes of one token as the library decodes it alone.

        Raises:
            UnknownToken: an id outside the vocabulary.
        """
        self._token(token)
        text: str = self._whole.decode([token], skip_special_tokens=False)
        return text.encode()

    def special_id(self, text: str) -> int:
        """The id of an added token.

        Raises:
            InvalidArgument: there is no such token; the message lists those there are.
        """
        if text not in self._added:
            raise InvalidArgument(f"{text!r} is not a special token here; this vocabulary has {list(self._added)}")
        return self._added[text]

    @property
    def special_tokens(self) -> dict[str, int]:
        """Tokens that plain text never yields, with their ids, in order of id."""
        return dict(self._added)

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        return max(self._whole.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    @property
    def pattern(self) -> str:
        """What cuts the text, in the library's words."""
        return str(self._whole.pre_tokenizer)

    @property
    def fingerprint(self) -> str:
        """`sha256:` and the hash of the file: equal for equal files only."""
        return f"sha256:{hashlib.sha256(self._json.encode()).hexdigest()}"

    def __repr__(self) -> str:
        return f"HfTokenizer(vocab_size={self.vocab_size}, special_tokens={self.special_tokens})"

    def _encoded(self, texts: list[str], special: str) -> list[Any]:
        if special not in ("text", "allow"):
            raise InvalidArgument(f"special is {special!r}; choose one of text, allow")
        for place, text in enumerate(texts):
            if not isinstance(text, str):
                raise InvalidArgument(f"text {place} is {type(text).__name__}, not str; decode it first")
            if _SURROGATE.search(text):
                raise InvalidArgument(f"text {place} is not valid Unicode; drop lone surrogates")
        library = self._whole if special == "allow" else self._plain
        encoded: list[Any] = library.encode_batch(texts, add_special_tokens=False)
        return encoded

    def _token(self, token: int) -> str:
        found = self._whole.id_to_token(token) if 0 <= token < 2**32 else None
        if found is None:
            raise UnknownToken(f"token id {token} is not in this vocabulary of {self.vocab_size} ids")
        return str(found)


class HfStreamDecoder:
    """Decodes ids as they come: text that ends in U+FFFD waits for the rest of its character.

    A token's text can depend on the one before it, so the last stretch given out is decoded again with what follows.
    """

    __slots__ = ("_given", "_ids", "_tokenizer")

    def __init__(self, tokenizer: HfTokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._given = ""

    def push(self, token: int) -> str:
        """The text that this id completes.

        Raises:
            UnknownToken: an id outside the vocabulary; the decoder is as before.
        """
        text = self._tokenizer.decode([*self._ids, token])
        self._ids.append(token)
        if text.endswith("\ufffd") or not text.startswith(self._given):
            return ""
        new = text[len(self._given) :]
        if new:
            self._ids = self._ids[-1:]
            self._given = self._tokenizer.decode(self._ids)
            if not text.endswith(self._given):  # a part of a character, or a token that reads otherwise alone
                self._ids, self._given = [], ""
        return new

    def finish(self) -> str:
        """What is left. Then it starts anew."""
        text = self._tokenizer.decode(self._ids)
        given, self._ids, self._given = self._given, [], ""
        return text[len(given) :] if text.startswith(given) else text


def instead(path: str | os.PathLike[str], unsupported: TokenizerUnsupported) -> HfTokenizer:
    """The tokenizer of a file that our engine does not cover.

    Raises:
        TokenizerUnsupported: `tokenizers` is not installed.
        TokenizerFormatError: it cannot read the file either.
    """
    try:
        made = HfTokenizer.load(path)
    except MissingExtra as error:
        raise TokenizerUnsupported(
            f"{unsupported}; pip install 'stategpt[hf]' to use the tokenizers library"
        ) from error
    _log.warning("%s; using the tokenizers library, which is slower", unsupported)
    return made


_SURROGATE = re.compile("[\ud800-\udfff]")


def _library() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise MissingExtra("the tokenizers library is needed for this file; pip install 'stategpt[hf]'") from error
    return tokenizers


def _as_special(tokenizers: Any, token: Any) -> Any:
    return tokenizers.AddedToken(
        token.content,
        single_word=token.single_word,
        lstrip=token.lstrip,
        rstrip=token.rstrip,
        normalized=token.normalized,
        special=True,
    )
