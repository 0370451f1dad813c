"""The work list of attention as an operation of torch, so that `torch.compile` takes it into a graph."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from stategpt import _native
from stategpt.kernels._shared.tiles import KEY_TILE_FIELDS, QUERY_TILE_FIELDS


@torch.library.custom_op("stategpt::attention_work_list", mutates_args=())
def attention_work_list(
    host_4N: Tensor,
    row_tokens: int,
    queries: bool,
    block_q: int,
    block_k: int,
    window: int | None,
    device: torch.device,
) -> Tensor:
    """`_native.attention_work_list` of a layout's four vectors, int32[4, N] in the host's memory. -> int32 on `device`.

    Nothing waits for the device: the list is made on the host and its copy is queued.
    """
    segment_start, prefix_end, branch_start, position = host_4N.numpy()
    kind: Literal["queries", "keys"] = "queries" if queries else "keys"
    tiles = _native.attention_work_list(
        segment_start, prefix_end, branch_start, position, row_tokens, kind, block_q, block_k, window
    )
    return to_device(torch.from_numpy(tiles), device)


@attention_work_list.register_fake
def _(
    host_4N: Tensor,
    row_tokens: int,
    queries: bool,
    block_q: int,
    block_k: int,
    window: int | None,
    device: torch.device,
) -> Tensor:
    block, fields = (block_q, QUERY_TILE_FIELDS) if queries else (block_k, KEY_TILE_FIELDS)
    tiles = (host_4N.shape[1] + block - 1) // block
    return torch.empty((tiles, fields), dtype=torch.int32, device=device)


def to_device(host: Tensor, device: torch.device) -> Tensor:
    """Copies to `device` without waiting for it; on the CPU it returns `host` itself."""
    if device.type == "cuda":
        host = host.pin_memory()
    return host.to(device, non_blocking=True)
