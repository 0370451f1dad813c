"""Byte-level BPE: train, load, encode, decode, save. The work is done by the Rust crate `stategpt-tokenizer`."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Literal, NoReturn, Self, SupportsIndex, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from stategpt import _native
from stategpt.arguments import (
    Documents,
    Errors,
    Ids,
    Special,
    instance,
    one_of,
    several,
    thread_count,
    unicode_text,
)
from stategpt.errors import InvalidArgument, TokenizerUnsupported
from stategpt.tokenizer.control import Control, shown, text_or_id
from stategpt.tokenizer.hf_stream import refuse_pickling
from stategpt.tokenizer.hf_tokenizer import HfTokenizer
from stategpt.tokenizer.other_files import is_other_file, other_file_json
from stategpt.tokenizer.ragged import BATCH_HINT, Ragged
from stategpt.tokenizer.tokenizer_file import tokenizer_file
from stategpt.tokenizer.training_text import TrainingProgress, TrainingSource, expected_bytes, feed


class Tokenizer(_native.Tokenizer):
    """A byte-level BPE tokenizer: exact, lossless on any bytes, immutable, safe under threads and after `fork`.

    Text is text: by default a string that spells an added token is encoded like any other, so that nobody can write a
    control token into a document. `special="unflagged"` takes those tokens that the file does not flag as special (runs
    of spaces in some vocabularies), `special="allow"` all of them.

    Example:
        >>> tok = Tokenizer.train(["to be or not to be"], vocab_size=260, special_tokens=["<|endoftext|>"])
        >>> tok.decode(tok.encode("to be")), tok.special_tokens
        ('to be', {'<|endoftext|>': 0})
    """

    # Encoding and decoding are methods of the compiled class: a short call costs less than a Python frame would.
    __slots__ = ()

    @classmethod
    def train(
        cls,
        source: TrainingSource,
        vocab_size: int,
        *,
        pattern: str = "gpt4",
        special_tokens: Sequence[str] = (),
        ties: Literal["hf"] = "hf",
        documents: Documents = "whole",
        min_frequency: int = 0,
        errors: Errors = "reject",
        threads: int | None = None,
        memory_limit: int | None = None,
        progress: TrainingProgress | None = None,
    ) -> Tokenizer:
        """Learns a vocabulary. The same corpus gives the same tokenizer, whatever its order and the number of threads.

        Args:
            source: documents: a `str` is the text itself, a `Path` a file that holds one, read in blocks. Nothing is
                kept but distinct pieces. Or a table {piece: how often it occurs} (`str` or `bytes`) made elsewhere;
                its pieces are taken whole, the pattern does not cut them.
            vocab_size: maximum number of ids: special tokens, 256 bytes, one per merge. Fewer if no pair is left.
            pattern: the pre-tokenizer: gpt2, gpt4, llama3, o200k or qwen, or a regular expression: its
                matches are pieces, and so is the text between them.
            special_tokens: they take ids 0, 1, ...; the bytes follow.
            ties: which of two equally frequent pairs comes first. "hf": the smaller ids, as the `tokenizers` library.
            documents: "whole", or "lines": each line is a separate document, so that no token crosses a line end
                (what the `tokenizers` library does with files).
            min_frequency: pairs that occur less often are not merged.
            errors: files that are not UTF-8: "reject", or "replace" what is wrong by U+FFFD.
            threads: threads that count; by default all available cores.
            memory_limit: bytes that the distinct pieces may take while they are counted; merging takes up to three
                times as much again. By default there is no bound but 2 GiB of distinct text.
            progress: called a few times a second with (phase, done, total): ("counting", bytes, total bytes or 0),
                then ("merging", merges, merges at most). What it raises ends the training, as Ctrl-C does.

        Raises:
            InvalidArgument: a vocabulary too small, an unknown pattern, a regular expression that means something else
                to the `tokenizers` library, a special token that text needs, no Unicode.
            PatternLimit: a text takes a regular expression over its limit of steps, which grows with the text.
            CorpusError: nothing to train on, a file that is not UTF-8, more distinct pieces than `memory_limit` allows.
            StorageError: a file that cannot be read.
        """
        if isinstance(source, str | bytes | os.PathLike):
            raise InvalidArgument("source is one text or path; give a list of them")
        several("special_tokens", special_tokens)
        names = [unicode_text(f"special token {place}", name) for place, name in enumerate(special_tokens)]
        one_of("ties", ties, ("hf",))
        one_of("documents", documents, ("whole", "lines"))
        one_of("errors", errors, ("reject", "replace"))
        sizes = _natural("vocab_size", vocab_size), _natural("min_frequency", min_frequency)
        trainer = _native.BpeTrainer(
            unicode_text("pattern", pattern),
            documents == "lines",
            thread_count(threads),
            None if memory_limit is None else _natural("memory_limit", memory_limit),
            expected_bytes(source),
        )
        feed(trainer, source, replace=errors == "replace", progress=progress)
        return cls(trainer.train(sizes[0], names, sizes[1], progress))

    @overload
    @classmethod
    def load(cls, path: str | os.PathLike[str], engine: Literal["native"] = "native") -> Tokenizer: ...
    @overload
    @classmethod
    def load(cls, path: str | os.PathLike[str], engine: Literal["tokenizers"]) -> HfTokenizer: ...
    @overload
    @classmethod
    def load(cls, path: str | os.PathLike[str], engine: TokenizerEngine) -> AnyTokenizer: ...
    @classmethod
    def load(cls, path: str | os.PathLike[str], engine: TokenizerEngine = "native") -> AnyTokenizer:
        """Reads a `tokenizer.json` of the `tokenizers` library, a SentencePiece `tokenizer.model`, or the metadata of a
        `.gguf` file. The ids are those of that library, SentencePiece or llama.cpp.

        Args:
            path: the file, or a folder that holds it. In a published folder the file is compared with its manifest.
            engine: "native", or "tokenizers": that library, for files that need what the native engine does not
                cover. It gives an `HfTokenizer`, which has the same methods. No `tokenizer.json` chooses the engine, as
                the library is not for untrusted files: some make it panic (an error here), loop or end the process.
                The other formats are checked and turned into a `tokenizer.json`, so for these "native" gives an
                `HfTokenizer` too where the native engine does not cover the model (all of SentencePiece's).

        Raises:
            TokenizerFormatError: malformed; the message has the JSON path, byte or key.
            TokenizerUnsupported: needs what the native engine does not cover; likewise.
            MissingExtra: engine="tokenizers", and it is not installed.
            CorruptArtifact: the file is not what the manifest beside it says.
            StorageError: the file cannot be read.
        """
        one_of("engine", engine, ENGINES)
        file = tokenizer_file(path)
        if is_other_file(file):
            return cls._of_other_file(file, engine)
        if engine == "tokenizers":
            return HfTokenizer.load(path)
        try:
            return cls(_native.Tokenizer._load(file))
        except TokenizerUnsupported as unsupported:
            raise TokenizerUnsupported(
                f'{unsupported}. Tokenizer.load(path, engine="tokenizers") (on the command line: --engine tokenizers) '
                "uses the tokenizers library, if you trust the file"
            ) from None

    @classmethod
    def _of_other_file(cls, file: str, engine: TokenizerEngine) -> AnyTokenizer:
        """The tokenizer of a GGUF or SentencePiece file, by the first engine that covers it."""
        text = other_file_json(file)
        if engine == "native":
            with suppress(TokenizerUnsupported):
                return cls(_native.Tokenizer._from_json(text.encode()))
        return HfTokenizer(text)

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
        given = special_tokens or {}
        instance("special_tokens", given, Mapping, "Give {text: id}.")
        names = [unicode_text(f"special token {place}", name) for place, name in enumerate(given)]
        special = [(name, _natural(f"id of {name!r}", given[name], 2**32)) for name in names]
        return cls(_native.Tokenizer._from_tiktoken(os.fspath(path), unicode_text("pattern", pattern), special))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a `tokenizer.json`, all or nothing; `tokenizers` and `transformers` load it with equal ids.

        Raises:
            StorageError: the file cannot be written.
        """
        _native.publish_file(os.fspath(path), self._to_json().encode())

    def encode_batch(self, texts: Iterable[str], *, threads: int | None = None, special: Special = "text") -> Ragged:
        """The ids of many texts, one document each; the result does not depend on `threads`."""
        several("texts", texts)
        return Ragged(*self._encode_batch(texts, special, thread_count(threads)))

    def count_batch(
        self, texts: Iterable[str], *, threads: int | None = None, special: Special = "text"
    ) -> npt.NDArray[np.uint64]:
        """How many ids each text has: uint64 [n]. The ids are not kept."""
        several("texts", texts)
        return np.diff(self._count_batch(texts, special, thread_count(threads)))

    def encode_segments(self, segments: Iterable[str | Control]) -> Ids:
        """The ids of a template: text never yields a control token, `Control("<|user|>")` is exactly that one.

        No merge crosses from one segment into the next.

        Example:
            >>> tok = Tokenizer.train(["to be"], vocab_size=258, special_tokens=["<|user|>"])
            >>> tok.decode(tok.encode_segments([Control("<|user|>"), "<|user|> be"]), skip_special=True)
            '<|user|> be'

        Raises:
            InvalidArgument: a control token that this vocabulary lacks; a segment that is neither.
        """
        several("segments", segments)
        return self._encode_segments(text_or_id(segment, self.special_id) for segment in segments)

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
        files = [os.fspath(path) for path in paths]
        lines, replace = documents == "lines", errors == "replace"
        return Ragged(*self._encode_files(files, special, lines, replace, thread_count(threads)))

    def decode_batch(self, ragged: Ragged, *, skip_special: bool = False) -> list[str]:
        """The text of each document."""
        instance("ragged", ragged, Ragged, BATCH_HINT)
        return self._decode_batch(ragged.ids, np.ascontiguousarray(ragged.offsets), skip_special)

    def decoder(self) -> StreamDecoder:
        """A decoder for ids that come one by one."""
        return StreamDecoder(self)

    def __reduce__(self) -> tuple[Callable[..., Tokenizer], tuple[type[Tokenizer], bytes]]:
        """Pickled as its canonical file, whose hash is the fingerprint."""
        return _restored, (type(self), self._to_json().encode())

    def __copy__(self) -> Self:
        """Itself: it never changes."""
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """Itself: it never changes."""
        return self

    def __repr__(self) -> str:
        special = shown(self.special_tokens)
        return f"Tokenizer(pattern={self.pattern!r}, vocab_size={self.vocab_size}, special_tokens={special})"


def _restored(cls: type[Tokenizer], file: bytes) -> Tokenizer:
    return cls(_native.Tokenizer._from_json(file))


TokenizerEngine: TypeAlias = Literal["native", "tokenizers"]
ENGINES = ("native", "tokenizers")
"""What can read a `tokenizer.json`: our engine, or the `tokenizers` library for what that does not cover."""

AnyTokenizer: TypeAlias = Tokenizer | HfTokenizer
"""Either engine's tokenizer: the two have the same methods. Code that only encodes and decodes takes both."""


class StreamDecoder(_native.StreamDecoder):
    """Decodes ids as they come; a character split over tokens is held back until it is whole.

    All that `push` and `finish` return, joined, is `decode` of all the ids.

    Example:
        >>> tok = Tokenizer.train(["é"], vocab_size=256)
        >>> decoder = tok.decoder()
        >>> [decoder.push(token) for token in tok.encode("é")] + [decoder.finish()]
        ['', 'é', '']
    """

    __slots__ = ()

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Refused: a decoder is in the middle of a stream."""
        refuse_pickling("StreamDecoder")


def _natural(name: str, value: int, bound: int = 2**63) -> int:
    if not isinstance(value, SupportsIndex):
        raise InvalidArgument(f"{name} is {value!r}; it must be a whole number")
    number = operator.index(value)
    if not 0 <= number < bound:
        raise InvalidArgument(f"{name} is {number}; it must be at least 0 and below {bound}")
    return number
