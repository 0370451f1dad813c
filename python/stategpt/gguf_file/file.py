"""An open GGUF file with its checked header."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from stategpt.errors import CorruptArtifact, StorageError
from stategpt.files import open_regular

from .header import Header
from .tensors import GgufTensor

SUFFIX = ".gguf"


class GgufFile:
    """An open file with its checked header; a context manager.

    Raises:
        MissingFile, StorageError: no such file, or not a regular one.
        ForeignArtifact: no GGUF, another version, a big-endian file, one part of several, an unknown type of tensor.
        CorruptArtifact: a header that breaks a rule of the format; the message has the file, the key or tensor and the
            offset.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file: BinaryIO = open_regular(path)
        try:
            size = self._file.seek(0, 2)
            self._file.seek(0)
            header = Header(self._file, self.path, size)
            tensors, entries = header.counts()
            self.metadata: Mapping[str, Any] = header.metadata(entries)
            """Value of each key: bool, int, float, str, or a list of one of them."""
            self.alignment = header.alignment(self.metadata)
            self.tensors: Mapping[str, GgufTensor] = header.tensors(tensors, self.alignment, size)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> GgufFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read(self, begin: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        """Reads `count` bytes from byte `begin` on. -> uint8[count], writable.

        Raises `CorruptArtifact` when the file became shorter.
        """
        found = np.empty(count, dtype=np.uint8)
        left = found.data
        try:
            self._file.seek(begin)
            while left:
                if not (got := self._file.readinto(left)):  # type: ignore[attr-defined]
                    raise CorruptArtifact(f"{self.path} became shorter while it was read; download it again")
                left = left[got:]
        except OSError as error:
            raise StorageError(f"cannot read {self.path} ({error}). Check the disk.") from error
        return found

    def same_bytes(self, one: str, other: str) -> bool:
        """Whether two tensors have equal type, shape and bytes."""
        a, b, piece = self.tensors[one], self.tensors[other], 1 << 20
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            return False
        size = a.end - a.begin
        return all(
            np.array_equal(self.read(a.begin + at, count), self.read(b.begin + at, count))
            for at in range(0, size, piece)
            for count in (min(piece, size - at),)
        )


def is_gguf(path: str | os.PathLike[str]) -> bool:
    """Whether a path names a GGUF file and not a folder: by its ending, so that a file that is missing is said so."""
    return Path(path).suffix == SUFFIX and not Path(path).is_dir()


def read_metadata(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """Reads the metadata of a GGUF file. -> key -> bool, int, float, str, or a list of one of them.

    Raises as `GgufFile`, whose checks of the tensor directory apply too.
    """
    with GgufFile(path) as file:
        return file.metadata
