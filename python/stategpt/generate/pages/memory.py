"""Memory of the pages: keys and values of all layers, in the two layouts that the kernels read.

On a CPU, for each layer keys [P, G, D, S] (the 16 keys of a page side by side) and values [P, G, S, D]; elsewhere both
[P, S, G, D]. Memory of a CPU is reserved as addresses: the system gives it page by page when it is first written.

Legend: P pages of S slots, G key-value heads, D head width, N tokens, L keys of one sequence.
"""

from __future__ import annotations

import math
import mmap
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from stategpt.config import GPTConfig
from stategpt.errors import InvalidArgument, OutOfPages
from stategpt.ops import page_arrays
from stategpt.ops.page_plan import PAGE_TOKENS as PAGE_TOKENS
from stategpt.quantities import size

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
"""Number formats of keys and values."""


def page_bytes(config: GPTConfig, dtype: torch.dtype) -> int:
    """Returns the bytes of one page: keys and values of its positions in every layer."""
    return 2 * config.depth * PAGE_TOKENS * config.kv_width * dtype.itemsize


class PageMemory(ABC):
    """Keys and values of `pages` pages in every layer; zeros at first.

    Raises:
        InvalidArgument: another number format.
        OutOfPages: the system does not give that much memory.
    """

    k_layers: list[Tensor]
    """Keys of each layer, views of `storage`."""
    v_layers: list[Tensor]
    """Values of each layer, views of `storage`."""

    def __init__(self, config: GPTConfig, pages: int, dtype: torch.dtype, device: torch.device) -> None:
        if dtype not in DTYPES:
            known = ", ".join(str(each).removeprefix("torch.") for each in DTYPES)
            raise InvalidArgument(f"dtype of the pages is {dtype}; it must be one of {known}")
        shape = (2, config.depth, pages, PAGE_TOKENS * config.kv_width)
        self.storage = _zeros(shape, dtype, device)
        """[2, depth, P, S G D]: keys, then values."""
        keys, values = self._shapes(config.kv_heads, config.head_dim)
        self.k_layers = [layer.view(pages, *keys) for layer in self.storage[0]]
        self.v_layers = [layer.view(pages, *values) for layer in self.storage[1]]

    @staticmethod
    @abstractmethod
    def _shapes(kv_heads: int, head_dim: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Shapes of a page's keys and values."""

    @abstractmethod
    def write(self, layer: int, page_N: Tensor, slot_N: Tensor, k_NGD: Tensor, v_NGD: Tensor) -> None:
        """Stores the keys and values of N tokens, each in its page and slot (int64)."""

    @abstractmethod
    def gathered(self, layer: int, pages: Tensor, keys: int) -> tuple[Tensor, Tensor]:
        """Returns the first `keys` keys and values of the pages, in order. -> k_GLD, v_GLD, new tensors."""

    def copy(self, sources: list[int], targets: list[int]) -> None:
        """Copies whole pages in every layer."""
        self.storage[:, :, targets] = self.storage[:, :, sources]


class TransposedPages(PageMemory):
    """The layout of `ops.attend_pages`: keys [P, G, D, S], values [P, G, S, D]."""

    @staticmethod
    def _shapes(kv_heads: int, head_dim: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        return (kv_heads, head_dim, PAGE_TOKENS), (kv_heads, PAGE_TOKENS, head_dim)

    @cached_property
    def arrays(self) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        """Keys and values of each layer as arrays that share their memory; for number formats of the kernel."""
        return [page_arrays(keys, values) for keys, values in zip(self.k_layers, self.v_layers, strict=True)]

    def write(self, layer: int, page_N: Tensor, slot_N: Tensor, k_NGD: Tensor, v_NGD: Tensor) -> None:
        """See `PageMemory.write`."""
        keys, values = self.k_layers[layer], self.v_layers[layer]
        keys[page_N, :, :, slot_N] = k_NGD.to(keys.dtype)
        values[page_N, :, slot_N] = v_NGD.to(values.dtype)

    def gathered(self, layer: int, pages: Tensor, keys: int) -> tuple[Tensor, Tensor]:
        """See `PageMemory.gathered`."""
        k_MGDS, v_MGSD = self.k_layers[layer][pages], self.v_layers[layer][pages]
        k_GLD = k_MGDS.permute(1, 0, 3, 2).flatten(1, 2)[:, :keys]
        return k_GLD, v_MGSD.transpose(0, 1).flatten(1, 2)[:, :keys]


class SlotPages(PageMemory):
    """The layout of `ops.paged_attention`: keys and values [P, S, G, D]."""

    @staticmethod
    def _shapes(kv_heads: int, head_dim: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        shape = PAGE_TOKENS, kv_heads, head_dim
        return shape, shape

    def write(self, layer: int, page_N: Tensor, slot_N: Tensor, k_NGD: Tensor, v_NGD: Tensor) -> None:
        """See `PageMemory.write`."""
        keys, values = self.k_layers[layer], self.v_layers[layer]
        keys[page_N, slot_N] = k_NGD.to(keys.dtype)
        values[page_N, slot_N] = v_NGD.to(values.dtype)

    def gathered(self, layer: int, pages: Tensor, keys: int) -> tuple[Tensor, Tensor]:
        """See `PageMemory.gathered`."""
        k_LGD, v_LGD = (each[layer][pages].flatten(0, 1)[:keys] for each in (self.k_layers, self.v_layers))
        return k_LGD.transpose(0, 1), v_LGD.transpose(0, 1)


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros that take memory when they are written, on a CPU.

    Not `torch.zeros`, which writes them, nor numpy's, which asks for huge pages: a layer whose first page is written
    would take 2 MB for each of keys and values.
    """
    count = math.prod(shape) * dtype.itemsize
    try:
        with torch.inference_mode(False):  # a pool that was made in this mode may be written outside it
            if device.type != "cpu":
                return torch.zeros(shape, dtype=dtype, device=device)
            return torch.frombuffer(mmap.mmap(-1, count), dtype=dtype).view(shape)
    except (OSError, ValueError, OverflowError, MemoryError, torch.OutOfMemoryError):
        raise OutOfPages(
            f"{shape[2]:,} pages take {size(count)}, which the system does not give on {device}; make the pool smaller"
        ) from None
