"""Launches the kernels: grids, descriptors, workspaces. Shapes and a work list made on the host; nothing waits.

Legend: N tokens, H query heads, G key-value heads, D head width.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from .._shared.configs import Launch, architecture, read_table
from .._shared.strides import leading_strides
from . import kernel, signatures

KERNELS = ("forward", "backward_q", "backward_kv", "delta")
"""The kernels of an entry of the table, in the order in which a call's launches are written as numbers."""
LONG_ROWS = 8192
"""Tokens of a row from which its launches are those of the length "long"."""


@dataclass(frozen=True)
class Operands:
    """What all kernels of one call share."""

    q_NHD: Tensor
    k_NGD: Tensor
    v_NGD: Tensor
    near_start: Tensor
    """int32[N]. Token t sees the keys [near_start[t], t] ..."""
    far_start: Tensor
    """int32[N]."""
    far_end: Tensor
    """int32[N]. ... and [far_start[t], far_end[t])."""
    prefix: bool
    """Does any token see far keys? Without, far_start and far_end are not read."""
    scale: float
    softcap: float | None
    descriptors: bool
    """Tensors come as TMA descriptors."""

    @property
    def bounds(self) -> tuple[Tensor, Tensor, Tensor]:
        """near_start, far_start, far_end."""
        return self.near_start, self.far_start, self.far_end


def architecture_of(device: torch.device) -> str:
    """Whose launches serve `device`; in the interpreter those that stay within every device."""
    return architecture(*torch.cuda.get_device_capability(device)) if device.type == "cuda" else "sm_80"


def bits(dtype: torch.dtype) -> str:
    """The table's word for a dtype."""
    return "32bit" if dtype == torch.float32 else "16bit"


def uses_descriptors(q_NHD: Tensor) -> bool:
    """Do tensors like q come as descriptors on its device?"""
    return signatures.uses_descriptors(architecture_of(q_NHD.device), q_NHD.shape[2], bits(q_NHD.dtype))


def launches_for(
    device: torch.device, dtype: torch.dtype, head_dim: int, group: int, mask: str, row_tokens: int
) -> dict[str, Launch]:
    """The table's launches for `KERNELS`; `mask` as `signatures.mask_kind` says."""
    table = read_table(Path(__file__).with_name("configs.json"))
    return table.find(
        arch=architecture_of(device),
        dtype=bits(dtype),
        head_dim=str(signatures.tabled_width(head_dim)),
        group=str(group),
        mask=mask,
        length="long" if row_tokens >= LONG_ROWS else "short",
    )


def numbers(launches: dict[str, Launch]) -> list[int]:
    """The launches of a call as an operation of torch takes them: four numbers a kernel, in the order of `KERNELS`."""
    return [number for name in KERNELS for number in launches[name].numbers()]


def from_numbers(flat: list[int]) -> dict[str, Launch]:
    """The inverse of `numbers`."""
    return {name: Launch(*flat[4 * i : 4 * i + 4]) for i, name in enumerate(KERNELS)}


def operands(
    q_NHD: Tensor,
    k_NGD: Tensor,
    v_NGD: Tensor,
    bounds: tuple[Tensor, Tensor, Tensor],
    prefix: bool,
    scale: float,
    softcap: float | None,
) -> Operands:
    """With descriptors where the launches of q's device and width are for them."""
    return Operands(q_NHD, k_NGD, v_NGD, *bounds, prefix, scale, softcap, uses_descriptors(q_NHD))


def forward(operands: Operands, query_tiles: Tensor, launch: Launch) -> tuple[Tensor, Tensor]:
    """o_NHD in q's dtype and lse_HN, in units of log 2 unless q is float32. `query_tiles` fit `launch`."""
    call = _Call(operands, "forward", launch)
    N, H, D = operands.q_NHD.shape
    o_NHD = torch.empty(N, H, D, dtype=operands.q_NHD.dtype, device=operands.q_NHD.device)
    lse_HN = torch.empty(H, N, dtype=torch.float32, device=operands.q_NHD.device)
    q, k, v = call.inputs()
    call.run(
        len(query_tiles) * H,
        *(call.queries(q), call.keys(k), call.keys(v), call.queries(o_NHD), lse_HN, query_tiles, *call.bounds()),
        *call.sizes(lse_HN),
        *_strides(q, k, v, o_NHD),
    )
    return o_NHD, lse_HN


