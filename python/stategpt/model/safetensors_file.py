"""Reads .safetensors files: the whole header is checked before anything is allocated; tensors are read one by one.

    8 bytes     length of the header, little-endian
    header      JSON: name -> {"dtype", "shape", "data_offsets": [begin, end]}, and "__metadata__" of strings
    data        the tensors without gaps

Tensors are read into their final place, not mapped: a mapped file that someone truncates kills its reader, and one that
someone writes to changes the model.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from stategpt.errors import CorruptArtifact, StorageError
from stategpt.files import open_regular
from stategpt.json_reader import Integer, Items, MapOf, Record, Text, check_value, parse_json
from stategpt.visible_text import visible_line

HEADER_LIMIT_BYTES = 2 << 20
"""About 20,000 tensors; 405 billion parameters in one file would have 1,100."""

FLOATS = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
"""Number formats that weights may have, by their names in the file."""

_CHUNK = 1 << 20
_PIECE = 1 << 19
"""Numbers that are read and checked together: at most 2 MiB, which the processor's cache holds."""
_BITS = {
    torch.float32: (torch.int32, 0x7F800000),
    torch.bfloat16: (torch.int16, 0x7F80),
    torch.float16: (torch.int16, 0x7C00),
}
"""Integers of the same width, and the exponent of all ones in them."""
_ELEMENT_BYTES = {
    "F64": 8,
    "I64": 8,
    "U64": 8,
    "C64": 8,
    "F32": 4,
    "I32": 4,
    "U32": 4,
    "F16": 2,
    "BF16": 2,
    "I16": 2,
    "U16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
}
_TENSORS = MapOf(
    Record(
        {
            "dtype": Text(max_chars=32),
            "shape": Items(Integer(0), max_items=16),
            "data_offsets": Items(Integer(0), min_items=2, max_items=2),
        },
        closed=True,
    )
)
_METADATA = MapOf(Text(max_chars=1 << 16))


@dataclass(frozen=True)
class Stored:
    """One tensor of the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int
    """Bytes `begin` to `end` of the data."""


class SafetensorsFile:
    """An open file with its checked header; a context manager.

    Raises:
        MissingFile, StorageError: no such file, or not a regular one.
        CorruptArtifact: a header that breaks a rule of the format; the message names the file and the tensor.
    """

    def __init__(self, path: Path, header_limit_bytes: int = HEADER_LIMIT_BYTES) -> None:
        self.path, self._header_limit_bytes = path, header_limit_bytes
        self._file: BinaryIO = open_regular(path)
        try:
            size = self._file.seek(0, 2)
            self._file.seek(0)
            header = self._header(size)
            self.metadata: Mapping[str, str] = check_value(
                header.pop("__metadata__", {}), _METADATA, where=f"{path}, metadata", error=CorruptArtifact
            )
            found = check_value(header, _TENSORS, where=f"{path}, header", error=CorruptArtifact)
            self.tensors: Mapping[str, Stored] = {
                name: Stored(entry["dtype"], tuple(entry["shape"]), *entry["data_offsets"])
                for name, entry in found.items()
            }
            self._check_places(size - self._data)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> SafetensorsFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read(self, name: str, dtype: torch.dtype) -> Tensor:
        """Reads the tensor `name`, of a format in `FLOATS`, as `dtype` on the CPU; needs its memory and at most 4 MiB.

        Several threads may read at once.

        Raises:
            CorruptArtifact: the file became shorter, or the tensor holds an infinity or NaN.
        """
        stored = self.tensors[name]
        tensor = torch.empty(stored.shape, dtype=dtype, device="cpu")
        flat, source = tensor.view(-1), FLOATS[stored.dtype]
        buffer = None if source == dtype else torch.empty(min(_PIECE, flat.numel()), dtype=source, device="cpu")
        place = self._data + stored.begin
        for piece in torch.split(flat, _PIECE) if flat.numel() else ():
            taken = piece if buffer is None else buffer[: piece.numel()]
            place = self._fill(taken, place)
            if buffer is not None:
                piece.copy_(taken)
            # Of a piece that is still in the processor's cache: a separate pass would read all memory again.
            if not all_finite(piece):
                raise CorruptArtifact(
                    f"{self.path}: {shown_name(name)} holds values that are not finite as {str(dtype)[6:]}; "
                    "export or download the model again"
                )
        return tensor

    def same_bytes(self, one: str, other: str, file: SafetensorsFile | None = None) -> bool:
        """Whether two tensors, the second of `file` or of this one, have equal dtype, shape and bytes."""
        file = file or self
        a, b = self.tensors[one], file.tensors[other]
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            return False
        return all(x == y for x, y in zip(self._pieces(a), file._pieces(b), strict=True))

    @property
    def header_bytes(self) -> int:
        """Length of the header."""
        return self._data - 8

    def _header(self, size: int) -> dict[str, object]:
        length = int.from_bytes(self._file.read(8), "little")
        self._data = 8 + length
        if not 2 <= length <= min(self._header_limit_bytes, size - 8):
            raise CorruptArtifact(
                f"{self.path} of {size} bytes says that its header has {length}; at most "
                f"{self._header_limit_bytes:,} are read. The file is truncated or no safetensors file: export or "
                "download the model again."
            )
        where = f"{self.path}, header"
        return check_value(  # type: ignore[no-any-return]
            parse_json(self._file.read(length), where=where, error=CorruptArtifact),
            MapOf(),
            where=where,
            error=CorruptArtifact,
        )

    def _check_places(self, data_bytes: int) -> None:
        """Checks that the tensors fill the data one after another, and that each has the bytes of its shape."""
        at = 0
        for name, stored in sorted(self.tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
            width, took = _ELEMENT_BYTES.get(stored.dtype), stored.end - stored.begin
            if stored.begin != at or took < 0 or (width is not None and took != width * math.prod(stored.shape)):
                raise CorruptArtifact(
                    f"{self.path}: {shown_name(name)}, {visible_line(stored.dtype)} of shape {list(stored.shape)}, has "
                    f"the bytes {stored.begin} to {stored.end}, expected from {at} on; export or download it again"
                )
            at = stored.end
        if at != data_bytes:
            raise CorruptArtifact(
                f"{self.path} holds {data_bytes} bytes of tensors, its header describes {at}; it is truncated or "
                "damaged: export or download the model again"
            )

    def _pieces(self, stored: Stored) -> Iterator[bytes]:
        for start in range(stored.begin, stored.end, _CHUNK):
            self._file.seek(self._data + start)
            yield self._file.read(min(_CHUNK, stored.end - start))

    def _fill(self, flat: Tensor, place: int) -> int:
        """The bytes of the file from `place` on, as the numbers of `flat`; returns where they end."""
        left = flat.view(torch.uint8).numpy().data
        while left:
            try:
                count = os.preadv(self._file.fileno(), [left], place)
            except OSError as error:
                raise StorageError(f"cannot read {self.path} ({error}). Check the disk.") from error
            if not count:
                raise CorruptArtifact(f"{self.path} became shorter while it was read; export or download it again")
            left, place = left[count:], place + count
        return place


def all_finite(values: Tensor) -> bool:
    """Whether no number is an infinity or NaN, whose exponents are all ones; one pass in one thread."""
    integers, ones = _BITS[values.dtype]
    bits: np.ndarray[Any, Any] = values.view(integers).numpy()
    magnitude = np.iinfo(bits.dtype).max  # without the sign
    return not bits.size or int(np.bitwise_and(bits, magnitude).max()) < ones


def shown_name(name: str) -> str:
    """Shortens a tensor's name for a message: one line, no control characters."""
    return visible_line(name, 120)
