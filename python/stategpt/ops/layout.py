"""An attention layout on a device, with what is derived from it once and used by every layer."""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


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
    """The layout of N = R x T tokens as int32 tensors on one device.

    Token t sees the keys [segment_start[t], prefix_end[t]) and [branch_start[t], t].
    """

    def __init__(
        self, segment_start: Tensor, prefix_end: Tensor, branch_start: Tensor, position: Tensor, row_tokens: int
    ) -> None:
        self.segment_start = segment_start
        self.prefix_end = prefix_end
        self.branch_start = branch_start
        self.position = position
        self.row_tokens = row_tokens

    @classmethod
    def of(cls, layout: LayoutVectors, device: torch.device | str = "cpu") -> TensorLayout:
        """Moves `layout` to `device`; what the host must know later is worked out here, before the copy."""

        def moved(vector: NDArray[np.int32]) -> Tensor:
            return torch.as_tensor(vector).to(device, non_blocking=True)

        tensors = cls(
            moved(layout.segment_start),
            moved(layout.prefix_end),
            moved(layout.branch_start),
            moved(layout.position),
            layout.row_tokens,
        )
        row_start = np.arange(len(layout.position), dtype=np.int64) // layout.row_tokens * layout.row_tokens
        # Filled in from numpy: reading them off the device would wait for it.
        tensors.rows_are_causal = bool(
            (layout.branch_start == row_start).all() and (layout.segment_start == row_start).all()
        )
        tensors.longest_tokens = int(layout.position.max(initial=-1)) + 1
        return tensors

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

    @cached_property
    def longest_tokens(self) -> int:
        """Length of the longest sequence of positions: what the model's context must hold."""
        return int(self.position.max()) + 1 if self.num_tokens else 0

    @cached_property
    def rows_are_causal(self) -> bool:
        """Every row is one segment without branches: plain causal attention, no mask needed."""
        row_start = torch.arange(self.num_tokens, device=self.device) // self.row_tokens * self.row_tokens
        whole = (self.branch_start == row_start) & (self.segment_start == row_start)
        return bool(whole.all())

    @cached_property
    def mask_R1TT(self) -> Tensor:  # noqa: N802 - a shape suffix
        """bool[R, 1, T, T]: query (row, t) sees key (row, j). R x T^2 bytes, built once and kept."""
        rows, row_tokens = self.num_rows, self.row_tokens
        stream = torch.arange(self.num_tokens, device=self.device, dtype=torch.int32)
        key_R1T = stream.view(rows, 1, row_tokens)

        def per_query(vector: Tensor) -> Tensor:
            return vector.view(rows, row_tokens, 1)

        in_prefix = (key_R1T >= per_query(self.segment_start)) & (key_R1T < per_query(self.prefix_end))
        in_branch = (key_R1T >= per_query(self.branch_start)) & (key_R1T <= per_query(stream))
        return (in_prefix | in_branch).unsqueeze(1)
