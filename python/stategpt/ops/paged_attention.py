"""Attention over a paged cache: validates, chooses an implementation, logs the choice once, and runs it.

Legend: B sequences, H query heads, G key-value heads, D head width, P pages of S slots, M pages a row of a page table,
F shared prefixes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import torch
from torch import Tensor

from stategpt.errors import InvalidArgument
from stategpt.kernels.paged_attention.binding import paged_attention_op
from stategpt.shown_fields import documented, short_repr

from .attention_checks import check_last_axes, check_operands, shape_of
from .backend import MAX_HEAD_DIM, constant_when_traced, triton_obstacle

PagedBackend = Literal["auto", "reference", "triton"]


_log = logging.getLogger(__name__)


@documented
@dataclass(frozen=True)
class SharedPrefix:
    """Keys that several sequences share: read once for all of them. Tensors are int32, on the device of the pages.

    Sequences starts[f] .. starts[f + 1] - 1 share prefix f, whose keys come before their own; those before starts[0]
    and from starts[F] on have no prefix.
    """

    page_table_FM: Tensor
    """[F, M]: page with keys [i * S, (i + 1) * S) of the prefix; M need not be that of the sequences' own table."""
    lengths_F: Tensor
    """[F]: keys of each prefix, 0 allowed."""
    starts: Tensor
    """[F + 1]: never decreasing, from 0 to B."""

    __repr__ = short_repr


def paged_attention(
    q_BHD: Tensor,
    k_pages_PSGD: Tensor,
    v_pages_PSGD: Tensor,
    page_table_BM: Tensor,
    lengths_B: Tensor,
    *,
    prefix: SharedPrefix | None = None,
    window: int | None = None,
    softcap: float | None = None,
    scale: float | None = None,
    backend: PagedBackend = "auto",
) -> Tensor:
    """Attention of one new token a sequence over the keys in its pages. -> o_BHD in q's dtype.

    o[b] = softmax(cap(scale * q[b] . k)) . v, `cap(x)` being `softcap * tanh(x / softcap)`, or x without `softcap`.
    int32 `page_table_BM[b, i]` is the page with sequence b's own keys [i * S, (i + 1) * S), and `lengths_B[b]` (int32)
    counts them, the new token's included; entries and slots past it may hold anything. With `window` only the last
    `window` keys count, prefix and own together. A sequence that sees no key gives 0. `scale` is 1 / sqrt(D) unless
    given. Query head h reads key-value head h // (H / G). For inference: there is no gradient.

    Nothing waits for the device, and launches depend on shapes alone: a CUDA graph of a call stays valid while lengths,
    tables and starts change in place. So values on a device are not checked; on the CPU they are.

    Raises:
        InvalidArgument: shapes, dtypes, strides or devices that do not fit; a backend that cannot run here; on the CPU
            also lengths, pages or starts out of range.
    """
    _validate(q_BHD, k_pages_PSGD, v_pages_PSGD, window, softcap, scale)
    B, S, device = q_BHD.shape[0], k_pages_PSGD.shape[1], q_BHD.device
    _validate_table("page_table", page_table_BM, "lengths", lengths_B, B, device)
    if prefix is not None:
        F = prefix.lengths_F.numel()
        _validate_table("prefix.page_table", prefix.page_table_FM, "prefix.lengths", prefix.lengths_F, F, device)
        _require_int32("prefix.starts", prefix.starts, [F + 1], device)
        if F == 0:
            raise InvalidArgument("prefix has no prefixes (lengths [0]); pass prefix=None")
    if device.type == "cpu" and not torch.compiler.is_compiling():
        pages = k_pages_PSGD.shape[0]
        _check_values("page_table", page_table_BM, "lengths", lengths_B, pages, S)
        if prefix is not None:
            _check_values("prefix.page_table", prefix.page_table_FM, "prefix.lengths", prefix.lengths_F, pages, S)
            _check_starts(prefix.starts.tolist(), B)
    chosen = _choose(backend, str(device), str(q_BHD.dtype).removeprefix("torch."))
    o_BHD: Tensor = paged_attention_op(
        q_BHD,
        k_pages_PSGD,
        v_pages_PSGD,
        page_table_BM,
        lengths_B,
        None if prefix is None else prefix.page_table_FM,
        None if prefix is None else prefix.lengths_F,
        None if prefix is None else prefix.starts,
        window,
        softcap,
        q_BHD.shape[2] ** -0.5 if scale is None else scale,
        chosen == "reference",
    )
    return o_BHD


@constant_when_traced
def _choose(backend: str, device: str, dtype: str) -> str:
    """The implementation's name; a compiled graph keeps the choice made while it was traced."""
    return _decide(backend, device, dtype)


