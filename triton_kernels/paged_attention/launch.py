"""Launches the kernels: computes grids and workspaces from shapes, never from values on the device.

Legend: B sequences, H query heads, G key-value heads, D head width, P pages of S slots, M pages a row of the table.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
import triton
from torch import Tensor

from .._shared.configs import Launch, architecture, read_table
from .._shared.strides import leading_strides
from .kernel import merge, partial
from .schedule import Splits, divide, shared_tiles

NO_WINDOW = 2**31 - 1


@dataclass(frozen=True)
class Walk:
    """One launch of `partial`: whose keys are walked, by which tiles, in how many splits."""

    page_table: Tensor
    lengths: Tensor
    launch: Launch
    tiles: int
    """Programs along the rows."""
    splits: Splits


@dataclass(frozen=True)
class Plan:
    """All launches of one call."""

    own: Walk
    shared: Walk | None
    starts: Tensor | None
    """Of the shared prefixes."""
    merge: Launch

    @property
    def prefix_splits(self) -> int:
        """Splits of the prefixes; they come first in the workspace."""
        return self.shared.splits.count if self.shared else 0

    @property
    def splits(self) -> int:
        """All splits of one sequence."""
        return self.prefix_splits + self.own.splits.count


def launches_for(dtype: torch.dtype, width: int, device: torch.device) -> dict[str, Launch]:
    """The table's launches for a head of padded `width`; in the interpreter those that stay within every device."""
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else (8, 0)
    bits = "32bit" if dtype == torch.float32 else "16bit"
    table = read_table(Path(__file__).with_name("configs.json"))
    return table.find(arch=architecture(*capability), dtype=bits, head_dim=str(width))


@cache
def multiprocessors(device: torch.device) -> int:
    """Of the device; the interpreter runs one program at a time."""
    return int(torch.cuda.get_device_properties(device).multi_processor_count) if device.type == "cuda" else 1


def plan(
    q_BHD: Tensor,
    k_pages_PSGD: Tensor,
    page_table_BM: Tensor,
    lengths_B: Tensor,
    prefix: tuple[Tensor, Tensor, Tensor] | None,
) -> Plan:
    """Tiles, grids and splits for these shapes on this device. Reads no tensor."""
    B, H, D = q_BHD.shape
    S, G = k_pages_PSGD.shape[1:3]
    group = H // G
    launches = launches_for(q_BHD.dtype, padded(D), q_BHD.device)
    processors = multiprocessors(q_BHD.device)

    def walk(table: Tensor, lengths: Tensor, launch: Launch, tiles: int, rows: int) -> Walk:
        """Divides the keys of one table among programs."""
        splits = divide(tiles * G, min(rows, launch.block_q), table.shape[1] * S, launch.block_k, processors)
        return Walk(table, lengths, launch, tiles, splits)

    launch = _fitting(group, launches)
    own = walk(page_table_BM, lengths_B, launch, B * triton.cdiv(group, launch.block_q), group)
    if prefix is None:
        return Plan(own, None, None, launches["merge"])
    table_FM, lengths_F, starts = prefix
    rows = triton.cdiv(B * group, len(lengths_F))
    launch = _fitting(rows, launches)
    shared = walk(table_FM, lengths_F, launch, shared_tiles(B, group, len(lengths_F), launch.block_q), rows)
    return Plan(own, shared, starts, launches["merge"])


def _fitting(rows: int, launches: dict[str, Launch]) -> Launch:
    """Narrow tiles while they hold the rows that read the same keys, wide ones above."""
    return launches["narrow" if rows <= launches["narrow"].block_q else "wide"]


def padded(head_dim: int) -> int:
    """The power of two that a head is padded to: at least 16, the shortest product of tensor cores."""
    return max(16, int(triton.next_power_of_2(head_dim)))


def run(
    q_BHD: Tensor,
    k_pages_PSGD: Tensor,
    v_pages_PSGD: Tensor,
    plan: Plan,
    window: int | None,
    softcap: float | None,
    scale: float,
) -> Tensor:
    """Attention by `plan`. -> o_BHD, contiguous, in q's dtype."""
    B, H, D = q_BHD.shape
    o_BHD = torch.empty(B, H, D, dtype=q_BHD.dtype, device=q_BHD.device)
    if not o_BHD.numel():
        return o_BHD
    whole = plan.splits == 1
    lse = torch.empty(0 if whole else (plan.splits, B, H), dtype=torch.float32, device=q_BHD.device)
    partials = o_BHD if whole else torch.empty(plan.splits, B, H, D, dtype=torch.float32, device=q_BHD.device)
    with torch.cuda.device_of(q_BHD):  # type: ignore[no-untyped-call]
        for walk in (plan.shared, plan.own):
            if walk is not None:
                _partial(q_BHD, k_pages_PSGD, v_pages_PSGD, partials, lse, plan, walk, window, softcap, scale)
        if not whole:
            starts = plan.own.lengths if plan.starts is None else plan.starts
            merge[(B, H)](
                *(partials, lse, o_BHD, starts, plan.prefix_splits, plan.splits, len(starts) - 1),
                *(D, padded(D), plan.merge.block_k, plan.shared is not None),
                **plan.merge.options(),
            )
    return o_BHD


def _partial(
    q_BHD: Tensor,
    k_pages_PSGD: Tensor,
    v_pages_PSGD: Tensor,
    partials: Tensor,
    lse: Tensor,
    plan: Plan,
    walk: Walk,
    window: int | None,
    softcap: float | None,
    scale: float,
) -> None:
    B, H, D = q_BHD.shape
    S, G = k_pages_PSGD.shape[1:3]
    shared = walk is plan.shared
    starts = plan.own.lengths if plan.starts is None else plan.starts
    launch = walk.launch
    first_split = 0 if shared else plan.prefix_splits
    partial[(walk.tiles, G, walk.splits.count)](
        *(q_BHD, k_pages_PSGD, v_pages_PSGD, partials, lse, walk.page_table, walk.lengths, plan.own.lengths, starts),
        *(B, H, H // G, len(walk.lengths), walk.tiles // B, S.bit_length() - 1, walk.splits.min_blocks, first_split),
        *(NO_WINDOW if window is None else window, scale, softcap or 0.0),
        *(*leading_strides(q_BHD), *leading_strides(k_pages_PSGD), *leading_strides(v_pages_PSGD)),
        walk.page_table.stride(0),
        *(D, padded(D), launch.block_q, launch.block_k, shared, launch.block_k <= S, softcap is not None),
        plan.splits == 1,
        **launch.options(),
    )
