"""An attention layout on a device, with what every layer derives from it, computed once."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from stategpt import _native
from stategpt.errors import InvalidArgument

from .work_list import attention_work_list, to_device

_FIELDS = ("segment_start", "prefix_end", "branch_start", "position")


class LayoutVectors(Protocol):
    """What a layout in memory offers; `stategpt.data.Layout` is one."""

    @property
    def segment_start(self) -> NDArray[np.int32]:
        """int32[N]: first token of the token's segment."""
        ...

    @property
    def prefix_end(self) -> NDArray[np.int32]:
        """int32[N]: end of the prefix shared with other branches."""
        ...

    @property
    def branch_start(self) -> NDArray[np.int32]:
        """int32[N]: first token of its branch."""
        ...

    @property
    def position(self) -> NDArray[np.int32]:
        """int32[N]: visible keys before it."""
        ...

    @property
    def row_tokens(self) -> int:
        """T: no segment crosses a multiple of it."""
        ...


class TensorLayout:
    """The layout of N = R x T tokens as int32 tensors on one device; the host keeps a copy and never reads them back.

    Token t sees the keys [segment_start[t], prefix_end[t]) and [branch_start[t], t]. Made by `TensorLayout.of(layout)`
    from a batch's layout, or by `from_tensors`.

    Attributes:
        segment_start: int32[N], first token of the token's segment.
        prefix_end: int32[N], end of the prefix shared with other branches.
        branch_start: int32[N], first token of its branch.
        position: int32[N], visible keys before it.
        row_tokens: T; no segment crosses a multiple of it.
        host_4N: int32[4, N], the four vectors in the host's memory.
        max_sequence_tokens: length of the longest sequence of positions: what the model's context must hold.
        rows_are_causal: every row is one segment without branches: plain causal attention, no mask needed.
        has_prefix: some token sees a prefix: keys that do not touch its own branch.
        has_blank: some token sees nothing.
    """

    def __init__(self, host_4N: Tensor, row_tokens: int, device: torch.device | str = "cpu") -> None:
        """From segment_start, prefix_end, branch_start and position, int32[4, N] in the host's memory.

        Raises `InvalidArgument` naming the first token whose entries contradict each other.
        """
        if host_4N.dtype != torch.int32 or host_4N.ndim != 2 or host_4N.shape[0] != 4 or host_4N.device.type != "cpu":
            found = f"{host_4N.dtype} {list(host_4N.shape)} on {host_4N.device}"
            raise InvalidArgument(f"host_4N is {found}; give torch.int32 [4, N] on cpu")
        segment, prefix, branch, position = host_4N.numpy()
        _native.validate_attention_layout(segment, prefix, branch, position, row_tokens)
        tokens = np.arange(len(position), dtype=np.int64)
        row_start = tokens // row_tokens * row_tokens

        self.host_4N = host_4N
        self.row_tokens = row_tokens
        self.segment_start, self.prefix_end, self.branch_start, self.position = _to_device(
            host_4N, torch.device(device)
        )
        self.max_sequence_tokens = int(position.max(initial=-1)) + 1
        """Length of the longest sequence of positions: what the model's context must hold."""
        self.rows_are_causal = bool((branch == row_start).all() and (segment == row_start).all())
        """Every row is one segment without branches: plain causal attention, no mask needed."""
        self.has_prefix = bool((prefix > segment).any())
        """Some token sees a prefix: keys that do not touch its own branch."""
        self.has_blank = bool((branch > tokens).any())
        """Some token sees nothing."""
        self._bounds: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        self._masks: dict[int | None, Tensor] = {}
        self._scores: dict[tuple[int | None, torch.dtype], Tensor] = {}
        self._work_lists: dict[tuple[object, ...], Tensor] = {}

    @classmethod
    def of(cls, layout: LayoutVectors, device: torch.device | str = "cpu") -> TensorLayout:
        """`layout` on `device`; nothing waits for the device. Raises `InvalidArgument` as the constructor does."""
        if isinstance(layout, cls) or not all(hasattr(layout, name) for name in (*_FIELDS, "row_tokens")):
            raise InvalidArgument(
                f"layout is of type {type(layout).__name__}; it must be a stategpt.data.Layout, as a batch of the "
                "loader has it (batch.layout)"
            )
        host_4N = np.stack([getattr(layout, name) for name in _FIELDS])
        return cls(torch.from_numpy(host_4N), layout.row_tokens, device)

    @classmethod
    def from_tensors(
        cls, segment_start: Tensor, prefix_end: Tensor, branch_start: Tensor, position: Tensor, row_tokens: int
    ) -> TensorLayout:
        """From int32[N] vectors on one device: copied to the host once, which waits for the device."""
        stacked = torch.stack((segment_start, prefix_end, branch_start, position))
        return cls(stacked.cpu(), row_tokens, stacked.device)

    def __repr__(self) -> str:
        return f"TensorLayout({self.num_rows} rows of {self.row_tokens} tokens on {self.device})"

    @property
    def num_tokens(self) -> int:
        """N, padding included."""
        return self.position.numel()

    @property
    def num_rows(self) -> int:
        """R."""
        return self.num_tokens // self.row_tokens

    @property
    def device(self) -> torch.device:
        """Where the vectors are."""
        return self.position.device

    def bounds(self, window: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """near_start, far_start and far_end, int32[N]: t sees [near_start[t], t] and [far_start[t], far_end[t]).

        With `window` only the last `window` keys count: a token at position p sees those from p - window + 1 on.
        """
        if window is None:
            return self.branch_start, self.segment_start, self.prefix_end
        if window in self._bounds:
            return self._bounds[window]
        token = torch.arange(self.num_tokens, dtype=torch.int32, device=self.device)
        near_start = torch.maximum(self.branch_start, token - (window - 1))
        far_start = self.segment_start + (self.position - (window - 1)).clamp(min=0)
        result = near_start, far_start, self.prefix_end
        if not torch.compiler.is_compiling():  # a graph keeps nothing: its tensors are its own
            self._bounds[window] = result
        return result

    def work_list(
        self,
        tiles: Literal["queries", "keys"],
        block_q: int,
        block_k: int,
        window: int | None = None,
        device: torch.device | None = None,
    ) -> Tensor:
        """`_native.attention_work_list`, made once for all layers in eager mode. -> int32[tiles, fields].

        On the layout's device by default.
        """
        device = self.device if device is None else device
        if torch.compiler.is_compiling():  # a graph keeps nothing, and lists take the host microseconds
            return self._make_work_list(tiles, block_q, block_k, window, device)
        key = (tiles, block_q, block_k, window, device)
        if key not in self._work_lists:
            self._work_lists[key] = self._make_work_list(tiles, block_q, block_k, window, device)
        return self._work_lists[key]

    def _make_work_list(
        self, tiles: str, block_q: int, block_k: int, window: int | None, device: torch.device
    ) -> Tensor:
        result: Tensor = attention_work_list(
            self.host_4N, self.row_tokens, tiles == "queries", block_q, block_k, window, device
        )
        return result

    def mask_R1TT(self, window: int | None = None) -> Tensor:  # noqa: N802 - a shape suffix
        """bool[R, 1, T, T]: query (row, t) sees key (row, j). R x T^2 bytes, built once and kept.

        A blank token sees itself in it: torch's attention has no value for a query without keys.
        """
        if window in self._masks:
            return self._masks[window]
        rows, row_tokens = self.num_rows, self.row_tokens
        stream = torch.arange(self.num_tokens, device=self.device, dtype=torch.int32)
        key_R1T = stream.view(rows, 1, row_tokens)

        def per_query(vector: Tensor) -> Tensor:
            """One value for each query: [R, T, 1]."""
            return vector.view(rows, row_tokens, 1)

        near_start, far_start, far_end = self.bounds(window)
        in_prefix = (key_R1T >= per_query(far_start)) & (key_R1T < per_query(far_end))
        in_branch = (key_R1T >= per_query(torch.minimum(near_start, stream))) & (key_R1T <= per_query(stream))
        mask = (in_prefix | in_branch).unsqueeze(1)
        if not torch.compiler.is_compiling():
            self._masks[window] = mask
        return mask

    def mask_scores_R1TT(self, dtype: torch.dtype, window: int | None = None) -> Tensor:  # noqa: N802 - a shape suffix
        """The mask as scores to be added, 0 or minus infinity: `dtype`[R, 1, T, T], built once and kept.

        torch's attention on a CPU makes it of a bool mask in each layer, and each keeps its own for the gradient.
        """
        key = (window, dtype)
        if key not in self._scores:
            visible = self.mask_R1TT(window)
            scores = torch.zeros(visible.shape, dtype=dtype, device=self.device).masked_fill_(~visible, -torch.inf)
            if torch.compiler.is_compiling():
                return scores
            self._scores[key] = scores
        return self._scores[key]


def _to_device(host_4N: Tensor, device: torch.device) -> tuple[Tensor, ...]:
    """The four vectors, in one copy; each starts on 16 bytes, which the kernels' descriptors and loads expect."""
    N = host_4N.shape[1]
    padded = F.pad(host_4N, (0, -N % 4)) if N % 4 else host_4N
    return to_device(padded, device)[:, :N].unbind()