def delta(o_NHD: Tensor, do_NHD: Tensor, launch: Launch) -> Tensor:
    """rowsum(o * do). -> float32[H, N], its rows aligned for descriptors."""
    N, H, D = o_NHD.shape
    deltas_HN = torch.empty(H, N + -N % 4, dtype=torch.float32, device=o_NHD.device)[:, :N]
    values = signatures.constants("delta", D, launch, prefix=False, softcap=False, descriptors=False)
    if not N:
        return deltas_HN
    with torch.cuda.device_of(o_NHD):  # type: ignore[no-untyped-call]
        kernel.delta[(triton.cdiv(N, launch.block_q) * H,)](
            *(o_NHD, do_NHD, deltas_HN, N, H, deltas_HN.stride(0), *_strides(o_NHD, do_NHD)),
            **values,
            **launch.options(),
        )
    return deltas_HN


def backward_q(
    operands: Operands, do_NHD: Tensor, lse_HN: Tensor, deltas_HN: Tensor, query_tiles: Tensor, launch: Launch
) -> Tensor:
    """dq_NHD. `query_tiles` fit `launch`."""
    call = _Call(operands, "backward_q", launch)
    H = operands.q_NHD.shape[1]
    dq_NHD = torch.empty_like(operands.q_NHD, memory_format=torch.contiguous_format)
    q, k, v = call.inputs()
    do, lse_HN = call.fitting(do_NHD), call.aligned(lse_HN)
    call.run(
        len(query_tiles) * H,
        *(call.queries(q), call.keys(k), call.keys(v), call.queries(do), call.queries(dq_NHD)),
        *(call.by_head(lse_HN), call.by_head(deltas_HN), query_tiles, *call.vectors()),
        *(*call.sizes(lse_HN), deltas_HN.stride(0)),
        *_strides(q, k, v, do, dq_NHD),
    )
    return dq_NHD


def backward_kv(
    operands: Operands,
    do_NHD: Tensor,
    lse_HN: Tensor,
    deltas_HN: Tensor,
    key_tiles: Tensor,
    launch: Launch,
    *,
    one_pass: bool = False,
) -> tuple[Tensor | None, Tensor, Tensor]:
    """dq_NHD, or None without `one_pass`, and dk_NGD, dv_NGD. `key_tiles` fit `launch`."""
    call = _Call(operands, "backward_kv", launch)
    N, H, D = operands.q_NHD.shape
    dk_NGD, dv_NGD = (
        torch.empty_like(x, memory_format=torch.contiguous_format) for x in (operands.k_NGD, operands.v_NGD)
    )
    dq_sums = torch.zeros(N, H, D, dtype=torch.float32, device=dk_NGD.device) if one_pass else deltas_HN
    q, k, v = call.inputs()
    do, lse_HN = call.fitting(do_NHD), call.aligned(lse_HN)
    call.run(
        len(key_tiles) * dk_NGD.shape[1],
        *(call.queries(q), call.keys(k), call.keys(v), call.queries(do), call.keys(dk_NGD), call.keys(dv_NGD)),
        *(dq_sums, call.by_head(lse_HN), call.by_head(deltas_HN), key_tiles, *call.vectors()),
        *(*call.sizes(lse_HN), deltas_HN.stride(0)),
        *_strides(q, k, v, do, dk_NGD, dv_NGD),
        one_pass=one_pass,
    )
    return (dq_sums.to(operands.q_NHD.dtype) if one_pass else None), dk_NGD, dv_NGD


