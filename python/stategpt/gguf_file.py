"""Reads the header of GGUF files (versions 2 and 3): metadata and tensor directory, each count checked before its use.

    4 bytes     "GGUF"
    uint32      version
    uint64 x 2  number of tensors, number of metadata
    metadata    string key, uint32 type, value; arrays have the type of their items, their number, then the items
    directory   string name, uint32 dimensions, uint64 of each (the fastest first), uint32 type, uint64 offset
    data        from the next multiple of `general.alignment`: the tensors in turn, each padded to such a multiple

Strings are a uint64 length and UTF-8. Everything is little-endian. The format: ggml's docs/gguf.md. Nothing is mapped
into memory, and nothing is allocated before the bytes for it are known to be in the file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NoReturn

import numpy as np

from stategpt.errors import CorruptArtifact, ForeignArtifact, StategptError, StorageError
from stategpt.files import open_regular
from stategpt.visible_text import visible_line

SUFFIX = ".gguf"
HEADER_LIMIT_BYTES = 64 << 20
"""A vocabulary of 262,144 tokens with its merges takes 13 MB."""
MAX_ENTRIES = 1 << 16
"""Metadata, and tensors, of a file."""
MAX_ITEMS = 1 << 22
"""Items of all arrays together."""

BLOCKS: Mapping[str, tuple[int, int, int]] = {
    "F32": (0, 1, 4),
    "F16": (1, 1, 2),
    "Q4_0": (2, 32, 18),
    "Q4_1": (3, 32, 20),
    "Q5_0": (6, 32, 22),
    "Q5_1": (7, 32, 24),
    "Q8_0": (8, 32, 34),
    "Q2_K": (10, 256, 84),
    "Q3_K": (11, 256, 110),
    "Q4_K": (12, 256, 144),
    "Q5_K": (13, 256, 176),
    "Q6_K": (14, 256, 210),
    "Q8_K": (15, 256, 292),
    "IQ2_XXS": (16, 256, 66),
    "IQ2_XS": (17, 256, 74),
    "IQ3_XXS": (18, 256, 98),
    "IQ1_S": (19, 256, 50),
    "IQ4_NL": (20, 32, 18),
    "IQ3_S": (21, 256, 110),
    "IQ2_S": (22, 256, 82),
    "IQ4_XS": (23, 256, 136),
    "I8": (24, 1, 1),
    "I16": (25, 1, 2),
    "I32": (26, 1, 4),
    "I64": (27, 1, 8),
    "F64": (28, 1, 8),
    "IQ1_M": (29, 256, 56),
    "BF16": (30, 1, 2),
    "TQ1_0": (34, 256, 54),
    "TQ2_0": (35, 256, 66),
    "MXFP4": (39, 32, 17),
}
"""Type of a tensor -> its number in the file, values of a block, bytes of a block."""

_NUMBERS: Mapping[int, np.dtype[Any]] = {
    code: np.dtype(name)
    for code, name in {
        0: "<u1",
        1: "<i1",
        2: "<u2",
        3: "<i2",
        4: "<u4",
        5: "<i4",
        6: "<f4",
        7: "<u1",
        10: "<u8",
        11: "<i8",
        12: "<f8",
    }.items()
}
_UINT32, _BOOL, _STRING, _ARRAY = 4, 7, 8, 9
_NAME_OF = {code: (name, values, size) for name, (code, values, size) in BLOCKS.items()}
_MAX_NAME_BYTES, _MAX_KEY_BYTES, _MAX_DIMENSIONS, _MAX_DEPTH = 1024, 1 << 16, 4, 4
_ALIGNMENT_KEY, _DEFAULT_ALIGNMENT, _MAX_ALIGNMENT = "general.alignment", 32, 1 << 16
_SPLIT_KEY = "split.count"


@dataclass(frozen=True)
class GgufTensor:
    """One tensor of the file."""

    dtype: str
    """A key of `BLOCKS`."""
    shape: tuple[int, ...]
    """As torch has it: the axis whose values are neighbors comes last."""
    begin: int
    end: int
    """Bytes `begin` to `end` of the file, without padding."""

    @property
    def row_bytes(self) -> int:
        """Bytes of one row, along the last axis."""
        _, values, size = BLOCKS[self.dtype]
        return self.shape[-1] // values * size


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
            header = _Header(self._file, self.path, size)
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


class _Header:
    """Reads the header from its beginning on."""

    def __init__(self, file: BinaryIO, path: Path, size: int) -> None:
        self._file, self._path, self._size = file, path, size
        self._at = 0
        self._items_left = MAX_ITEMS

    def counts(self) -> tuple[int, int]:
        """Checks magic and version. -> numbers of tensors and of metadata."""
        if self._take(4, "the magic") != b"GGUF":
            self._fail("the magic", 0, "it does not begin with GGUF: give a .gguf file", ForeignArtifact)
        version = self._integer(4, "the version")
        if version in (2 << 24, 3 << 24):
            self._fail("the version", 4, "it is big-endian; convert it for little-endian machines", ForeignArtifact)
        if version not in (2, 3):
            self._fail("the version", 4, f"it is {version}; versions 2 and 3 are read", ForeignArtifact)
        tensors, entries = self._integer(8, "the number of tensors"), self._integer(8, "the number of metadata")
        for what, count, offset in (("tensors", tensors, 8), ("metadata", entries, 16)):
            if count > MAX_ENTRIES:
                self._fail(f"the number of {what}", offset, f"it is {count}; at most {MAX_ENTRIES} are read")
        return tensors, entries

    def metadata(self, count: int) -> dict[str, Any]:
        """Reads the metadata. Refuses a file that is one part of several."""
        found: dict[str, Any] = {}
        for number in range(count):
            at = self._at
            key = self._string(f"the key of metadata {number}", _MAX_KEY_BYTES)
            shown = visible_line(key, 120)
            if key in found:
                self._fail(shown, at, "the key is there twice")
            found[key] = self._value(shown, self._integer(4, shown), _MAX_DEPTH)
        parts = found.get(_SPLIT_KEY, 1)
        if parts not in (0, 1):
            self._fail(
                _SPLIT_KEY, 0, f"it is one of {parts} parts; join them with llama-gguf-split --merge", ForeignArtifact
            )
        return found

    def alignment(self, metadata: Mapping[str, Any]) -> int:
        """Checks the multiple that tensors begin at."""
        found = metadata.get(_ALIGNMENT_KEY, _DEFAULT_ALIGNMENT)
        if type(found) is not int or not 8 <= found <= _MAX_ALIGNMENT or found & (found - 1):
            self._fail(_ALIGNMENT_KEY, 0, f"it is {found!a}; a power of two of 8 to {_MAX_ALIGNMENT} is expected")
        return found

    def tensors(self, count: int, alignment: int, size: int) -> dict[str, GgufTensor]:
        """Reads the directory, and checks that the tensors fill the data in turn."""
        found: dict[str, tuple[str, tuple[int, ...], int, int, int]] = {}
        for number in range(count):
            at = self._at
            name = self._string(f"the name of tensor {number}", _MAX_NAME_BYTES)
            if name in found:
                self._fail(visible_line(name, 120), at, "the tensor is there twice")
            found[name] = self._tensor(visible_line(name, 120), at)
        data = _padded(self._at, alignment)
        result, end = {}, 0
        for name, (dtype, shape, offset, length, at) in sorted(found.items(), key=lambda item: item[1][2]):
            shown = visible_line(name, 120)
            if offset != _padded(end, alignment):
                rule = f"expected {_padded(end, alignment)}: tensors follow one another without gaps or overlaps"
                self._fail(shown, at, f"its offset is {offset}, {rule}")
            end = offset + length
            if data + end > size:
                self._fail(shown, at, f"it ends at byte {data + end} of a file of {size}; the file is truncated")
            result[name] = GgufTensor(dtype, shape, data + offset, data + end)
        if size > _padded(data + end, alignment):
            self._fail("the data", data + end, f"the tensors end here, the file at byte {size}")
        return {name: result[name] for name in found}

    def _tensor(self, shown: str, at: int) -> tuple[str, tuple[int, ...], int, int, int]:
        """-> type, shape, offset in the data, bytes, place of the entry."""
        dimensions = self._integer(4, shown)
        if not 1 <= dimensions <= _MAX_DIMENSIONS:
            self._fail(shown, at, f"it has {dimensions} dimensions; 1 to {_MAX_DIMENSIONS} are read")
        fastest_first = [self._integer(8, shown) for _ in range(dimensions)]
        code, offset = self._integer(4, shown), self._integer(8, shown)
        if code not in _NAME_OF:
            self._fail(shown, at, f"its type has the number {code}, which is not known here", ForeignArtifact)
        dtype, values, size = _NAME_OF[code]
        count = math.prod(fastest_first)
        if not 0 < count < 1 << 62 or fastest_first[0] % values:
            rule = f"rows of {dtype} have a multiple of {values} values, and no axis is empty"
            self._fail(shown, at, f"its shape is {fastest_first[::-1]}; {rule}")
        return dtype, tuple(fastest_first[::-1]), offset, count // values * size, at

    def _value(self, shown: str, kind: int, depth: int) -> Any:
        if kind == _STRING:
            return self._string(shown, HEADER_LIMIT_BYTES)
        if kind == _ARRAY:
            return self._array(shown, depth)
        return self._numbers(shown, kind, 1)[0]

    def _array(self, shown: str, depth: int) -> list[Any]:
        at = self._at
        kind, count = self._integer(4, shown), self._integer(8, shown)
        if depth == 0:
            self._fail(shown, at, f"arrays are nested more than {_MAX_DEPTH} deep")
        if count > self._items_left:
            self._fail(shown, at, f"the array has {count} items; all arrays of a file have at most {MAX_ITEMS}")
        self._items_left -= count
        if kind not in (_STRING, _ARRAY):
            return self._numbers(shown, kind, count)
        self._require(count * (8 if kind == _STRING else 12), shown)
        return [self._value(shown, kind, depth - 1) for _ in range(count)]

    def _numbers(self, shown: str, kind: int, count: int) -> list[Any]:
        at = self._at
        if kind not in _NUMBERS:
            self._fail(shown, at, f"the type of its value has the number {kind}, which is not known here")
        numbers = np.frombuffer(self._take(count * _NUMBERS[kind].itemsize, shown), dtype=_NUMBERS[kind])
        found: list[Any] = numbers.tolist()
        if kind != _BOOL:
            return found
        if count and numbers.max() > 1:
            self._fail(shown, at, "a truth value is neither 0 nor 1")
        return [bool(each) for each in found]

    def _string(self, shown: str, limit: int) -> str:
        at = self._at
        length = self._integer(8, shown)
        if length > limit:
            self._fail(shown, at, f"a string has {length} bytes; at most {limit} are read")
        try:
            return self._take(length, shown).decode()
        except UnicodeDecodeError as error:
            self._fail(shown, at, f"a string is not UTF-8 ({error.reason} at its byte {error.start})")

    def _integer(self, width: int, shown: str) -> int:
        return int.from_bytes(self._take(width, shown), "little")

    def _take(self, count: int, shown: str) -> bytes:
        self._require(count, shown)
        try:
            found = self._file.read(count)
        except OSError as error:
            raise StorageError(f"cannot read {self._path} ({error}). Check the disk.") from error
        if len(found) != count:
            self._fail(shown, self._at, "the file became shorter while it was read")
        self._at += count
        return found

    def _require(self, count: int, shown: str) -> None:
        """`count` more bytes of the header are there to be read."""
        if self._at + count > self._size:
            self._fail(shown, self._at, f"{count} bytes are needed here, the file has {self._size}: it is truncated")
        if self._at + count > HEADER_LIMIT_BYTES:
            self._fail(shown, self._at, f"the header is longer than {HEADER_LIMIT_BYTES:,} bytes, the limit")

    def _fail(self, shown: str, at: int, message: str, error: type[StategptError] = CorruptArtifact) -> NoReturn:
        raise error(f"{self._path}, {shown}, byte {at}: {message}. Download or convert the model again.")


def _padded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