@cache
def _decide(backend: str, device: str, dtype: str) -> str:
    """Cached, so that each choice is logged once."""
    if backend not in get_args(PagedBackend):
        known = ", ".join(get_args(PagedBackend))
        raise InvalidArgument(f"paged_attention backend {backend!r} is not one of {known}; leave it at 'auto'")
    obstacle = None if backend == "reference" else triton_obstacle(device, dtype)
    if backend == "triton" and obstacle is not None:
        raise InvalidArgument(f"paged_attention backend 'triton' cannot run: {obstacle}; leave it at 'auto'")
    if backend == "auto":
        # On a CPU the kernels could only run in Triton's interpreter, which is for tests.
        chosen = "triton" if device.startswith("cuda") and obstacle is None else "reference"
        reason = "fastest on this device" if chosen == "triton" else obstacle or "the interpreter is for tests"
    else:
        chosen, reason = backend, "requested"
    _log.info("paged_attention: %s on %s for %s (%s)", chosen, device, dtype, reason)
    return chosen


def _validate(
    q_BHD: Tensor, k_PSGD: Tensor, v_PSGD: Tensor, window: int | None, softcap: float | None, scale: float | None
) -> None:
    if q_BHD.ndim != 3 or k_PSGD.ndim != 4 or k_PSGD.shape != v_PSGD.shape:
        raise InvalidArgument(
            "paged_attention takes q [B, H, D] and k_pages, v_pages [P, S, G, D]; "
            f"got {shape_of(q_BHD)}, {shape_of(k_PSGD)} and {shape_of(v_PSGD)}"
        )
    S, G, D = k_PSGD.shape[1:]
    if q_BHD.shape[2] != D or G == 0 or q_BHD.shape[1] % G:
        raise InvalidArgument(
            f"q {shape_of(q_BHD)} and k_pages {shape_of(k_PSGD)} do not fit: D must be equal and G must divide H"
        )
    if D % 8 or not 8 <= D <= MAX_HEAD_DIM:
        raise InvalidArgument(f"q has head width {D}; paged_attention takes multiples of 8 up to {MAX_HEAD_DIM}")
    if S < 1 or S & (S - 1):
        raise InvalidArgument(f"k_pages {shape_of(k_PSGD)} has pages of {S} slots; a page holds a power of two")
    check_operands({"q": q_BHD, "k_pages": k_PSGD, "v_pages": v_PSGD}, scale, window, softcap)


def _validate_table(name: str, table: Tensor, lengths_name: str, lengths: Tensor, rows: int, device: object) -> None:
    _require_int32(lengths_name, lengths, [rows], device)
    if table.ndim != 2 or table.shape[0] != rows:
        raise InvalidArgument(
            f"{name} is {shape_of(table)}; it takes one row of pages for each of {rows} {lengths_name}"
        )
    _require_int32(name, table, shape_of(table), device)


def _require_int32(name: str, tensor: Tensor, shape: Sequence[int], device: object) -> None:
    if tensor.dtype != torch.int32 or shape_of(tensor) != list(shape):
        raise InvalidArgument(f"{name} is {tensor.dtype} {shape_of(tensor)}; it takes torch.int32 {list(shape)}")
    if tensor.device != device:
        raise InvalidArgument(f"{name} is on {tensor.device}, q on {device}; move them to one device")
    check_last_axes(**{name: tensor})


def _check_values(name: str, table: Tensor, lengths_name: str, lengths: Tensor, pages: int, slots: int) -> None:
    """Lengths fit the table's rows, and each entry that a length reaches is a page."""
    capacity = table.shape[1] * slots
    wrong = ((lengths < 0) | (lengths > capacity)).nonzero().flatten().tolist()
    if wrong:
        raise InvalidArgument(
            f"{lengths_name}[{wrong[0]}] is {int(lengths[wrong[0]])}; "
            f"a row of {table.shape[1]} pages of {slots} holds 0 to {capacity}"
        )
    used = torch.arange(table.shape[1]) * slots < lengths[:, None]
    outside = (used & ((table < 0) | (table >= pages))).nonzero().tolist()
    if outside:
        row, column = outside[0]
        raise InvalidArgument(
            f"{name}[{row}, {column}] is {int(table[row, column])}, and {lengths_name}[{row}] reaches it; "
            f"pages are 0 to {pages - 1}"
        )


def _check_starts(starts: Sequence[int], sequences: int) -> None:
    if list(starts) != sorted(starts) or starts[0] < 0 or starts[-1] > sequences:
        raise InvalidArgument(f"prefix.starts is {list(starts)}; it must not decrease and be within 0 to {sequences}")
