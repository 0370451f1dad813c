"""Token shards: documents as token ids in folders of plain `.npy` files under one manifest.

    out/00000/tokens.npy    uint16[tokens] (uint32 above 65,536 ids), documents end to end, no end of text between them
    out/00000/offsets.npy   uint64[documents + 1]
    out/00000/mask.npy      uint8[tokens + documents], optional: which targets are trained
    out/00000/doc_id.npy    uint64[documents], optional
    out/manifest.json       counts, length histogram, tokenizer, hashes, source, licence; written last

The work is done by the Rust crates `stategpt-packing` and `stategpt-pipeline`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, SupportsIndex

import numpy as np
import numpy.typing as npt

from stategpt import _native
from stategpt.arguments import Errors, instance, one_of, several, unicode_text, whole
from stategpt.artifacts import Manifest
from stategpt.config.control import CONTROL_TOKENS
from stategpt.data.documents import Document, replaced
from stategpt.data.tokenizer import AnyTokenizer, Tokenizer
from stategpt.errors import CorpusError, ForeignArtifact, InvalidArgument

END_OF_TEXT, PAD = CONTROL_TOKENS[:2]

# Texts are handed over in batches of about this many characters: enough to keep all threads busy, little to hold.
_BATCH_CHARACTERS = 1 << 23
_BATCH_DOCUMENTS = 1 << 14


class Shards:
    """A published data set of token shards, opened for reading. Safe under threads and after `fork`.

    Example:
        >>> import tempfile
        >>> tok = Tokenizer.train(["to be or not to be"], vocab_size=260, special_tokens=["<|endoftext|>"])
        >>> ds = write_shards(["to be", "or not"], tok, tempfile.mkdtemp() + "/words")
        >>> len(ds), tok.decode(ds.document(1))
        (2, 'or not')
    """

    __slots__ = ("_manifest", "_native", "path")

    def __init__(self, native: _native.TokenShards, path: Path) -> None:
        """Wraps the compiled reader; use `Shards.open` or `write_shards`."""
        self._native = native
        self._manifest = Manifest.from_json(native.manifest())
        self.path = path

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], tokenizer: AnyTokenizer | None = None, *, verify: bool = True
    ) -> Shards:
        """Opens a data set and compares every byte with the manifest's hashes.

        Args:
            path: folder of the data set.
            tokenizer: if given, the one the ids must be of.
            verify: read everything, about a second for each 2 GB (BLAKE3; Ctrl-C ends it). False checks only the size,
                the header and the ends of every file, for a data set that was verified before.

        Raises:
            CorruptArtifact: no manifest, or a file is missing, truncated, altered or of another format (file and byte
                named).
            ForeignArtifact: not token shards, not of `tokenizer`, or with counts that contradict each other.
            StorageError: a file cannot be read, or is a folder, FIFO or device.
        """
        instance("path", path, (str, os.PathLike), "Give the folder of the data set.")
        fingerprint = None if tokenizer is None else tokenizer.fingerprint
        native = _native.TokenShards.open(os.fspath(path), fingerprint)
        if verify:
            native.verify()
        return cls(native, Path(path))

    def verify(self) -> None:
        """Reads every byte and compares it with the manifest's hashes, as `open` does. Ctrl-C ends it.

        Raises:
            CorruptArtifact: naming each file that is altered, and where.
        """
        self._native.verify()

    @property
    def manifest(self) -> Manifest:
        """The whole manifest."""
        return self._manifest

    @property
    def fingerprint(self) -> str:
        """Identity of the data set: equal fingerprints, equal bytes."""
        return self._manifest.fingerprint

    @property
    def tokenizer_fingerprint(self) -> str:
        """Fingerprint of the tokenizer the ids are of."""
        return self._manifest.fingerprints["tokenizer"]

    @property
    def num_documents(self) -> int:
        """Documents."""
        return int(self._described("documents"))

    @property
    def num_tokens(self) -> int:
        """Tokens of all documents; the end of text that packing adds to each is not counted."""
        return int(self._described("tokens"))

    @property
    def vocab_size(self) -> int:
        """Ids are below this."""
        return int(self._described("vocab_size"))

    @property
    def source(self) -> str:
        """Where the documents are from."""
        return str(self._described("source"))

    @property
    def licence(self) -> str:
        """Their licence."""
        return str(self._described("licence"))

    @property
    def length_histogram(self) -> npt.NDArray[np.uint64]:
        """uint64[lengths, 2]: each length in tokens that occurs, ascending, and the documents that have it."""
        return np.array(self._described("length_histogram"), dtype=np.uint64).reshape(-1, 2)

    def __len__(self) -> int:
        """Documents."""
        return self.num_documents

    def document(self, number: SupportsIndex) -> npt.NDArray[np.uint32]:
        """Token ids of document `number`, uint32[n]. Raises InvalidArgument past the last one."""
        return self._native.document(whole("document", number))

    def loss_mask(self, number: SupportsIndex) -> npt.NDArray[np.bool_]:
        """bool[n + 1]: which targets of document `number` are trained, its tokens and the final end of text."""
        return self._native.loss_mask(whole("document", number))

    def doc_id(self, number: SupportsIndex) -> int:
        """Identity of document `number`: the one it was written with, or its number."""
        return self._native.doc_id(whole("document", number))

    def __iter__(self) -> Iterator[npt.NDArray[np.uint32]]:
        """Token ids of every document."""
        return (self.document(number) for number in range(len(self)))

    def __repr__(self) -> str:
        """Shards(path, documents, tokens)"""
        return f"Shards({str(self.path)!r}, {self.num_documents:,} documents, {self.num_tokens:,} tokens)"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as path and fingerprint: the copy opens the same folder and refuses another data set there."""
        return _reopen, (os.path.abspath(self.path), self.fingerprint)

    def _described(self, key: str) -> Any:
        return self._manifest.extra[key]


