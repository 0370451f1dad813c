"""Token shards: documents as token ids in folders of plain `.npy` files under one manifest.

    out/00000/tokens.npy    uint16[tokens] (uint32 above 65,536 ids), documents end to end, no end of text between them
    out/00000/offsets.npy   uint64[documents + 1]
    out/00000/mask.npy      uint8[tokens + documents], optional: which targets are trained
    out/00000/doc_id.npy    uint64[documents], optional
    out/manifest.json       counts, length histogram, tokenizer, hashes, source, license; written last

The work is done by the Rust crates `stategpt-packing` and `stategpt-pipeline`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, SupportsIndex

import numpy as np
import numpy.typing as npt

from stategpt import _native
from stategpt.arguments import instance, whole
from stategpt.artifacts import Manifest
from stategpt.errors import ForeignArtifact


class Fingerprinted(Protocol):
    """A tokenizer, as far as data sets need it."""

    @property
    def fingerprint(self) -> str:
        """Identity: equal fingerprints, equal ids for every text."""


class Shards:
    """A published data set of token shards, opened for reading. Safe under threads and after `fork`.

    Example:
        >>> import stategpt as sg, tempfile
        >>> tok = sg.Tokenizer.train(["to be or not to be"], vocab_size=260, special_tokens=["<|endoftext|>"])
        >>> ds = sg.write_shards(["to be", "or not"], tok, tempfile.mkdtemp() + "/words")
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
        cls, path: str | os.PathLike[str], tokenizer: Fingerprinted | None = None, *, verify: bool = True
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
    def license(self) -> str:
        """Their license."""
        return str(self._described("license"))

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
