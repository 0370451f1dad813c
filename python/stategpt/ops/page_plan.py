"""Attention on CPUs over pages of cached keys and values: any mixture of new tokens of any number of sequences.

A page holds 16 positions. The native code (`rust/attention`) loads what rows share once for a tile of their queries. A
query's bits depend on nothing but its numbers and those of the keys and values that it sees.

Legend: R rows, N tokens of all rows, H query heads, G key-value heads, D head width, P pages.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stategpt import _native
from stategpt.errors import InvalidArgument

from .attention_checks import check_numbers, shape_of

Int32s: TypeAlias = "Sequence[int] | array[int] | npt.NDArray[np.int32] | Tensor"
"""int32 numbers: a list, an array or a tensor on the CPU."""

PAGE_TOKENS = 16
"""Positions of a page; pages are aligned to positions 0, 16, 32, ... of a sequence. `rust/attention` has the same."""

DTYPES = (torch.float32, torch.bfloat16)


class PagePlan:
    """Which new tokens of a step see which pages. Made once a step, used for every layer.

    Row r has tokens `first_N1[r]` .. `first_N1[r + 1]` - 1, at positions `seen_R[r]`, `seen_R[r]` + 1, ...; the keys of
    its positions 16 i .. 16 i + 15 are in page `tables[r][i]`. A table may be longer than needed; one that is an
    `array("i")` is read fastest.

    Raises:
        InvalidArgument: counts that do not fit, negative numbers, a table too short, a slot that two rows write.
    """

    __slots__ = ("_native",)

    def __init__(self, first_N1: Int32s, seen_R: Int32s, tables: Sequence[Int32s]) -> None:
        rows = [table if isinstance(table, array) else _table(row, table) for row, table in enumerate(tables)]
        self._native = _native.PagePlan(_int32("first", first_N1), _int32("seen", seen_R), rows)

    @property
    def tokens(self) -> int:
        """New tokens of all rows."""
        return self._native.tokens

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self._native.rows

    def __repr__(self) -> str:
        return f"PagePlan(rows={self.rows}, tokens={self.tokens})"


def write_pages(plan: PagePlan, k_NGD: Tensor, v_NGD: Tensor, k_pages_PGDS: Tensor, v_pages_PGSD: Tensor) -> None:
    """Writes the plan's new keys and values into their slots, rounded to the nearest where pages are narrower.

    `k_pages` [P, G, D, 16] and `v_pages` [P, G, 16, D] are contiguous, float32 or bfloat16, on the CPU; so are the
    tokens' keys and values, but for strides.

    Raises:
        InvalidArgument: shapes, formats or devices that do not fit; a page that the pool does not have.
    """
    keys, values = _array("k", k_NGD, 3), _array("v", v_NGD, 3)
    _same("k", k_NGD, "v", v_NGD)
    if k_NGD.shape[1:] != k_pages_PGDS.shape[1:3]:
        raise InvalidArgument(
            f"k [N, G, D] is {shape_of(k_NGD)}, k_pages [P, G, D, 16] {shape_of(k_pages_PGDS)}; G and D must be equal"
        )
    k_pages, v_pages = page_arrays(k_pages_PGDS, v_pages_PGSD)
    plan._native.write(keys, values, k_pages, v_pages)


def attend_pages(
    plan: PagePlan,
    q_NHD: Tensor,
    k_pages_PGDS: Tensor,
    v_pages_PGSD: Tensor,
    *,
    scale: float | None = None,
    window: int | None = None,
    softcap: float | None = None,
    threads: int | None = None,
) -> Tensor:
    """Attention of the plan's tokens over the pages of their rows. -> o_NHD in q's dtype.

    A query at position p sees the keys of positions 0 .. p of its row, with `window` the last `window` of them; they
    must have been written. `scale`, `softcap` and heads as in `attention`; arithmetic is float32. At most `threads`
    threads work (torch's number unless given). There is no gradient.

    A query's bits depend on its numbers and those of what it sees alone: not on other rows, on the division into steps,
    on shared pages, on threads, or on what is in other slots.

    Raises:
        InvalidArgument: shapes, formats or devices that do not fit; a page that the pool does not have; numbers out of
            range.
    """
    check_numbers(scale, window, softcap)
    if threads is None:
        threads = torch.get_num_threads()
    elif isinstance(threads, bool) or threads < 1:
        raise InvalidArgument(f"threads is {threads!r}; give at least 1, or None for torch's number")
    q = _array("q", q_NHD, 3)
    k_pages, v_pages = page_arrays(k_pages_PGDS, v_pages_PGSD)
    scale = q_NHD.shape[2] ** -0.5 if scale is None else scale
    o_NHD = torch.from_numpy(plan._native.attend(q, k_pages, v_pages, scale, window, softcap, threads))
    return o_NHD if q_NHD.dtype == torch.float32 else o_NHD.view(torch.bfloat16)


def attend_joined(
    plan: PagePlan,
    qkv_NE: npt.NDArray[np.float32],
    heads: int,
    norm: tuple[npt.NDArray[np.float32], float] | None,
    rotary: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None,
    pages: tuple[npt.NDArray[Any], npt.NDArray[Any]],
    *,
    scale: float | None = None,
    window: int | None = None,
    softcap: float | None = None,
) -> npt.NDArray[np.float32]:
    """Norms and rotates the heads of a joint projection, then `write_pages` and `attend_pages` of them. -> [N, H D].

    Arrays, not tensors, and few checks: a step calls it for each layer.

    Args:
        qkv_NE: of each token H query heads, G key heads and as many value heads of width D, one behind the other.
        heads: H.
        norm: weights [H + G, D] of root-mean-square norms, and epsilon.
        rotary: cosines and sines [N, D / 2].
        pages: of `page_arrays`.
        scale, window, softcap: as in `attend_pages`.

    Raises:
        InvalidArgument: shapes that do not fit.
    """
    k_pages, v_pages = pages
    scale = k_pages.shape[2] ** -0.5 if scale is None else scale
    threads = torch.get_num_threads()
    return plan._native.attend_joined(qkv_NE, heads, norm, rotary, k_pages, v_pages, scale, window, softcap, threads)


def page_arrays(k_pages: Tensor, v_pages: Tensor) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The pages as arrays that share their memory."""
    for name, pages in (("k_pages", k_pages), ("v_pages", v_pages)):
        if not pages.is_contiguous():
            raise InvalidArgument(f"{name} has strides {pages.stride()}; pages must be contiguous")
    _same("k_pages", k_pages, "v_pages", v_pages)
    return _array("k_pages", k_pages, 4), _array("v_pages", v_pages, 4)


def _same(name: str, one: Tensor, other_name: str, other: Tensor) -> None:
    if one.dtype != other.dtype or (one.ndim == 3 and one.shape != other.shape):
        raise InvalidArgument(
            f"{name} is {one.dtype} {shape_of(one)}, {other_name} {other.dtype} {shape_of(other)}; they must be alike"
        )


def _array(name: str, tensor: Tensor, axes: int) -> npt.NDArray[Any]:
    """The numbers as an array, bfloat16 by its bits; copied only where they are not contiguous."""
    if tensor.dtype not in DTYPES or tensor.device.type != "cpu" or tensor.ndim != axes:
        raise InvalidArgument(
            f"{name} is {tensor.dtype} {shape_of(tensor)} on {tensor.device}; it takes float32 or bfloat16 with {axes} "
            "axes on the CPU (on a GPU: paged_attention)"
        )
    if tensor.requires_grad:
        if torch.is_grad_enabled():
            raise InvalidArgument(f"{name} requires a gradient, which there is none of; call it under torch.no_grad()")
        tensor = tensor.detach()
    tensor = tensor.contiguous()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.view(torch.uint16)
    numbers: npt.NDArray[Any] = tensor.numpy()
    return numbers


def _table(row: int, pages: Int32s) -> array[int] | npt.NDArray[np.int32]:
    """A table as a buffer of int32."""
    if not isinstance(pages, list):
        return _int32(f"tables[{row}]", pages)
    try:
        return array("i", pages)
    except (TypeError, OverflowError) as error:
        raise InvalidArgument(f"tables[{row}] holds what is no int32 number: {error}") from None


def _int32(name: str, numbers: Int32s) -> npt.NDArray[np.int32]:
    """One axis of int32 numbers."""
    found = np.asarray(numbers.cpu().numpy() if isinstance(numbers, Tensor) else numbers)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise InvalidArgument(f"{name} is {found.dtype} {list(found.shape)}; it takes int32 numbers in one axis")
    if found.dtype != np.int32 and found.size and not -(2**31) <= found.min() <= found.max() < 2**31:
        raise InvalidArgument(f"{name} has {found.min()} to {found.max()}, which are no int32 numbers")
    return np.ascontiguousarray(found, dtype=np.int32)
