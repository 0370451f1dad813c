"""Byte-level BPE: train, load, encode, decode, save. The work is done by the Rust crate `stategpt-tokenizer`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from stategpt import _native
from stategpt.arguments import Documents, Errors, Ids, Special, one_of, thread_count
from stategpt.data import hf_tokenizer
from stategpt.data.control import Control, shown, text_or_id
from stategpt.data.ragged import Ragged
from stategpt.data.training_text import TrainingProgress, TrainingSource, expected_bytes, feed
from stategpt.errors import InvalidArgument, TokenizerUnsupported


class Tokenizer(_native.Tokenizer):
    """A byte-level BPE tokenizer: exact, lossless on any bytes, immutable, safe under threads and after `fork`.

    Text is text: by default a string that spells a special token is encoded like any other, so that nobody can write a
    control token into a document. `special="allow"` opts in.

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
            memory_limit: bytes that the distinct pieces may take while they are counted; merging takes up to three
                times as much again. By default there is no bound but 2 GiB of distinct text.
            progress: called a few times a second with (phase, done, total): ("counting", bytes, bytes in all or 0),
                then ("merging", merges, merges at most). What it raises ends the training, as Ctrl-C does.

        Raises:
            InvalidArgument: a vocabulary too small, an unknown pattern, a regular expression that means something else
                to the `tokenizers` library, a special token that text needs, no Unicode.
            PatternLimit: a text takes a regular expression over its limit of steps, which grows with the text.
            CorpusError: nothing to train on, a file that is not UTF-8, more distinct pieces than `memory_limit` allows.
            StorageError: a file that cannot be read.
        """
        one_of("ties", ties, ("hf",))
        one_of("documents", documents, ("whole", "lines"))
        one_of("errors", errors, ("reject", "replace"))
        sizes = _natural("vocab_size", vocab_size), _natural("min_frequency", min_frequency)
        trainer = _native.BpeTrainer(
            pattern,
            documents == "lines",
            thread_count(threads),
            None if memory_limit is None else _natural("memory_limit", memory_limit),
            expected_bytes(source),
        )
        feed(trainer, source, replace=errors == "replace", progress=progress)
        return cls(trainer.train(sizes[0], list(special_tokens), sizes[1], progress))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> AnyTokenizer:
        """Reads a `tokenizer.json` of the `tokenizers` library; the ids are that library's.

        What our engine does not cover goes to that library, if it is installed: an `HfTokenizer`, which has the same
        methods, and a logged line that names what is not covered. `isinstance(tok, Tokenizer)` tells which one it is.

        Raises:
            TokenizerFormatError: malformed; the message has the JSON path.
            TokenizerUnsupported: asks for what is not covered, and `tokenizers` is not installed; likewise.
            StorageError: the file cannot be read.
        """
        try:
            return cls(_native.Tokenizer._load(os.fspath(path)))
        except TokenizerUnsupported as unsupported:
            return hf_tokenizer.instead(path, unsupported)

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
        return cls(_native.Tokenizer._from_tiktoken(os.fspath(path), pattern, special))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a `tokenizer.json`, all or nothing; `tokenizers` and `transformers` load it with equal ids.

        Raises:
            StorageError: the file cannot be written.
        """
        _native.publish_file(os.fspath(path), self._to_json().encode())

    def encode_batch(self, texts: Iterable[str], *, threads: int | None = None, special: Special = "text") -> Ragged:
        """The ids of many texts, one document each; the result does not depend on `threads`."""
        return Ragged(*self._encode_batch(texts, special, thread_count(threads)))

    def count_batch(
        self, texts: Iterable[str], *, threads: int | None = None, special: Special = "text"
    ) -> npt.NDArray[np.uint64]:
        """How many ids each text has: uint64 [n]. The ids are not kept."""
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
        files = [os.fspath(path) for path in paths]
        lines, replace = documents == "lines", errors == "replace"
        return Ragged(*self._encode_files(files, special, lines, replace, thread_count(threads)))

    def decode_batch(self, ragged: Ragged, *, skip_special: bool = False) -> list[str]:
        """The text of each document."""
        return self._decode_batch(ragged.ids, np.ascontiguousarray(ragged.offsets), skip_special)

    def decoder(self) -> StreamDecoder:
        """A decoder for ids that come one by one."""
        return StreamDecoder(self)

    def __repr__(self) -> str:
        special = shown(self.special_tokens)
        return f"Tokenizer(pattern={self.pattern!r}, vocab_size={self.vocab_size}, special_tokens={special})"


AnyTokenizer: TypeAlias = Tokenizer | hf_tokenizer.HfTokenizer
"""What `Tokenizer.load` returns: the two have the same methods. Whoever only encodes and decodes takes either."""


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


def _natural(name: str, value: int, bound: int = 2**63) -> int:
    if not 0 <= value < bound:
        raise InvalidArgument(f"{name} is {value}; it must be at least 0 and below {bound}")
    return value