class _Call:
    """Arguments of one launch, as addresses or as descriptors."""

    def __init__(self, operands: Operands, name: str, launch: Launch) -> None:
        self.operands, self.name, self.launch = operands, name, launch
        self.described = operands.descriptors and len(operands.q_NHD) > 0
        """Descriptors of nothing cannot be made; without tokens nothing is launched either."""

    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """q, k and v, copied where their strides do not suit a descriptor."""
        return (
            self.fitting(self.operands.q_NHD),
            self.fitting(self.operands.k_NGD),
            self.fitting(self.operands.v_NGD),
        )

    def fitting(self, x: Tensor) -> Tensor:
        """x itself unless a descriptor cannot describe it: [N, heads * D] with rows that start on 16 bytes."""
        heads, D = x.shape[1:]
        row_bytes = x.stride(0) * x.element_size()
        describable = (heads == 1 or x.stride(1) == D) and row_bytes % 16 == 0 and x.data_ptr() % 16 == 0
        describable = describable and x.stride(0) >= heads * D
        if x.stride(2) == 1 and (describable or not self.operands.descriptors):
            return x
        return x.clone(memory_format=torch.contiguous_format)

    def aligned(self, x_HN: Tensor) -> Tensor:
        """x itself unless a descriptor needs rows that start on 16 bytes and these do not."""
        on_16_bytes = x_HN.stride(0) % 4 == 0 and x_HN.data_ptr() % 16 == 0
        if not self.described or on_16_bytes:
            return x_HN
        N = x_HN.shape[1]
        return torch.nn.functional.pad(x_HN, (0, -N % 4))[:, :N]

    def queries(self, x: Tensor) -> Any:
        """[N, heads, D] read in blocks of queries."""
        return self._rows(x, self.launch.block_q)

    def keys(self, x: Tensor) -> Any:
        """[N, heads, D] read in blocks of keys."""
        return self._rows(x, self.launch.block_k)

    def _rows(self, x: Tensor, rows: int) -> Any:
        if not self.described:
            return x
        N, heads, D = x.shape
        return TensorDescriptor(x, [N, heads * D], [leading_strides(x)[0], 1], [rows, D])

    def by_head(self, x_HN: Tensor) -> Any:
        """float32[H, N] read in blocks of queries of one head."""
        if not self.described:
            return x_HN
        return TensorDescriptor(x_HN, list(x_HN.shape), [x_HN.stride(0), 1], [1, self.launch.block_q])

    def bounds(self) -> list[Tensor]:
        """near_start, far_start and far_end, copied where they do not start on 16 bytes.

        Descriptors need that, and by address Triton compiles another kernel for those that do not.
        """
        return [x_N if x_N.data_ptr() % 16 == 0 else x_N.clone() for x_N in self.operands.bounds]

    def vectors(self) -> list[Any]:
        """The bounds, int32[N] each, read in blocks of queries."""
        if not self.described:
            return self.bounds()
        return [TensorDescriptor(x_N, [len(x_N)], [1], [self.launch.block_q]) for x_N in self.bounds()]

    def sizes(self, lse_HN: Tensor) -> tuple[int, int, int, float, float, int]:
        """tokens, heads, group, scale, softcap, stride_lse."""
        N, H, _ = self.operands.q_NHD.shape
        group = H // self.operands.k_NGD.shape[1]
        return N, H, group, self.operands.scale, self.operands.softcap or 0.0, lse_HN.stride(0)

    def run(self, programs: int, *arguments: object, one_pass: bool = False) -> None:
        """Launches `programs` programs; none for an empty stream."""
        values = signatures.constants(
            self.name,
            self.operands.q_NHD.shape[2],
            self.launch,
            prefix=self.operands.prefix,
            softcap=self.operands.softcap is not None,
            descriptors=self.operands.descriptors,
            one_pass=one_pass,
        )
        if programs:
            with torch.cuda.device_of(self.operands.q_NHD):  # type: ignore[no-untyped-call]
                getattr(kernel, self.name)[(programs,)](*arguments, **values, **self.launch.options())


def _strides(*tensors: Tensor) -> tuple[int, ...]:
    """Those of the first two axes, tensor after tensor."""
    return tuple(stride for x in tensors for stride in leading_strides(x))
