"""Tensors of a GGUF file as the parameters of a GPT: dequantized piece by piece, rows and norms in our convention.

format      Q4_K and the like become what the `gguf` package makes of their blocks, float32 numbers
rows        llama.cpp turns neighboring numbers in Llama's queries and keys, so its files hold their rows in
            another order: row 2 i + k of a head is our row i + k D/2 (D width of a head, k 0 or 1)
norms       files of Gemma hold 1 + weight
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stategpt.config import GPTConfig
from stategpt.config.gguf_names import GgufFamily
from stategpt.errors import CorruptArtifact
from stategpt.extras import require
from stategpt.gguf_file import GgufFile, GgufTensor

from .safetensors_file import FLOATS, shown_name

QUANTIZED = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")
"""Formats that need the `gguf` package."""
_NUMPY = {"F32": "<f4", "F16": "<f2", "BF16": "<i2"}
_PIECE = 1 << 18
"""Numbers that are read at a time."""


class GgufWeights:
    """The tensors of an open file, for a model of shape `config`; a `WeightSource`."""

    described_by = "the file's metadata"
    formats: Collection[str] = (*FLOATS, *QUANTIZED)

    threads = 1
    """How many tensors are read at once: the file has one place to read from."""

    def __init__(self, file: GgufFile, record: GgufFamily, config: GPTConfig) -> None:
        self._file, self._record, self._config = file, record, config
        self.path = file.path
        self.tensors: Mapping[str, GgufTensor] = file.tensors

    def same_bytes(self, one: str, other: str) -> bool:
        """Whether two tensors have equal type, shape and bytes."""
        return self._file.same_bytes(one, other)

    def common_format(self, names: Collection[str]) -> torch.dtype:
        """Returns the number format of the weights where none is chosen.

        float32 for quantized ones. Otherwise the format of the matrices, if it holds the vectors exactly: writers of
        GGUF store vectors as float32 whatever the model had. Else the narrowest that holds all.
        """
        formats = {self.tensors[name].dtype for name in names if len(self.tensors[name].shape) > 1}
        if len(formats) != 1 or not formats <= FLOATS.keys():
            return torch.float32
        (found,) = (FLOATS[name] for name in formats)
        vectors = [name for name in names if len(self.tensors[name].shape) == 1 and self.tensors[name].dtype == "F32"]
        exact = all(torch.equal(whole.to(found).float(), whole) for name in vectors for whole in self._pieces(name))
        return found if exact else torch.float32

    def read(self, name: str, dtype: torch.dtype) -> Tensor:
        """Reads a tensor as `dtype` on the CPU; needs its memory and about 20 MB.

        Raises:
            CorruptArtifact: the file became shorter, or the tensor holds an infinity or NaN.
            MissingExtra: it is quantized, and the `gguf` package is not installed.
        """
        tensor = torch.empty(self.tensors[name].shape, dtype=dtype, device="cpu")
        matrix = tensor.view(self._rows_columns(name))
        places, at = self._row_places(name), 0
        for piece in self._pieces(name):
            rows = slice(at, at + len(piece))
            if places is None:
                matrix[rows] = piece
            else:
                matrix.index_copy_(0, places[rows], piece.to(dtype))
            at += len(piece)
        if not all(math.isfinite(float(bound)) for bound in tensor.aminmax()):
            raise CorruptArtifact(
                f"{self.path}: {shown_name(name)} holds values that are not finite as {str(dtype)[6:]}; "
                "download or convert the model again"
            )
        return tensor

    def _pieces(self, name: str) -> Iterator[Tensor]:
        """Rows of a tensor in the file's order, with norms in our convention. -> float[rows, columns]."""
        stored = self.tensors[name]
        rows, columns = self._rows_columns(name)
        row_bytes, step = (stored.end - stored.begin) // rows, max(1, _PIECE // columns)
        offset = self._record.norm_offset if name.endswith("norm.weight") else 0.0
        for at in range(0, rows, step):
            count = min(step, rows - at)
            content = self._file.read(stored.begin + at * row_bytes, count * row_bytes)
            piece = _numbers(content.reshape(count, row_bytes), stored.dtype)
            yield piece - offset if offset else piece

    def _rows_columns(self, name: str) -> tuple[int, int]:
        """A tensor as a matrix; the numbers of a vector are rows where its blocks allow it."""
        stored = self.tensors[name]
        if len(stored.shape) == 1 and stored.dtype in FLOATS:
            return stored.shape[0], 1
        return math.prod(stored.shape[:-1]), stored.shape[-1]

    def _row_places(self, name: str) -> Tensor | None:
        """Our row of each row in the file; None: the same."""
        return None if self._record.pairs_apart else row_places(name, self._config)


def row_places(name: str, config: GPTConfig) -> Tensor | None:
    """Returns our row of each row of a tensor of queries or keys in files where pairs are neighbors; None for others.

    -> int64[rows].
    """
    heads = {"attn_q": config.heads, "attn_k": config.kv_heads}.get(name.split(".")[-2])
    if heads is None:
        return None
    half = config.head_dim // 2
    in_head = torch.stack((torch.arange(half), torch.arange(half) + half), dim=1).view(-1)
    return (torch.arange(heads)[:, None] * config.head_dim + in_head).view(-1)


def _numbers(rows: np.ndarray[Any, np.dtype[np.uint8]], dtype: str) -> Tensor:
    """The numbers of whole rows of blocks. -> float[rows, columns]."""
    if dtype in FLOATS:
        return torch.from_numpy(rows.view(_NUMPY[dtype])).view(FLOATS[dtype])
    require("gguf", f"reading {dtype} weights", "hf")
    from gguf import GGMLQuantizationType, dequantize  # of the extra `hf`; its import takes a third of a second

    with np.errstate(all="ignore"):  # what is not finite is refused by name
        # Blocks are independent, and the package takes 16 rows at a time: as one row it is several times as fast.
        flat = dequantize(rows.reshape(1, -1), GGMLQuantizationType[dtype])
    return torch.from_numpy(flat.reshape(len(rows), -1))
