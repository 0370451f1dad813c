"""The `tokenizers` library with the methods of `Tokenizer`, for files that the native engine does not support.

`Tokenizer.load(path, engine="tokenizers")` gives an `HfTokenizer`. It is some hundred times slower, and not for
untrusted files: some make the library panic (an error here), loop or end the process. It knows text only: a method that
would take other bytes, or give them where the vocabulary is not byte-level, raises an `InvalidArgument` with its name.
"""

from __future__ import annotations

import hashlib
import io
import json
import operator
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stategpt import _native
from stategpt.arguments import SPECIAL, Documents, Errors, Ids, Special, instance, one_of, several, thread_count, whole
from stategpt.errors import DataError, InvalidArgument, TokenizerFormatError, UnknownToken
from stategpt.files import read_bytes
from stategpt.tokenizer.byte_level import byte_offsets, bytes_of
from stategpt.tokenizer.control import Control, names_shown, shown, text_or_id
from stategpt.tokenizer.hf_decoders import shape_of
from stategpt.tokenizer.hf_file import parsed, unknown_token, without_tokens
from stategpt.tokenizer.hf_library import library, library_faults
from stategpt.tokenizer.hf_prefix import Before, has_prefix, without_prefix
from stategpt.tokenizer.hf_stream import HfStreamDecoder
from stategpt.tokenizer.hf_values import exact_bytes, file_text, plain_ids, require_text
from stategpt.tokenizer.other_files import is_other_file, other_file_json
from stategpt.tokenizer.ragged import BATCH_HINT, Ragged
from stategpt.tokenizer.tokenizer_file import FILE_LIMIT_BYTES, tokenizer_file


