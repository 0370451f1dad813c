"""Our attention as the benches call it: the one file that knows how."""

from __future__ import annotations

from typing import Any

import torch
from peers import Library
from problems import Problem
from rows import OURS
from torch import Tensor

from stategpt.kernels._shared.configs import Launch
from stategpt.kernels.attention import kernel as kernel_functions
from stategpt.kernels.attention import launch as kernels
from stategpt.kernels.attention.cases import Case
from stategpt.ops import TensorLayout, attention

Mask = tuple[TensorLayout, int | None]


class Ours(Library):
    """The fused kernels behind the calls that all libraries are measured by."""

    name = OURS

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def mask(self, problem: Problem) -> Mask:
        """The layout on the device; work lists are made by the first call that needs them."""
        return TensorLayout.of(problem.layout(), self._device), problem.window

    def attend(self, q_NHD: Tensor, k_NGD: Tensor, v_NGD: Tensor, mask: Mask) -> Tensor:
        """o_NHD, differentiable."""
        layout, window = mask
        return attention(q_NHD, k_NGD, v_NGD, layout, window=window, backend="triton")


def case_output(case: Case, q_NHD: Tensor, k_NGD: Tensor, v_NGD: Tensor) -> Tensor:
    """What the kernels make of one of the tests' cases. -> o_NHD"""
    segment, prefix, branch = case.bounds()
    layout = TensorLayout(torch.stack([segment, prefix, branch, case.position()]), case.row_tokens, q_NHD.device)
    return attention(
        q_NHD, k_NGD, v_NGD, layout, scale=case.scale, window=case.window, softcap=case.softcap, backend="triton"
    )


class Kernels:
    """The kernels of one problem, each to be launched as one likes: what the tuner times."""

    def __init__(self, problem: Problem, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self._layout = TensorLayout.of(problem.layout(), device)
        self._window = problem.window
        q, k, v, self._do = (x.detach() for x in problem.inputs(device, dtype))
        bounds, scale = self._layout.bounds(problem.window), problem.head_dim**-0.5
        self._operands = kernels.operands(q, k, v, bounds, self._layout.has_prefix, scale, None)
        self._saved: tuple[Tensor, Tensor] | None = None

    def run(self, kernel: str, launch: Launch, shipped: dict[str, Launch]) -> tuple[Tensor, ...]:
        """The outputs of one kernel; what it needs of the forward pass is made once, by the shipped launches."""
        queries = kernel != "backward_kv"
        tiles = self._layout.work_list("queries" if queries else "keys", launch.block_q, launch.block_k, self._window)
        if kernel == "forward":
            return kernels.forward(self._operands, tiles, launch)
        if self._saved is None:
            o, lse = self.run("forward", shipped["forward"], shipped)
            self._saved = lse, kernels.delta(o, self._do, shipped["delta"])
        lse, deltas = self._saved
        if kernel == "backward_q":
            return (kernels.backward_q(self._operands, self._do, lse, deltas, tiles, launch),)
        return kernels.backward_kv(self._operands, self._do, lse, deltas, tiles, launch)[1:]


def shipped_launches(problem: Problem, mask: str, device: torch.device, dtype: torch.dtype) -> dict[str, Launch]:
    """What the table says for a problem."""
    group = problem.heads // problem.kv_heads
    return kernels.launches_for(device, dtype, problem.head_dim, group, mask, problem.row_tokens)


def compiled(kernel: str, device: torch.device) -> Any:
    """The kernel compiled last in this process, as Triton holds it: `n_spills`, `metadata.shared`."""
    caches = getattr(kernel_functions, kernel).device_caches
    return list(caches[device.index or 0][0].values())[-1]
