"""Byte-level BPE: train, load, encode, decode, save. The work is done by the Rust crate `stategpt-tokenizer`."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from stategpt import _native
from stategpt.data import hf_tokenizer
from stategpt.data.ragged import Ragged
from stategpt.errors import InvalidArgument, TokenizerUnsupported, UnknownToken

Ids: TypeAlias = npt.NDArray[np.uint32]
IdsLike: TypeAlias = npt.NDArray[np.integer] | Sequence[int]
Special: TypeAlias = Literal["text", "allow"]
Documents: TypeAlias = Literal["whole", "lines"]
Errors: TypeAlias = Literal["reject", "replace"]

# Documents are handed to the counter in batches of about this many characters, so that their text need not be held.
_BATCH_CHARACTERS = 1 << 24


class Tokenizer:
    """A byte-level BPE tokenizer: exact, lossless on any bytes, immutable, safe under threads and after `fork`.

    Text is text: by default a string that spells a special token is encoded like any other, so that nobody can write a
    control token into a document. `special="allow"` opts in.

    Example:
        >>> tok = Tokenizer.train(["to be or not to be"], vocab_size=260, special_tokens=["<|endoftext|>"])
        >>> tok.decode(tok.encode("to be")), tok.special_tokens
        ('to be', {'<|endoftext|>': 0})
    """

    __slots__ = ("_native",)

    def __init__(self, native: _native.Tokenizer) -> None:
        """Wraps the compiled engine; use `train`, `load` or `from_tiktoken`."""
        self._native = native

    @classmethod
    def train(
        cls,
        source: Iterable[str | os.PathLike[str]],
        vocab_size: int,
        *,
        pattern: str = "gpt4",
        special_tokens: Sequence[str] = (),
        ties: Literal["hf"] = "hf",
        documents: Documents = "whole",
        min_frequency: int = 0,
        errors: Errors = "reject",
        threads: int | None = None,
    ) -> Tokenizer:
        """Learns a vocabulary. The same corpus gives the same tokenizer, whatever its order and the number of threads.

        Args:
            source: documents: a `str` is the text itself, a `Path` a file that holds one. Read once, not kept.
            vocab_size: ids at most: special tokens, 256 bytes, one per merge. Fewer where no pair is left.
            pattern: how text is cut before merging: gpt2, gpt4, llama3, o200k or qwen, or a regular expression: its
                matches are pieces, and so is the text between them.
            special_tokens: they take ids 0, 1, ...; the bytes follow.
            ties: which of two equally frequent pairs comes first. "hf": the smaller ids, as the `tokenizers` library.
            documents: "whole", or "lines": each line a document of its own, so that no token crosses a line end
                (what the `tokenizers` library does with files).
            min_frequency: pairs that occur less often are not merged.
            errors: files that are not UTF-8: "reject", or "replace" what is wrong by U+FFFD.
            threads: threads that count; by default as many as the machine lends.

        Raises:
            InvalidArgument: a vocabulary too small, an unknown pattern, a regular expression that means something else to
                the `tokenizers` library, a special token that text needs, no Unicode.
            PatternLimit: a text takes a regular expression with look-around over its limit of steps.
            CorpusError: nothing to train on, a file that is not UTF-8.
            StorageError: a file that cannot be read.
        """
        _one_of("ties", ties, ("hf",))
        _one_of("documents", documents, ("whole", "lines"))
        _one_of("errors", errors, ("reject", "replace"))
        trainer = _native.BpeTrainer(pattern, documents == "lines", _positive("threads", threads))
        for batch in _batches(source):
            if isinstance(batch, list):
                trainer.feed(batch)
            else:
                trainer.feed_file(os.fspath(batch), errors == "replace")
        sizes = _natural("vocab_size", vocab_size), _natural("min_frequency", min_frequency)
        return cls(trainer.train(sizes[0], list(special_tokens), sizes[1]))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Tokenizer:
        """Reads a `tokenizer.json` of the `tokenizers` library; the ids are that library's.

        What our engine does not cover goes to that library, if it is installed: an `HfTokenizer`, which has
        the same methods, and a logged line that names what is not covered.

        Raises:
            TokenizerFormatError: malformed; the message has the JSON path.
            TokenizerUnsupported: asks for what is not covered, and `tokenizers` is not installed; likewise.
            StorageError: the file cannot be read.
        """
        try:
            return cls(_native.Tokenizer.load(os.fspath(path)))
        except TokenizerUnsupported as unsupported:
            # Not one by class, but by its methods: what writes shards says so itself.
            return cast(Tokenizer, hf_tokenizer.instead(path, unsupported))

    @classmethod
    def from_tiktoken(
        cls, path: str | os.PathLike[str], pattern: str, special_tokens: Mapping[str, int] | None = None
    ) -> Tokenizer:
        """Reads a rank file of tiktoken. It holds neither pattern nor special tokens: both are given here.

        Raises:
            TokenizerFormatError: a malformed line; the message has its number.
            InvalidArgument: an unknown pattern, a special token whose id is taken.
            StorageError: the file cannot be read.
        """
        special = [(text, _natural(f"id of {text!r}", token, 2**32)) for text, token in (special_tokens or {}).items()]
        return cls(_native.Tokenizer.from_tiktoken(os.fspath(path), pattern, special))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a `tokenizer.json`, all or nothing; `tokenizers` and `transformers` load it with equal ids.

        Raises:
            StorageError: the file cannot be written.
        """
        _native.publish_file(os.fspath(path), self._native.to_json().encode())

    def encode(self, text: str, *, special: Special = "text") -> Ids:
        """The ids of a text: uint32 [n].

        Args:
            special: "text": text that spells a special token is text; "allow": it becomes the token.

        Raises:
            InvalidArgument: the text holds a lone surrogate.
        """
        return self._native.encode(text, _allows(special))

    def encode_bytes(self, data: bytes, *, special: Special = "text") -> Ids:
        """The ids of any bytes, UTF-8 or not; `decode_bytes` gives them back."""
        return self._native.encode_bytes(data, _allows(special))

    def encode_batch(self, texts: Iterable[str], *, threads: int | None = None, special: Special = "text") -> Ragged:
        """The ids of many texts, one document each; the result does not depend on `threads`."""
        return Ragged(*self._native.encode_batch(texts, _allows(special), _positive("threads", threads)))

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
        _one_of("documents", documents, ("whole", "lines"))
        _one_of("errors", errors, ("reject", "replace"))
        files = [os.fspath(path) for path in paths]
        lines, replace = documents == "lines", errors == "replace"
        return Ragged(
            *self._native.encode_files(files, _allows(special), lines, replace, _positive("threads", threads))
        )

    def encode_with_offsets(self, text: str, *, special: Special = "text") -> tuple[Ids, npt.NDArray[np.uint64]]:
        """Ids [n] and byte offsets [n + 1]: token i is bytes `offsets[i] : offsets[i + 1]` of the text's UTF-8."""
        return self._native.encode_with_offsets(text, _allows(special))

    def count(self, text: str, *, special: Special = "text") -> int:
        """How many ids `encode` gives."""
        return self._native.count(text, _allows(special))

    def pieces(self, text: str) -> list[str]:
        """What the pattern cuts a text into before merging; no token crosses a piece."""
        return self._native.pieces(text)

    def decode(self, ids: IdsLike, *, skip_special: bool = False) -> str:
        """The text of ids; bytes that are not UTF-8 become U+FFFD (`decode_bytes` keeps them).

        Args:
            skip_special: leave special tokens out.

        Raises:
            UnknownToken: an id outside the vocabulary.
        """
        return self._native.decode(self._ids(ids), skip_special)

    def decode_bytes(self, ids: IdsLike, *, skip_special: bool = False) -> bytes:
        """The bytes of ids, exactly.

        Raises:
            UnknownToken: an id outside the vocabulary.
        """
        return self._native.decode_bytes(self._ids(ids), skip_special)

    def decode_batch(self, ragged: Ragged, *, skip_special: bool = False) -> list[str]:
        """The text of each document."""
        offsets = np.ascontiguousarray(ragged.offsets)
        return self._native.decode_batch(np.ascontiguousarray(ragged.ids), offsets, skip_special)

    def decoder(self) -> StreamDecoder:
        """A decoder for ids that come one by one."""
        return StreamDecoder(self)

    def token_bytes(self, token: int) -> bytes:
        """The bytes of one token.

        Raises:
            UnknownToken: an id outside the vocabulary.
        """
        return self._native.token_bytes(token)

    def special_id(self, text: str) -> int:
        """The id of a special token.

        Raises:
            InvalidArgument: there is no such special token; the message lists those there are.
        """
        return self._native.special_id(text)

    @property
    def special_tokens(self) -> dict[str, int]:
        """Tokens that plain text never yields, with their ids, in order of id."""
        return self._native.special_tokens

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        return self._native.vocab_size

    @property
    def pattern(self) -> str:
        """Name of the pattern (llama3's is gpt4's), or its regular expressions."""
        return self._native.pattern

    @property
    def fingerprint(self) -> str:
        """`b3:` and the BLAKE3 of the saved form: equal for equal tokenizers only."""
        return self._native.fingerprint

    def __repr__(self) -> str:
        return (
            f"Tokenizer(pattern={self.pattern!r}, vocab_size={self.vocab_size}, special_tokens={self.special_tokens})"
        )

    def _ids(self, ids: IdsLike) -> Ids:
        """Ids as contiguous uint32, with nothing wrapped around."""
        if isinstance(ids, list):
            return self._ids_of_list(ids)
        held = np.asarray(ids)
        if held.dtype == np.uint32 and held.ndim == 1:
            return np.ascontiguousarray(held)
        if held.size == 0:
            return np.empty(0, dtype=np.uint32)
        if held.ndim != 1 or not np.issubdtype(held.dtype, np.integer):
            raise InvalidArgument(f"ids are {held.dtype} {list(held.shape)}; pass integers in one dimension")
        low, high = int(held.min()), int(held.max())
        if low < 0 or high > 0xFFFF_FFFF:
            raise self._unknown(low if low < 0 else high)
        return held.astype(np.uint32)

    def _ids_of_list(self, ids: list[int]) -> Ids:
        # The array module reads a list of int three times as fast as numpy, and without a copy into int64.
        try:
            return np.frombuffer(array("I", ids), dtype=np.uint32) if ids else np.empty(0, dtype=np.uint32)
        except OverflowError:
            raise self._unknown(next(token for token in ids if not 0 <= token <= 0xFFFF_FFFF)) from None
        except TypeError as error:
            raise InvalidArgument(f"ids are not all integers ({error}); pass token ids") from error

    def _unknown(self, token: int) -> UnknownToken:
        return UnknownToken(f"token id {token} is not in this vocabulary of {self.vocab_size} ids")


