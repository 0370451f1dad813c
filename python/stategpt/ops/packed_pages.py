"""Attention of a packed stream over pages: the arithmetic of decoding, for training.

The keys and values of a stream are written to temporary pages, each sequence from a new page on, and every token
attends over them as a decoded one does: a query's bits depend on its numbers and on the keys and values it sees alone,
in whatever row, beside whatever else it is laid out. Branches share the whole pages of their prefix.

Legend: N tokens, H query heads, G key-value heads, D head width. Runs are the tokens of a trunk, of a branch or of a
document; L of them are leaves, the ends of a path that no branch continues, laid out in rows of T tokens.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stategpt.errors import InvalidArgument

from .attention import attention
from .layout import TensorLayout
from .page_plan import PAGE_TOKENS, PagePlan, attend_pages, write_pages


def packed_attention(
    q_NHD: Tensor,
    k_NGD: Tensor,
    v_NGD: Tensor,
    layout: TensorLayout,
    *,
    scale: float | None = None,
    window: int | None = None,
    softcap: float | None = None,
) -> Tensor:
    """Computes `attention` by `attend_pages`: in float32 on a CPU, with the bits of decoding. -> o_NHD.

    The gradient is that of `attention`: the backward pass computes it again from queries, keys and values.
    Raises `InvalidArgument` as `attend_pages`, and for a layout whose positions do not begin at 0.
    """
    packed = _PACKED.get(layout)
    if packed is None:
        packed = _PACKED[layout] = PackedPages(layout)
    options = {"scale": scale, "window": window, "softcap": softcap}
    if torch.is_grad_enabled() and (q_NHD.requires_grad or k_NGD.requires_grad or v_NGD.requires_grad):
        return _OverPages.apply(q_NHD, k_NGD, v_NGD, packed, options)  # type: ignore[no-any-return]
    return packed.attend(q_NHD, k_NGD, v_NGD, options)


class PackedPages:
    """Where the tokens of a layout are in temporary pages, the same for all layers."""

    def __init__(self, layout: TensorLayout) -> None:
        segment, prefix, branch, position = layout.host_4N.numpy()
        stream = np.arange(layout.num_tokens, dtype=np.int32)
        self.runs = _Runs.of(segment, prefix, branch, position, stream)
        seen_N = branch <= stream
        self.blank = not bool(seen_N.all())
        """Some token sees nothing."""
        self.tokens_N = torch.from_numpy(np.flatnonzero(seen_N)) if self.blank else None
        """int64: the others, if there is one."""
        self._write, self._attend, self.written_N, self.pages = _plans(self.runs)
        self._memory: tuple[Tensor, Tensor] | None = None

    def attend(self, q_NHD: Tensor, k_NGD: Tensor, v_NGD: Tensor, options: dict[str, Any]) -> Tensor:
        """Writes keys and values to the pages, then attends; nothing of it is kept. -> o_NHD."""
        k_pages, v_pages = self._pages_for(k_NGD)
        if self.written_N is not None:
            k_NGD, v_NGD = k_NGD[self.written_N], v_NGD[self.written_N]
        write_pages(self._write, k_NGD, v_NGD, k_pages, v_pages)
        if self.tokens_N is None:
            return attend_pages(self._attend, q_NHD, k_pages, v_pages, **options)
        o_NHD = torch.zeros_like(q_NHD, memory_format=torch.contiguous_format)
        o_NHD[self.tokens_N] = attend_pages(self._attend, q_NHD[self.tokens_N], k_pages, v_pages, **options)
        return o_NHD

    def _pages_for(self, k_NGD: Tensor) -> tuple[Tensor, Tensor]:
        """Memory for the pages, one for all layers: a layer's are not read after it."""
        G, D = k_NGD.shape[1:]
        if self._memory is None or self._memory[0].shape[1:3] != (G, D):
            P, S = self.pages, PAGE_TOKENS
            self._memory = k_NGD.new_empty(P, G, D, S), k_NGD.new_empty(P, G, S, D)
        return self._memory

    @cached_property
    def rows(self) -> LeafRows:
        """Every path from a beginning to a leaf as a row, for the backward pass."""
        return LeafRows(self.runs)


class _Runs:
    """Runs in the order of the stream."""

    def __init__(
        self, first: NDArray[np.int64], length: NDArray[np.int64], seen: NDArray[np.int64], trunk: NDArray[np.int64]
    ) -> None:
        self.first, self.length, self.seen, self.trunk = first, length, seen, trunk
        """First token and number of tokens; keys seen before, and the run that holds them (itself where none)."""

    @classmethod
    def of(
        cls,
        segment: NDArray[np.int32],
        prefix: NDArray[np.int32],
        branch: NDArray[np.int32],
        position: NDArray[np.int32],
        stream: NDArray[np.int32],
    ) -> _Runs:
        """From the vectors of a layout."""
        first = np.flatnonzero(branch == stream)
        length = np.bincount(np.searchsorted(first, branch[branch <= stream]), minlength=len(first))
        seen = (prefix - segment)[first].astype(np.int64)
        trunk = np.where(seen > 0, np.searchsorted(first, segment[first]), np.arange(len(first)))
        wrong = (position[first] != seen) | (first[trunk] != segment[first]) | (length[trunk] < seen)
        if wrong.any():
            at = int(first[np.flatnonzero(wrong)[0]])
            raise InvalidArgument(
                f"token {at} of the layout begins at position {position[at]} after {prefix[at] - segment[at]} keys of "
                "a prefix; exact attention takes layouts whose positions count the keys, each prefix a separate run"
            )
        return cls(first.astype(np.int64), length.astype(np.int64), seen, trunk.astype(np.int64))