def _reopen(path: str, fingerprint: str) -> Shards:
    """What a pickled `Shards` becomes. Contents were verified where it was pickled, if anywhere."""
    shards = Shards.open(path, verify=False)
    if shards.fingerprint != fingerprint:
        raise ForeignArtifact(
            f"{path} is the data set {shards.fingerprint}, but the one that was pickled is {fingerprint}. "
            "It was replaced meanwhile; open it again."
        )
    return shards


def write_shards(
    documents: Iterable[str | bytes | Document],
    tok: AnyTokenizer,
    out: str | os.PathLike[str],
    max_tokens: SupportsIndex = 2**28,
    *,
    source: str = "",
    licence: str = "",
    parents: Sequence[str] = (),
    end_of_text: str = END_OF_TEXT,
    special: Literal["text", "unflagged"] = "text",
    threads: SupportsIndex | None = None,
    errors: Errors = "reject",
    allow_empty: bool = False,
) -> Shards:
    """Writes a data set: texts tokenized as they come, `Document` ids as they are. Replaces what is at `out`.

    Nothing appears at `out` before everything is written, hashed and durable; an error or a crash leaves what was
    there. The bytes depend on the documents only, not on `threads`. Memory: a few tens of megabytes.

    Args:
        documents: `str`, UTF-8 `bytes` or `Document`, in any mixture.
        tok: tokenizer; text never becomes a token flagged special.
        out: folder of the data set.
        max_tokens: tokens of one shard folder at most; a longer document gets a shard of its own.
        source: where the documents are from.
        licence: their licence.
        parents: manifest fingerprints of the artifacts they were made from.
        end_of_text: special token around documents. Rows are padded with <|pad|> if the tokenizer has it.
        special: "text": text that spells an added token is text. "unflagged": it becomes the token unless that is
            flagged special, as in models whose vocabularies have runs of spaces as added tokens (Phi-2, GPT-NeoX).
        threads: threads that tokenize; by default as many as the machine lends.
        errors: "reject" a text that is not Unicode, or "replace" what is not with U+FFFD.
        allow_empty: write a data set even if there are no documents.

    Raises:
        CorpusError: there are no documents, or one is not UTF-8 or holds a lone surrogate; its number and the place
            are named.
        UnknownToken: a `Document` holds an id that `tok` does not have, also in a gap of its vocabulary.
        DataError: a `Document` whose mask trains nothing, or only some documents have a doc_id.
        InvalidArgument: a setting out of range, a tokenizer without `end_of_text`, an item of another type; "unflagged"
            with a tokenizer that does not flag `end_of_text` or <|pad|> as special.
        StorageError, OutOfSpace: writing failed.
    """
    if isinstance(documents, str | bytes | os.PathLike):
        raise InvalidArgument("documents is one text or path; give a list of texts, or sg.data.read_documents(path)")
    if not isinstance(tok, Tokenizer):
        raise InvalidArgument(f"tok is {type(tok).__name__}; token shards are written with stategpt's tokenizers only")
    one_of("special", special, ("text", "unflagged"))
    padding = PAD if PAD in tok.special_tokens else None
    several("documents", documents, "Give a list of texts, or sg.data.read_documents(path).")
    one_of("errors", errors, ("reject", "replace"))
    unicode_text("source", source)
    unicode_text("licence", licence)
    unicode_text("end_of_text", end_of_text)
    several("parents", parents)
    for parent in parents:
        unicode_text("a parent", parent)
    workers = None if threads is None else whole("threads", threads, least=1)
    writer = _native.ShardWriter(os.fspath(out), tok, end_of_text, padding, whole("max_tokens", max_tokens, least=1))
    try:
        found = False
        for batch in _batches(documents, errors):
            found = True
            if isinstance(batch, Document):
                writer.push_ids(batch.ids, batch.mask, batch.doc_id)
            else:
                writer.push_texts(tok, batch, special, workers)
        if not found and not allow_empty:
            raise CorpusError(
                f"there are no documents to write to {os.fspath(out)}; check where they come from, or allow_empty=True"
            )
        writer.publish(source, licence, list(parents))
    finally:
        writer.abandon()  # does nothing once published
    return Shards.open(out, tok, verify=False)  # the hashes are of the bytes that were just read back


def _batches(documents: Iterable[str | bytes | Document], errors: Errors) -> Iterator[list[str | bytes] | Document]:
    """Runs of texts, and the documents between them, in order."""
    texts: list[str | bytes] = []
    size = 0
    for number, document in enumerate(documents):
        if isinstance(document, Document):
            if texts:
                yield texts
                texts, size = [], 0
            yield document
        elif isinstance(document, str | bytes):
            texts.append(replaced(document) if errors == "replace" else document)
            size += len(document)
            if size >= _BATCH_CHARACTERS or len(texts) >= _BATCH_DOCUMENTS:
                yield texts
                texts, size = [], 0
        else:
            raise InvalidArgument(f"document {number} is {type(document).__name__}; give str, bytes or sg.Document")
    if texts:
        yield texts
