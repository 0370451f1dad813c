"""The kernels of attention, in Triton's interpreter or on a GPU, against the float64 reference on every case."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="kernels need the train extra (torch)")
pytest.importorskip("triton", reason="kernels need the train extra (triton)")

import bf16_interpreter  # noqa: E402, F401 - importing it repairs bfloat16

from stategpt import _native  # noqa: E402
from stategpt.kernels._shared.configs import Launch  # noqa: E402
from stategpt.kernels.attention import launch  # noqa: E402
from stategpt.kernels.attention.cases import (  # noqa: E402
    CASES,
    LARGE_LOGITS,
    TOLERANCES,
    Case,
    Tolerance,
    relative_error,
)

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
KERNEL_TOLERANCES = [tolerance for tolerance in TOLERANCES if tolerance.dtype != torch.float64]
SQUARE, FLAT, TALL = Launch(64, 64, 4, 1), Launch(64, 16, 4, 1), Launch(16, 64, 4, 1)
ROWS = Launch(32, 16, 4, 1)
Tensors = tuple[torch.Tensor, ...]


@pytest.fixture(autouse=True)
def _memory_starts_as_nan() -> Iterator[None]:
    """Workspaces and outputs come from `torch.empty`, which fills them with NaN in this mode."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def by_name(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


@cache
def truth(name: str, dtype: torch.dtype) -> Tensors:
    """o, dq, dk and dv of the reference."""
    case = by_name(name)
    return case.truth(case.inputs(dtype), case.direction(dtype))


def work_list(case: Case, tiles: str, tile: Launch) -> torch.Tensor:
    vectors = (vector.numpy() for vector in (*case.bounds(), case.position()))
    made = _native.attention_work_list(*vectors, case.row_tokens, tiles, tile.block_q, tile.block_k, case.window)
    return torch.from_numpy(made).to(DEVICE)


def bounds(case: Case) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """near_start, far_start and far_end, written apart from the package's."""
    segment, prefix, branch = (bound.numpy() for bound in case.bounds())
    if case.window is not None:
        token = np.arange(case.tokens, dtype=np.int32)
        oldest = case.position().numpy() - case.window + 1
        branch = np.maximum(branch, token - case.window + 1)
        segment = segment + np.maximum(oldest, 0)
    return tuple(torch.from_numpy(np.ascontiguousarray(x)).to(DEVICE) for x in (branch, segment, prefix))


def operands(case: Case, inputs: Tensors, *, descriptors: bool = False) -> launch.Operands:
    segment, prefix, _ = case.bounds()
    q, k, v = (x.detach().to(DEVICE) for x in inputs)
    far = bool((prefix > segment).any())
    return launch.Operands(q, k, v, *bounds(case), far, case.scale, case.softcap, descriptors)


def by_kernels(case: Case, what: launch.Operands, do: torch.Tensor, tile: Launch, *, one_pass: bool = False) -> Tensors:
    """o, dq, dk and dv."""
    do = do.to(DEVICE)
    queries, keys = work_list(case, "queries", tile), work_list(case, "keys", tile)
    o, lse = launch.forward(what, queries, tile)
    saved = (do, lse, launch.delta(o, do, ROWS))
    dq, dk, dv = launch.backward_kv(what, *saved, keys, tile, one_pass=one_pass)
    if not one_pass:
        assert dq is None
        dq = launch.backward_q(what, *saved, queries, tile)
    return o, dq, dk, dv


def check(results: Tensors, exact: Tensors, do: torch.Tensor, tolerance: Tolerance) -> None:
    for name, result, expected in zip(("o", "dq", "dk", "dv"), results, exact, strict=True):
        allowed = tolerance.values if name == "o" else tolerance.gradients
        assert result.dtype == tolerance.dtype
        error = relative_error(result, expected, do)
        assert error <= allowed, (name, error)  # also fails for NaN
    assert (results[0].cpu()[(exact[0] == 0).all(dim=-1)] == 0).all()


@pytest.mark.parametrize(
    "tolerance", KERNEL_TOLERANCES, ids=lambda tolerance: str(tolerance.dtype).removeprefix("torch.")
)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_values_and_gradients_equal_the_float64_reference(case: Case, tolerance: Tolerance):
    inputs, do = case.inputs(tolerance.dtype), case.direction(tolerance.dtype)
    check(by_kernels(case, operands(case, inputs), do, SQUARE), truth(case.name, tolerance.dtype), do, tolerance)
