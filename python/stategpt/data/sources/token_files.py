"""Token files of other programs, as documents of ids for `write_shards`: nanoGPT, llm.c and Megatron.

    nanogpt    `.bin`: 16-bit ids without a header
    llm_c      `.bin`: 256 numbers of 32 bits (20240520, version 1, number of tokens), then 16-bit ids; also those of
               modded-nanogpt
    megatron   `.bin` and `.idx`: ids of the width that the index says, and where each sequence and document starts

The first two have no document boundaries but the end-of-text id, which must be given. The ids mean nothing without
their tokenizer: `write_shards` refuses ids that its tokenizer does not have.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from stategpt.arguments import one_of, whole
from stategpt.errors import CorpusError, InvalidArgument, StorageError
from stategpt.files import open_regular
from stategpt.packing import TokenizedDocument

FORMATS = ("nanogpt", "llm_c", "megatron")
MAX_DOCUMENT_TOKENS = 1 << 28
"""Longest document: more without an end of text means that another id ends documents."""

_BLOCK_TOKENS = 1 << 20
_LLM_C_MAGIC, _LLM_C_VERSION, _LLM_C_HEADER = 20240520, 1, 1024
_MEGATRON_MAGIC = b"MMIDIDX\0\0"
_MEGATRON_TYPES = {1: "u1", 2: "i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2"}

Ids = npt.NDArray[np.uint32]


def tokens(
    path: str | os.PathLike[str], *, end_of_text: int | None = None, format: str = ""
) -> Iterator[TokenizedDocument]:
    """The documents of a token file, without their end of text; empty ones are left out.

    Args:
        path: the `.bin` file (of Megatron, the one with an `.idx` of the same name beside it).
        end_of_text: id between documents; needed for nanoGPT and llm.c.
        format: nanogpt, llm_c or megatron; by default what the file is.

    Raises:
        CorpusError: the file cannot be read, is shorter than it says, or holds no such format; a negative id; a
            document of more than 2**28 tokens.
        InvalidArgument: `end_of_text` is missing.
    """
    if format:
        one_of("format", format, FORMATS)
    file = Path(path)
    form = format or _format_of(file)
    end = None if end_of_text is None else whole("end_of_text", end_of_text)
    if form == "megatron":
        return _megatron(file, end)
    if end is None:
        raise InvalidArgument(
            f"{file} is of {form}, where only an id ends documents; give end_of_text (50256 for gpt2)"
        )
    return _flat(file, end, form)


def _format_of(path: Path) -> str:
    if os.path.isfile(_index_of(path)):
        return "megatron"
    with _opened(path) as file:
        start = file.read(8)
    is_llm_c = len(start) == 8 and np.frombuffer(start, "<i4")[0] == _LLM_C_MAGIC
    return "llm_c" if is_llm_c else "nanogpt"


def _index_of(path: Path) -> Path:
    return path.parent / f"{path.stem}.idx"  # Path.with_suffix raises for a path without a name


def _flat(path: Path, end: int, form: str) -> Iterator[TokenizedDocument]:
    """Documents of a stream of 16-bit ids, cut at the end-of-text id."""
    with _opened(path) as file:
        _require_size(path, file, form)
        waiting: list[Ids] = []
        held = 0
        while block := file.read(2 * _BLOCK_TOKENS):
            ids = np.frombuffer(block, "<u2").astype(np.uint32)
            parts = np.split(ids, np.flatnonzero(ids == end))
            for number, part in enumerate(parts):
                if number:
                    if held:
                        yield TokenizedDocument(np.concatenate(waiting))
                    waiting, held = [], 0
                    part = part[1:]  # the end of text itself
                if len(part):
                    waiting.append(part)
                    held += len(part)
                _require_length(path, held)
        if held:
            yield TokenizedDocument(np.concatenate(waiting))


def _require_size(path: Path, file: BinaryIO, form: str) -> None:
    size = os.fstat(file.fileno()).st_size
    if form == "llm_c":
        head = file.read(_LLM_C_HEADER)
        header = np.frombuffer(head, "<i4") if len(head) == _LLM_C_HEADER else np.zeros(3, "<i4")
        if header[0] != _LLM_C_MAGIC or header[1] != _LLM_C_VERSION:
            raise CorpusError(f"{path} has not the header of llm.c ({_LLM_C_MAGIC}, version {_LLM_C_VERSION})")
        if size != _LLM_C_HEADER + 2 * int(header[2]):
            raise CorpusError(
                f"{path} has {size:,} bytes, and {_LLM_C_HEADER + 2 * int(header[2]):,} by its header of "
                f"{int(header[2]):,} tokens; it is cut off, write it again"
            )
    elif size % 2:
        raise CorpusError(f"{path} has {size:,} bytes, an odd number: no file of 16-bit ids, or cut off")


class _Index(NamedTuple):
    """An `.idx` file: lengths and first bytes of sequences, and the first sequence of each document."""

    type: np.dtype[np.generic]
    lengths: npt.NDArray[np.int32]
    pointers: npt.NDArray[np.int64]
    documents: npt.NDArray[np.int64]


def _megatron(path: Path, end: int | None) -> Iterator[TokenizedDocument]:
    index = _index(_index_of(path))
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        last = int((index.pointers + index.lengths * np.int64(index.type.itemsize)).max(initial=0))
        if last > size or (index.pointers < 0).any() or (index.lengths < 0).any():
            raise CorpusError(f"{path} has {size:,} bytes, and its index speaks of {last:,}; one of them is cut off")
        for first, after in zip(index.documents[:-1].tolist(), index.documents[1:].tolist(), strict=True):
            _require_length(path, int(index.lengths[first:after].sum(dtype=np.int64)))
            parts = [_sequence(file, path, index, number) for number in range(first, after)]
            ids = np.concatenate([np.empty(0, np.uint32), *parts])
            if end is not None and len(ids) and ids[-1] == end:
                ids = ids[:-1]
            if len(ids):
                yield TokenizedDocument(ids)


def _sequence(file: BinaryIO, path: Path, index: _Index, number: int) -> Ids:
    file.seek(int(index.pointers[number]))
    wanted = int(index.lengths[number]) * index.type.itemsize
    found = np.frombuffer(file.read(wanted), index.type)
    if len(found) != index.lengths[number]:
        raise CorpusError(f"{path} became shorter while it was read")
    if len(found) and (int(found.min()) < 0 or int(found.max()) >= 2**32):
        raise CorpusError(f"{path}: sequence {number} has an id that is negative or over 32 bits")
    return found.astype(np.uint32)


def _index(path: Path) -> _Index:
    with _opened(path) as file:
        head = file.read(len(_MEGATRON_MAGIC) + 8 + 1 + 16)
        if not head.startswith(_MEGATRON_MAGIC) or len(head) < len(_MEGATRON_MAGIC) + 25:
            raise CorpusError(f"{path} is not an index of Megatron; give the .bin file of one, or the format")
        counts = np.frombuffer(head[-16:], "<u8")
        sequences, starts, code = int(counts[0]), int(counts[1]), head[-17]
        size = os.fstat(file.fileno()).st_size
        if code not in _MEGATRON_TYPES:
            raise CorpusError(f"{path}: the type of its ids has the code {code}, which is no type of whole numbers")
        if size < len(head) + 12 * sequences + 8 * starts:
            raise CorpusError(f"{path} has {size:,} bytes, too few for {sequences:,} sequences; it is cut off")
        lengths = np.frombuffer(file.read(4 * sequences), "<i4")
        pointers = np.frombuffer(file.read(8 * sequences), "<i8")
        documents = np.frombuffer(file.read(8 * starts), "<i8")
    rises = bool((np.diff(documents) >= 0).all())
    if not len(documents) or not rises or documents[0] != 0 or documents[-1] != sequences:
        raise CorpusError(f"{path}: its documents are not consecutive sequences; write it again")
    return _Index(np.dtype(_MEGATRON_TYPES[code]), lengths, pointers, documents)


def _require_length(path: Path, count: int) -> None:
    if count > MAX_DOCUMENT_TOKENS:
        raise CorpusError(
            f"{path} has a document of over {MAX_DOCUMENT_TOKENS:,} tokens: end_of_text is not the id that ends "
            "documents"
        )


def _opened(path: Path) -> BinaryIO:
    try:
        return open_regular(path)
    except StorageError as error:
        raise CorpusError(f"{path} cannot be read ({error})") from error
