"""The weight files of a model folder: model.safetensors, or several files and their index.

    model.safetensors.index.json        {"metadata": {"total_size": bytes}, "weight_map": {tensor: file}}
    model-00001-of-00002.safetensors    the first of them

Index and files must agree: each tensor is in the file that the index names, in no other, and none is left over.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Mapping
from functools import reduce
from pathlib import Path
from types import TracebackType
from typing import Protocol

import torch
from torch import Tensor

from stategpt.errors import CorruptArtifact, ForeignArtifact, MissingFile
from stategpt.json_reader import MapOf, Record, Text, read_record
from stategpt.machine import usable_cores

from .safetensors_file import FLOATS, HEADER_LIMIT_BYTES, SafetensorsFile, Stored, shown_name

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
MAX_SHARDS = 256
"""Open at once; 405 billion parameters come in 191."""
_INDEX_LIMIT_BYTES = 4 << 20
_INDEX = Record({"weight_map": MapOf(Text(max_chars=255))})
# A name in the same folder: no separator of any system, no drive, no hidden file.
_SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.safetensors")
_INSTEAD = {
    "pytorch_model.bin": "the weights are a pickle, which can run code and is never read: save them as safetensors",
    "pytorch_model.bin.index.json": "the weights are pickles, which can run code and are never read: save them as "
    "safetensors",
}

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
"""Endings of what torch saves by pickling, as `consolidated.00.pth` of the first Llama."""


def shard_name(number: int, count: int) -> str:
    """Returns the name of file `number` (from 0) of `count`."""
    return WEIGHTS_FILE if count == 1 else f"model-{number + 1:05}-of-{count:05}.safetensors"


class StoredTensor(Protocol):
    """What a file's header says of a tensor."""

    @property
    def dtype(self) -> str:
        """Format in the file."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """As torch has it."""
        ...


class WeightSource(Protocol):
    """Open files with the tensors of a model, by their names on disk."""

    path: Path
    described_by: str
    """What says the model's shape, for errors."""
    formats: Collection[str]
    """Formats that are read."""

    @property
    def threads(self) -> int:
        """How many tensors may be read at once."""
        ...

    @property
    def tensors(self) -> Mapping[str, StoredTensor]:
        """What is there."""
        ...

    def read(self, name: str, dtype: torch.dtype) -> Tensor:
        """Reads one as `dtype` on the CPU."""
        ...

    def common_format(self, names: Collection[str]) -> torch.dtype:
        """Returns the number format of these tensors where none is chosen."""
        ...

    def same_bytes(self, one: str, other: str) -> bool:
        """Whether two tensors have equal format, shape and bytes."""
        ...


class WeightFiles:
    """The open weight files of a folder as one; a context manager. All headers are checked before any tensor is read.

    `prefix` is put before all names where a folder leaves it out (`Family.prefix`).

    Raises:
        ForeignArtifact: pickled weights.
        CorruptArtifact: no weights; an index and files that do not agree; a file that `SafetensorsFile` refuses.
        StorageError: a file that is not a regular file or cannot be read.
    """

    described_by = "config.json"
    formats: Collection[str] = tuple(FLOATS)

    def __init__(self, folder: Path, prefix: str = "") -> None:
        self._close = contextlib.ExitStack()
        with self._close:
            try:
                self.path = folder / WEIGHTS_FILE
                files = [self._close.enter_context(SafetensorsFile(self.path))]
            except MissingFile:
                self.path = folder / INDEX_FILE
                files = self._open_shards(folder)
            self.metadata = [file.metadata for file in files]
            """Of each file."""
            bare = prefix and not any(name.startswith(prefix) for file in files for name in file.tensors)
            self._file_of: dict[str, tuple[SafetensorsFile, str]] = {}
            for file in files:
                for name in file.tensors:
                    whole = f"{prefix}{name}" if bare and not name.startswith("lm_head.") else name
                    self._file_of[whole] = file, name
            self.tensors: Mapping[str, Stored] = {
                whole: file.tensors[name] for whole, (file, name) in self._file_of.items()
            }
            self._close = self._close.pop_all()

    def __enter__(self) -> WeightFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close.close()

    def read(self, name: str, dtype: torch.dtype) -> Tensor:
        """Reads a tensor as `SafetensorsFile.read`."""
        file, stored_name = self._file_of[name]
        return file.read(stored_name, dtype)

    @property
    def threads(self) -> int:
        """How many tensors are read at once: memory answers two or three readers faster than one."""
        return min(4, usable_cores())

    def common_format(self, names: Collection[str]) -> torch.dtype:
        """Returns the narrowest number format that holds all of these tensors."""
        return reduce(torch.promote_types, {FLOATS[self.tensors[name].dtype] for name in names})

    def same_bytes(self, one: str, other: str) -> bool:
        """Whether two tensors have equal dtype, shape and bytes."""
        (file, name), (other_file, other_name) = self._file_of[one], self._file_of[other]
        return file.same_bytes(name, other_name, other_file)

    def _open_shards(self, folder: Path) -> list[SafetensorsFile]:
        weight_map = _read_index(folder)
        names = sorted(set(weight_map.values()))
        for name in names:
            if not _SHARD.fullmatch(name):
                raise CorruptArtifact(
                    f"{self.path} names the file {shown_name(name)!r}; only .safetensors files beside it are read"
                )
        if len(names) > MAX_SHARDS:
            raise CorruptArtifact(f"{self.path} names {len(names)} files; at most {MAX_SHARDS} are read")
        files, left = [], HEADER_LIMIT_BYTES  # of all headers together
        for name in names:
            try:
                file = self._close.enter_context(SafetensorsFile(folder / name, left))
            except MissingFile:
                raise CorruptArtifact(
                    f"{folder / name} is missing, and {INDEX_FILE} names it; the folder was not fully written or copied"
                ) from None
            left -= file.header_bytes
            files.append(file)
            _require_agreement(self.path, weight_map, name, file)
        return files


def _read_index(folder: Path) -> dict[str, str]:
    path = folder / INDEX_FILE
    try:
        found = read_record(path, _INDEX, error=CorruptArtifact, limit_bytes=_INDEX_LIMIT_BYTES)
    except MissingFile:
        for name, message in _INSTEAD.items():
            if (folder / name).exists():
                raise ForeignArtifact(f"{folder} holds {name}: {message}") from None
        if pickles := sorted(each.name for each in folder.glob("*") if each.suffix in _PICKLES):
            raise ForeignArtifact(f"{folder} holds {shown_name(pickles[0])}: {_INSTEAD['pytorch_model.bin']}") from None
        raise CorruptArtifact(
            f"{folder / WEIGHTS_FILE} is missing, and so is {INDEX_FILE}; the folder was not fully written or copied"
        ) from None
    weight_map: dict[str, str] = found["weight_map"]
    if not weight_map:
        raise CorruptArtifact(f"{path} names no tensor; export or download the model again")
    return weight_map


def _require_agreement(index: Path, weight_map: Mapping[str, str], name: str, file: SafetensorsFile) -> None:
    """The file has exactly the tensors that the index has for it."""
    expected = {tensor for tensor, shard in weight_map.items() if shard == name}
    if missing := expected - file.tensors.keys():
        raise CorruptArtifact(f"{file.path} lacks {shown_name(min(missing))}, which {index.name} has there")
    for tensor in sorted(file.tensors.keys() - expected):
        other = weight_map.get(tensor)
        told = f"is in {shown_name(other)} too" if other else f"is not in {index.name}"
        raise CorruptArtifact(f"{file.path}: {shown_name(tensor)} {told}; export or download the model again")
