"""The `tokenizers` library behind the methods of `Tokenizer`, for files that ask for what our engine does not cover.

`Tokenizer.load` returns an `HfTokenizer` by itself, with one logged line that names what is not covered. It is some
hundred times slower, and not what token shards are written with. It knows text only: a method that would take other
bytes, or give them where the vocabulary is not byte-level, raises an `InvalidArgument` with its name.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stategpt import _native
from stategpt.arguments import Documents, Errors, Ids, Special, one_of, thread_count, whole
from stategpt.data.byte_level import byte_offsets, bytes_of
from stategpt.data.control import Control, shown, text_or_id
from stategpt.data.hf_stream import HfStreamDecoder
from stategpt.data.ragged import Ragged
from stategpt.errors import (
    CorpusError,
    InvalidArgument,
    MissingExtra,
    StorageError,
    TokenizerFormatError,
    TokenizerUnsupported,
    UnknownToken,
)
from stategpt.extras import install_hint, missing_extra

_log = logging.getLogger(__name__)


class HfTokenizer:
    """A tokenizer of the `tokenizers` library. By default text is text: no added token comes out of it.

    Example:
        >>> tok = HfTokenizer.load("wordpiece.json")  # doctest: +SKIP
        >>> tok.decode(tok.encode("to be"))  # doctest: +SKIP
        'to be'
    """

    __slots__ = ("_added", "_is_byte_level", "_json", "_plain", "_special", "_whole")

    def __init__(self, text: str) -> None:
        """Reads the text of a `tokenizer.json`.

        Raises:
            MissingExtra: `tokenizers` is not installed.
            TokenizerFormatError: it cannot read the file either.
        """
        tokenizers = _library()
        try:
            held = json.loads(text)
            # What a template adds is not the text's, and offsets are not to be trimmed of white space.
            without_template = json.dumps({**held, "post_processor": None})
            self._whole = tokenizers.Tokenizer.from_str(without_template)
            self._plain = tokenizers.Tokenizer.from_str(without_template)
        except Exception as error:  # the library raises nothing narrower
            raise TokenizerFormatError(f"tokenizer: the tokenizers library cannot read it: {error}") from error
        self._json = text
        self._is_byte_level = (held.get("decoder") or {}).get("type") == "ByteLevel"
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
            StorageError: the file cannot be read.
        """
        return cls(_read(os.fspath(path)).decode(errors="replace"))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file it came from, all or nothing."""
        _native.publish_file(os.fspath(path), self._json.encode())

    def encode(self, text: str, *, special: Special = "text", max_tokens: int | None = None) -> Ids:
        """The ids of a text: uint32 [n].

        Args:
            special: "text": text that spells an added token is text; "allow": it becomes the token.
            max_tokens: only the first so many ids (the library encodes the text whole).

        Raises:
            InvalidArgument: the text holds a lone surrogate; `max_tokens` is negative.
        """
        most = None if max_tokens is None else whole("max_tokens", max_tokens)
        return np.asarray(self._encoded([text], special)[0].ids[:most], dtype=np.uint32)

    def encode_bytes(self, data: bytes, *, special: Special = "text") -> Ids:
        """The ids of UTF-8.

        Raises:
            InvalidArgument: the bytes are not UTF-8, which the library cannot encode.
        """
        try:
            return self.encode(data.decode(), special=special)
        except UnicodeDecodeError as error:
            raise InvalidArgument(
                f"encode_bytes: not UTF-8 at byte {error.start}, and the tokenizers library encodes text only"
            ) from error

    def encode_segments(self, segments: Iterable[str | Control]) -> Ids:
        """The ids of a template: text never yields a control token, `Control("<|user|>")` is exactly that one.

        Raises:
            InvalidArgument: a control token that this vocabulary lacks; a segment that is neither.
        """
        parts = [text_or_id(segment, self.special_id) for segment in segments]
        return Ragged.of(self.encode(part) if isinstance(part, str) else [part] for part in parts).ids

    def encode_batch(self, texts: Iterable[str], *, threads: int | None = None, special: Special = "text") -> Ragged:
        """The ids of many texts, one document each. The library chooses its threads itself."""
        thread_count(threads)
        return Ragged.of([encoding.ids for encoding in self._encoded(list(texts), special)])

    def count_batch(
        self, texts: Iterable[str], *, threads: int | None = None, special: Special = "text"
    ) -> npt.NDArray[np.uint64]:
        """How many ids each text has: uint64 [n]."""
        return self.encode_batch(texts, threads=threads, special=special).lengths

    def encode_files(
        self,
        paths: Iterable[str | os.PathLike[str]],
        *,
        documents: Documents = "whole",
        errors: Errors = "reject",
        threads: int | None = None,
        special: Special = "text",
    ) -> Ragged:
        """The ids of text files, one document per file or per line (line ends included).

        Raises:
            CorpusError: a file that is not UTF-8, with the offset of the first bad byte, unless `errors="replace"`.
            StorageError: a file that cannot be read.
        """
        one_of("documents", documents, ("whole", "lines"))
        one_of("errors", errors, ("reject", "replace"))
        texts: list[str] = []
        for path in paths:
            text = _text(os.fspath(path), replace=errors == "replace")
            texts += io.StringIO(text, newline="\n") if documents == "lines" else [text]
        return self.encode_batch(texts, threads=threads, special=special)

    def encode_with_offsets(self, text: str, *, special: Special = "text") -> tuple[Ids, npt.NDArray[np.uint64]]:
        """Ids [n] and byte offsets [n + 1], where each token begins.

        The library has offsets in characters. Where the vocabulary is not byte-level, tokens that share a character all
        begin where it does.
        """
        encoding = self._encoded([text], special)[0]
        tokens = [self._own_bytes(token) for token in encoding.ids]
        offsets = byte_offsets(text, encoding.offsets, tokens)
        return np.asarray(encoding.ids, dtype=np.uint32), np.asarray(offsets, dtype=np.uint64)

    def encode_with_spans(self, text: str, *, special: Special = "text") -> tuple[Ids, npt.NDArray[np.uint64]]:
        """Ids [n] and spans [n, 2]: token i lies in the whole characters `spans[i, 0] : spans[i, 1]` of the text.

        Where normalising changed them, or a space was put before the text, they are what the library says they are.
        """
        encoding = self._encoded([text], special)[0]
        spans = np.asarray(encoding.offsets, dtype=np.uint64).reshape(-1, 2)
        return np.asarray(encoding.ids, dtype=np.uint32), spans

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
        held = _plain_ids(ids)
        for token in held:
            self._token(token)
        text: str = self._whole.decode(held, skip_special_tokens=skip_special)
        return text

    def decode_bytes(self, ids: npt.NDArray[np.integer] | Sequence[int], *, skip_special: bool = False) -> bytes:
        """The bytes of ids, exactly.

        Raises:
            UnknownToken: an id outside the vocabulary.
            InvalidArgument: they may be no UTF-8, and the vocabulary is not byte-level.
        """
        if not self._is_byte_level:
            return _exact("decode_bytes", self.decode(ids, skip_special=skip_special))
        left_out = self._special if skip_special else frozenset()
        return b"".join(self.token_bytes(token) for token in _plain_ids(ids) if token not in left_out)

    def decoder(self) -> HfStreamDecoder:
        """A decoder for ids that come one by one."""
        return HfStreamDecoder(self)

    def decode_batch(self, ragged: Ragged, *, skip_special: bool = False) -> list[str]:
        """The text of each document."""
        return [self.decode(ids.tolist(), skip_special=skip_special) for ids in ragged]

    def token_bytes(self, id: int) -> bytes:
        """The bytes of one token; of a vocabulary that is not byte-level, as the library decodes it alone.

        Raises:
            UnknownToken: an id outside the vocabulary.
            InvalidArgument: they may be no UTF-8, and the vocabulary is not byte-level.
        """
        if self._is_byte_level:
            return self._own_bytes(id)
        return _exact("token_bytes", self.decode([id]))

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
        return f"HfTokenizer(vocab_size={self.vocab_size}, special_tokens={shown(self.special_tokens)})"

    def _encoded(self, texts: list[str], special: str) -> list[Any]:
        one_of("special", special, ("text", "allow"))
        for place, text in enumerate(texts):
            if not isinstance(text, str):
                raise InvalidArgument(f"text {place} is {type(text).__name__}, not str; decode it first")
            if _SURROGATE.search(text):
                raise InvalidArgument(f"text {place} is not valid Unicode; drop lone surrogates")
        library = self._whole if special == "allow" else self._plain
        encoded: list[Any] = library.encode_batch(texts, add_special_tokens=False)
        return encoded

    def _own_bytes(self, token: int) -> bytes:
        """What a token spells: its bytes, if the vocabulary is byte-level."""
        spelled = self._token(token)
        return spelled.encode() if spelled in self._added else bytes_of(spelled)

    def _token(self, token: int) -> str:
        found = self._whole.id_to_token(token) if 0 <= token < 2**32 else None
        if found is None:
            raise UnknownToken(f"token id {token} is not in this vocabulary of {self.vocab_size} ids")
        return str(found)


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
            f"{unsupported}; the tokenizers library may cover it. {install_hint('hf')}"
        ) from error
    _log.warning("%s; using the tokenizers library, which is slower", unsupported)
    return made


_SURROGATE = re.compile("[\ud800-\udfff]")


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error}") from error


def _text(path: str, *, replace: bool) -> str:
    try:
        return _read(path).decode(errors="replace" if replace else "strict")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f'{path} is not UTF-8 at byte {error.start}; convert the file, or read it with errors="replace"'
        ) from error


def _plain_ids(ids: npt.NDArray[np.integer] | Sequence[int]) -> list[int]:
    held = np.asarray(ids)
    if held.size and (held.ndim != 1 or held.dtype.kind not in "iu"):
        raise InvalidArgument(f"ids are {held.dtype} {list(held.shape)}; pass integers in one dimension")
    listed: list[int] = held.tolist()
    return listed


def _exact(method: str, text: str) -> bytes:
    if "\ufffd" in text:
        raise InvalidArgument(
            f"{method}: bytes that are no text come out of the tokenizers library as U+FFFD, as some may have here; "
            "use decode"
        )
    return text.encode()


def _library() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise missing_extra("this file", "tokenizers", "hf") from error
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