def _plans(runs: _Runs) -> tuple[PagePlan, PagePlan, Tensor | None, int]:
    """What is written, what attends, the tokens in the order of writing (None: the stream's), and the pages."""
    tables: list[list[int]] = []
    written: list[NDArray[np.int64]] = []
    write_seen: list[int] = []
    pages = 0
    for first, length, seen, trunk in zip(
        runs.first.tolist(), runs.length.tolist(), runs.seen.tolist(), runs.trunk.tolist(), strict=True
    ):
        shared = seen // PAGE_TOKENS
        own = -(-(seen + length) // PAGE_TOKENS) - shared
        tables.append((tables[trunk][:shared] if seen else []) + list(range(pages, pages + own)))
        pages += own
        # What of the prefix is in its last page, which is not whole, is written to the branch's own too.
        copied = np.arange(runs.first[trunk] + shared * PAGE_TOKENS, runs.first[trunk] + seen)
        written.append(np.concatenate((copied, np.arange(first, first + length))))
        write_seen.append(shared * PAGE_TOKENS)
    lengths = [len(part) for part in written]
    order = np.concatenate(written) if written else np.empty(0, dtype=np.int64)
    in_order = len(order) == int(runs.length.sum()) and (not len(order) or len(order) == int(order[-1]) + 1)
    write = PagePlan(_ends(lengths), write_seen, tables)
    attend = PagePlan(_ends(runs.length), runs.seen.astype(np.int32), tables)
    return write, attend, None if in_order else torch.from_numpy(order), pages


def _ends(lengths: Any) -> NDArray[np.int32]:
    return np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)


class LeafRows:
    """Paths from a beginning to a leaf, one a row, padded on the right: plain causal rows for torch's attention.

    A prefix is in the row of each of its branches; what its own queries give is taken from the first.
    """

    def __init__(self, runs: _Runs) -> None:
        leaves = np.setdiff1d(np.arange(len(runs.first)), runs.trunk[runs.seen > 0])
        total = (runs.seen + runs.length)[leaves]
        T = int(total.max(initial=1))
        index = np.zeros((len(leaves), T), dtype=np.int64)
        own = np.zeros((len(leaves), T), dtype=np.bool_)
        taken: set[int] = set()
        for row, leaf in enumerate(leaves.tolist()):
            seen, trunk, end = int(runs.seen[leaf]), int(runs.trunk[leaf]), int(total[row])
            index[row, :seen] = runs.first[trunk] + np.arange(seen)
            index[row, seen:end] = runs.first[leaf] + np.arange(end - seen)
            own[row, seen:end] = True
            if seen and trunk not in taken:
                taken.add(trunk)
                own[row, :seen] = True
        self.index_K = torch.from_numpy(index.reshape(-1))
        """int64: the token in each place; 0, which no other sees there, where there is none."""
        self.own_K = torch.from_numpy(own.reshape(-1))
        """Places whose output is the token's."""
        start = np.repeat(np.arange(len(leaves), dtype=np.int32) * T, T)
        position = np.tile(np.arange(T, dtype=np.int32), len(leaves))
        self.layout = TensorLayout(torch.from_numpy(np.stack((start, start, start, position))), T)


class _OverPages(torch.autograd.Function):
    """Forward over pages; backward by torch's attention over rows."""

    @staticmethod
    def forward(
        ctx: Any, q_NHD: Tensor, k_NGD: Tensor, v_NGD: Tensor, packed: PackedPages, options: dict[str, Any]
    ) -> Tensor:
        """Attends over the pages."""
        ctx.save_for_backward(q_NHD, k_NGD, v_NGD)
        ctx.packed, ctx.options = packed, options
        return packed.attend(q_NHD, k_NGD, v_NGD, options)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Computes attention over rows again, with its graph, and adds what a token gets in several rows."""
        rows: LeafRows = ctx.packed.rows
        saved = ctx.saved_tensors  # once: recomputed blocks give them a single time
        with torch.enable_grad():
            inputs = [tensor.detach()[rows.index_K].requires_grad_() for tensor in saved]
            q_KHD, k_KGD, v_KGD = inputs
            o_KHD = attention(q_KHD, k_KGD, v_KGD, rows.layout, **ctx.options)
        gradient_KHD = gradients[0][rows.index_K] * rows.own_K[:, None, None]
        found = torch.autograd.grad(o_KHD, inputs, gradient_KHD)
        added = [
            torch.zeros_like(tensor, memory_format=torch.contiguous_format).index_add_(0, rows.index_K, gradient)
            for tensor, gradient in zip(saved, found, strict=True)
        ]
        return added[0], added[1], added[2], None, None


_PACKED: WeakKeyDictionary[TensorLayout, PackedPages] = WeakKeyDictionary()