class HfTokenizer:
    """A tokenizer of the `tokenizers` library. By default text is text: no added token comes out of it.

    One added token may: the file's own unknown token (`[UNK]`), which replaces text that the vocabulary lacks.

    Example:
        >>> tok = HfTokenizer.load("wordpiece.json")  # doctest: +SKIP
        >>> tok.decode(tok.encode("to be"))  # doctest: +SKIP
        'to be'
    """

    __slots__ = (
        "_added",
        "_fields",
        "_inside",
        "_is_byte_level",
        "_json",
        "_of_mode",
        "_special",
        "_unknown",
        "_whole",
    )

    def __init__(self, text: str) -> None:
        """Reads the text of a `tokenizer.json`.

        Raises:
            MissingExtra: `tokenizers` is not installed.
            TokenizerFormatError: it cannot read the file either.
        """
        self._of("tokenizer", text)

    def _of(self, where: str, text: str) -> None:
        """Reads a text; `where` is it in errors."""
        tokenizers = library()
        self._json = text
        self._fields = parsed(text, where)
        with library_faults(TokenizerFormatError, f"{where}: the tokenizers library cannot read it"):
            self._whole = tokenizers.Tokenizer.from_str(json.dumps(self._fields))
            decoder: dict[int, Any] = self._whole.get_added_tokens_decoder()
        self._of_mode = {"allow": self._whole}
        self._inside: HfTokenizer | None = None
        self._is_byte_level = (self._fields["decoder"] or {}).get("type") == "ByteLevel"
        self._unknown = unknown_token(self._fields["model"])
        self._added = {token.content: number for number, token in sorted(decoder.items())}
        self._special = frozenset(number for number, token in decoder.items() if token.special)

    def _library_for(self, special: str) -> Any:
        """The library's tokenizer that takes added tokens as `special` says."""
        if special not in self._of_mode:
            flagged = {name for name, number in self._added.items() if number in self._special}
            if special == "text":
                fields = without_tokens(self._fields, self._added.keys() - {self._unknown})
            elif isinstance(self._fields["model"].get("vocab"), list):
                # Unigram takes the best pieces wherever they come from, so a control token must have no spelling.
                fields = without_tokens(self._fields, flagged - {self._unknown}, kept=self._added.keys() - flagged)
            else:
                fields = self._fields
            with library_faults(TokenizerFormatError, f'tokenizer: the tokenizers library has no special="{special}"'):
                made = library().Tokenizer.from_str(json.dumps(fields))
                made.encode_special_tokens = True
            self._of_mode[special] = made
        return self._of_mode[special]

    def __reduce__(self) -> tuple[type[HfTokenizer], tuple[str]]:
        """Pickled as its file."""
        return type(self), (self._json,)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> HfTokenizer:
        """Reads what `Tokenizer.load` reads; a folder is verified where it is a published one.

        Raises:
            MissingExtra, TokenizerFormatError: as the constructor.
            CorruptArtifact: the file is not what the manifest beside it says.
            StorageError: the file cannot be read.
        """
        file = tokenizer_file(path)
        if is_other_file(file):
            return cls(other_file_json(file))
        content = read_bytes(file, FILE_LIMIT_BYTES, TokenizerFormatError)
        made = cls.__new__(cls)
        try:
            made._of(file, content.decode())
        except UnicodeDecodeError as error:
            raise TokenizerFormatError(f"{file} is not UTF-8 at byte {error.start}; it is no tokenizer.json") from None
        return made

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file it came from, all or nothing."""
        _native.publish_file(os.fspath(path), self._json.encode())

    def encode(self, text: str, *, special: Special = "text", max_tokens: int | None = None) -> Ids:
        """The ids of a text: uint32 [n].

        Args:
            special: "text": text that spells an added token is text; "unflagged": it becomes the token unless that is
                flagged special; "allow": it becomes the token.
            max_tokens: maximum number of ids (the library encodes the whole text).

        Raises:
            InvalidArgument: the text is no str, or holds a lone surrogate; `max_tokens` is negative.
            DataError: the library fails on it, or with "unflagged" makes a token flagged special of it.
        """
        most = None if max_tokens is None else whole("max_tokens", max_tokens)
        return np.asarray(self._encoded([text], special)[0].ids[:most], dtype=np.uint32)

    def encode_bytes(self, data: bytes, *, special: Special = "text") -> Ids:
        """The ids of UTF-8.

        Raises:
            InvalidArgument: the bytes are not UTF-8, which the library cannot encode.
        """
        instance("data", data, bytes, "Text goes to encode.")
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
        several("segments", segments)
        parts = [text_or_id(segment, self.special_id) for segment in segments]
        made: list[Ids] = []
        before: Before = "nothing"
        for part in parts:
            is_text = isinstance(part, str)
            made.append(self._encode_after(part, before) if isinstance(part, str) else np.asarray([part], np.uint32))
            before = ("text" if is_text else "token") if part != "" else before
        return np.concatenate(made) if made else np.zeros(0, dtype=np.uint32)

    def _encode_after(self, text: str, before: Before) -> Ids:
        """The ids of a text within a larger one, as the library gives them there: uint32 [n].

        Where it is not the beginning, nothing is put before it that only a beginning gets (`hf_prefix`).
        """
        if has_prefix(self._fields, before) == has_prefix(self._fields, "nothing"):
            return self.encode(text)
        if self._inside is None:
            self._inside = type(self)(json.dumps(without_prefix(self._fields)))
        return self._inside.encode(text)

    def encode_batch(self, texts: Iterable[str], *, threads: int | None = None, special: Special = "text") -> Ragged:
        """The ids of many texts, one document each. The library chooses its threads itself."""
        several("texts", texts)
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
        several("paths", paths)
        texts: list[str] = []
        for path in paths:
            text = file_text(os.fspath(path), replace=errors == "replace")
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
        """Ids [n] and spans [n, 2]: token i is within the characters `spans[i, 0] : spans[i, 1]` of the text.

        Where normalizing changed them, or a space was put before the text, they are what the library says they are.
        """
        encoding = self._encoded([text], special)[0]
        spans = np.asarray(encoding.offsets, dtype=np.uint64).reshape(-1, 2)
        return np.asarray(encoding.ids, dtype=np.uint32), spans

    def count(self, text: str, *, special: Special = "text") -> int:
        """How many ids `encode` gives."""
        return len(self._encoded([text], special)[0].ids)

    def pieces(self, text: str) -> list[str]:
        """What a text is cut into before it is encoded; normalized, and without what the file says to remove."""
        require_text("text", text)
        with library_faults(DataError, "the tokenizers library cannot cut this text"):
            normalizer, cutter = self._whole.normalizer, self._whole.pre_tokenizer
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
            DataError: the library fails on them.
        """
        held = plain_ids(ids)
        for token in held:
            self._token(token)
        with library_faults(DataError, "the tokenizers library cannot decode these ids"):
            text: str = self._whole.decode(held, skip_special_tokens=skip_special)
        return text

    def decode_bytes(self, ids: npt.NDArray[np.integer] | Sequence[int], *, skip_special: bool = False) -> bytes:
        """The bytes of ids, exactly.

        Raises:
            UnknownToken: an id outside the vocabulary.
            InvalidArgument: they may be no UTF-8, and the vocabulary is not byte-level.
        """
        if not self._is_byte_level:
            return exact_bytes("decode_bytes", self.decode(ids, skip_special=skip_special))
        left_out = self._special if skip_special else frozenset()
        return b"".join(self.token_bytes(token) for token in plain_ids(ids) if token not in left_out)

    def decoder(self) -> HfStreamDecoder:
        """A decoder for ids that come one by one."""
        return HfStreamDecoder(self.decode, self._token, shape_of(self._fields["decoder"]))

    def decode_batch(self, ragged: Ragged, *, skip_special: bool = False) -> list[str]:
        """The text of each document."""
        instance("ragged", ragged, Ragged, BATCH_HINT)
        return [self.decode(ids.tolist(), skip_special=skip_special) for ids in ragged]

    def token_bytes(self, id: int) -> bytes:
        """The bytes of one token; of a vocabulary that is not byte-level, as the library decodes it alone.

        Raises:
            UnknownToken: an id outside the vocabulary.
            InvalidArgument: they may be no UTF-8, and the vocabulary is not byte-level.
        """
        if self._is_byte_level:
            return self._own_bytes(id)
        return exact_bytes("token_bytes", self.decode([id]))

    def special_id(self, text: str) -> int:
        """The id of an added token.

        Raises:
            InvalidArgument: there is no such token; the message lists those there are.
        """
        if text not in self._added:
            known = names_shown(self._added)
            raise InvalidArgument(f"{text!r} is not a special token here; this vocabulary has {known}")
        return self._added[text]

    @property
    def special_tokens(self) -> dict[str, int]:
        """Tokens that plain text never yields, with their ids, in order of id."""
        return dict(self._added)

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        return max(self._known_ids(), default=-1) + 1

    def _known_ids(self) -> set[int]:
        """Every id that a token has."""
        with library_faults(DataError, "the tokenizers library cannot list its vocabulary"):
            return set(self._whole.get_vocab(with_added_tokens=True).values())

    def _flagged_special(self) -> frozenset[int]:
        """Ids of added tokens that the file flags as special."""
        return self._special

    @property
    def pattern(self) -> str:
        """What cuts the text, in the library's words."""
        with library_faults(DataError, "the tokenizers library cannot describe its pre-tokenizer"):
            return str(self._whole.pre_tokenizer)

    @property
    def fingerprint(self) -> str:
        """`sha256:` and the hash of the file: equal for equal files only."""
        return f"sha256:{hashlib.sha256(self._json.encode()).hexdigest()}"

    def __repr__(self) -> str:
        return f"HfTokenizer(vocab_size={self.vocab_size}, special_tokens={shown(self.special_tokens)})"

    def _encoded(self, texts: list[str], special: str) -> list[Any]:
        one_of("special", special, SPECIAL)
        for place, text in enumerate(texts):
            require_text(f"text {place}", text)
        made = self._library_for(special)
        with library_faults(DataError, "the tokenizers library cannot encode this text"):
            encoded: list[Any] = made.encode_batch(texts, add_special_tokens=False)
        # The library looks for no such token, but its model can merge to one, or know it as a word.
        never = {"text": frozenset(self._added.values()), "unflagged": self._special, "allow": frozenset[int]()}
        never_out = never[special] - {self._added.get(self._unknown or "")}
        for place, encoding in enumerate(encoded):
            if not never_out.isdisjoint(encoding.ids):
                found = next(name for name, number in self._added.items() if number in never_out & {*encoding.ids})
                raise DataError(
                    f"text {place} became the control token {found!r}, which special={special!r} rules out, by the "
                    'rules of the file\'s model; use special="text", or leave the text out'
                )
        return encoded

    def _own_bytes(self, token: int) -> bytes:
        """What a token spells: its bytes, if the vocabulary is byte-level."""
        spelled = self._token(token)
        return spelled.encode() if spelled in self._added else bytes_of(spelled)

    def _token(self, token: int) -> str:
        try:
            number = operator.index(token)
        except TypeError:
            raise InvalidArgument(f"a token id is of type {type(token).__name__}; pass an integer") from None
        with library_faults(DataError, "the tokenizers library cannot name this id"):
            found = self._whole.id_to_token(number) if 0 <= number < 2**32 else None
        if found is None:
            raise UnknownToken(f"token id {token} is not in this vocabulary of {self.vocab_size} ids")
        return str(found)
