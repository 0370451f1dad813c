"""Reads the header of a GGUF file from its beginning on; each count is checked before its use."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np

from stategpt.errors import CorruptArtifact, ForeignArtifact, StategptError, StorageError
from stategpt.visible_text import visible_line

from .tensors import BLOCKS, GgufTensor

HEADER_LIMIT_BYTES = 64 << 20
"""A vocabulary of 262,144 tokens with its merges takes 13 MB."""
MAX_ENTRIES = 1 << 16
"""Metadata, and tensors, of a file."""
MAX_ITEMS = 1 << 22
"""Items of all arrays together."""


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


class Header:
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