class StreamDecoder:
    """Decodes ids as they come; a character split over tokens is held back until it is whole.

    All that `push` and `finish` return, joined, is `decode` of all the ids.

    Example:
        >>> tok = Tokenizer.train(["é"], vocab_size=256)
        >>> decoder = tok.decoder()
        >>> [decoder.push(token) for token in tok.encode("é")] + [decoder.finish()]
        ['', 'é', '']
    """

    __slots__ = ("_native",)

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._native = _native.StreamDecoder(tokenizer._native)

    def push(self, token: int) -> str:
        """The text that this id completes. O(bytes of the token).

        Raises:
            UnknownToken: an id outside the vocabulary; the decoder is as before.
        """
        return self._native.push(token)

    def finish(self) -> str:
        """What is left: U+FFFD for a character that never came to its end, else nothing. Then it starts anew."""
        return self._native.finish()


def _batches(source: Iterable[str | os.PathLike[str]]) -> Iterator[list[str] | os.PathLike[str]]:
    """The source as lists of texts, and files one by one."""
    if isinstance(source, str | bytes | os.PathLike):
        raise InvalidArgument(f"source is one {type(source).__name__}; pass a list: [text, ...] or [Path(file), ...]")
    texts: list[str] = []
    characters = 0
    for place, item in enumerate(source):
        if isinstance(item, os.PathLike):
            yield item
            continue
        if place == 0 and isinstance(item, str) and len(item) < 256 and os.path.isfile(item):
            raise InvalidArgument(
                f"document 0 is {item!r}, the name of a file; pass Path({item!r}) to train on its text"
            )
        texts.append(item)
        characters += len(item) if isinstance(item, str) else 0
        if characters >= _BATCH_CHARACTERS:
            yield texts
            texts, characters = [], 0
    yield texts


def _allows(special: str) -> bool:
    if special == "text":
        return False
    _one_of("special", special, ("text", "allow"))
    return True


def _one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InvalidArgument(f"{name} is {value!r}; choose one of {', '.join(choices)}")


def _positive(name: str, value: int | None) -> int | None:
    if value is not None and value < 1:
        raise InvalidArgument(f"{name} is {value}; pass 1 or more, or None for as many as the machine lends")
    return value


def _natural(name: str, value: int, bound: int = 2**63) -> int:
    if not 0 <= value < bound:
        raise InvalidArgument(f"{name} is {value}; it must be at least 0 and below {bound}")
    return value
