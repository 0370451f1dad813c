"""The kernels of attention, in Triton's interpreter or on a GPU, against the float64 reference on every case."""

from __future__ import annotations

import dataclasses
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
    error_beside_torch,
    relative_error,
)
from stategpt.ops import TensorLayout  # noqa: E402
from stategpt.packing.layout import Layout  # noqa: E402

pytestmark = pytest.mark.usefixtures("memory_starts_as_nan")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
KERNEL_TOLERANCES = [tolerance for tolerance in TOLERANCES if tolerance.dtype != torch.float64]
SQUARE, FLAT, TALL = Launch(64, 64, 4, 1), Launch(64, 16, 4, 1), Launch(16, 64, 4, 1)
ROWS = Launch(32, 16, 4, 1)
Tensors = tuple[torch.Tensor, ...]


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


UNLIKE = ("packed_with_padding", "mixed_rows", "branch_of_one", "blank", "window_in_prefix", "softcap_prefix_window")
"""Cases that between them have every kind of mask."""


@pytest.mark.parametrize("tile", [FLAT, TALL], ids=["64x16", "16x64"])
@pytest.mark.parametrize("name", UNLIKE)
def test_any_tiles_give_the_same(name: str, tile: Launch):
    case, tolerance = by_name(name), KERNEL_TOLERANCES[0]
    inputs, do = case.inputs(tolerance.dtype), case.direction(tolerance.dtype)
    check(by_kernels(case, operands(case, inputs), do, tile), truth(name, tolerance.dtype), do, tolerance)


@pytest.mark.parametrize("one_pass", [False, True], ids=["two_passes", "one_pass"])
@pytest.mark.parametrize("name", [*UNLIKE, "odd_group", "width_64"])
def test_one_pass_adds_up_the_same_gradient(name: str, one_pass: bool):
    case, tolerance = by_name(name), KERNEL_TOLERANCES[0]
    inputs, do = case.inputs(tolerance.dtype), case.direction(tolerance.dtype)
    results = by_kernels(case, operands(case, inputs), do, SQUARE, one_pass=one_pass)
    check(results, truth(name, tolerance.dtype), do, tolerance)


@pytest.mark.parametrize("tolerance", [KERNEL_TOLERANCES[0], KERNEL_TOLERANCES[-1]], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", [*UNLIKE, "one_token_rows", "off_tile", "width_64"])
def test_descriptors_read_and_write_what_pointers_do(name: str, tolerance: Tolerance):
    """Streams of 2 and 36 tokens have rows of lse that no descriptor can take: they are copied to rows that it can."""
    case = by_name(name)
    inputs, do = case.inputs(tolerance.dtype), case.direction(tolerance.dtype)
    exact = truth(name, tolerance.dtype)
    check(by_kernels(case, operands(case, inputs, descriptors=True), do, SQUARE), exact, do, tolerance)


@pytest.mark.parametrize("descriptors", [False, True], ids=["pointers", "descriptors"])
def test_what_lies_around_the_tensors_is_never_read(descriptors: bool):
    """q, k, v and do are windows into buffers of NaN: heads, columns and tokens beside theirs, and those behind."""
    case, tolerance = by_name("prefix_off_tile"), KERNEL_TOLERANCES[0]
    inputs, do = case.inputs(tolerance.dtype), case.direction(tolerance.dtype)

    def within_nan(x: torch.Tensor) -> torch.Tensor:
        N, heads, D = x.shape
        room = torch.full((N + 130, heads + 2, D), torch.nan, dtype=x.dtype, device=DEVICE)
        window = room[1 : N + 1, 1 : heads + 1]
        window.copy_(x)
        return window

    what = operands(case, inputs, descriptors=descriptors)
    what = dataclasses.replace(what, **{name: within_nan(getattr(what, name)) for name in ("q_NHD", "k_NGD", "v_NGD")})
    assert not what.q_NHD.is_contiguous()
    results = by_kernels(case, what, within_nan(do.to(DEVICE)), SQUARE)
    check(results, truth(case.name, tolerance.dtype), do, tolerance)


@pytest.mark.parametrize("descriptors", [False, True], ids=["pointers", "descriptors"])
def test_strides_that_no_descriptor_takes(descriptors: bool):
    """k and v of one head seen by four, an output's gradient that is the same for all: strides of 0."""
    case, tolerance = by_name("multi_head"), KERNEL_TOLERANCES[0]
    q, k, v = (x.detach() for x in case.inputs(tolerance.dtype))
    k, v = (x[:, :1].expand(-1, case.kv_heads, -1) for x in (k, v))
    do = case.direction(tolerance.dtype)[:1, :1].expand(q.shape)
    exact = case.truth((q, k.contiguous(), v.contiguous()), do)
    check(by_kernels(case, operands(case, (q, k, v), descriptors=descriptors), do, SQUARE), exact, do, tolerance)


@pytest.mark.parametrize("descriptors", [False, True], ids=["pointers", "descriptors"])
@pytest.mark.parametrize("stride", [0, 1, 8, 2**40])
def test_an_axis_of_one_entry_may_have_any_stride(stride: int, descriptors: bool):
    """One token, one head: torch gives such axes whatever strides a view left them."""
    layout = TensorLayout.of(Layout.packed([[1]], 1), DEVICE)
    one = torch.ones(1, 1, 16, device=DEVICE).as_strided((1, 1, 16), (stride, stride, 1))
    what = launch.Operands(one, one, one, *layout.bounds(), False, 1.0, None, descriptors)
    o, lse = launch.forward(what, layout.work_list("queries", 64, 64), SQUARE)
    saved = (one, lse, launch.delta(o, one, ROWS))
    assert torch.equal(o, torch.ones_like(o))
    assert not launch.backward_q(what, *saved, layout.work_list("queries", 64, 64), SQUARE).any()
    _, dk, dv = launch.backward_kv(what, *saved, layout.work_list("keys", 64, 64), SQUARE)
    assert not dk.any()
    assert torch.equal(dv, torch.ones_like(dv))


@pytest.mark.parametrize(
    "tolerance", KERNEL_TOLERANCES, ids=lambda tolerance: str(tolerance.dtype).removeprefix("torch.")
)
@pytest.mark.filterwarnings("ignore:overflow encountered in exp")  # of keys that the mask then leaves out
@pytest.mark.parametrize("name", ["packed", "shared_prefix", "window", "large_logits", "width_64", "off_tile"])
def test_no_more_precision_is_lost_than_in_torch(name: str, tolerance: Tolerance):
    case = LARGE_LOGITS if name == "large_logits" else by_name(name)
    inputs, do = case.inputs(tolerance.dtype), case.direction(tolerance.dtype)
    ours = by_kernels(case, operands(case, inputs), do, SQUARE)
    theirs = by_torch(case, inputs, do)
    for what, a, b, exact in zip("oqkv", ours, theirs, case.truth(inputs, do), strict=True):
        assert relative_error(a, exact) <= error_beside_torch(relative_error(b, exact), case.logits), what


def by_torch(case: Case, inputs: Tensors, do: torch.Tensor) -> Tensors:
    """o, dq, dk and dv by torch's attention in the inputs' dtype, with a mask of N x N."""
    near, far_start, far_end = (bound[:, None].cpu() for bound in bounds(case))
    row, key = torch.arange(case.tokens)[:, None], torch.arange(case.tokens)[None, :]
    mask = ((key >= near) & (key <= row)) | ((key >= far_start) & (key < far_end))
    q, k, v = (x.transpose(0, 1)[None] for x in inputs)
    o = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)[0].transpose(0, 1)
    return (o.detach(), *torch.autograd.grad(o, inputs, do))


def test_the_deterministic_gradient_has_one_value():
    case = by_name("branch_of_one")
    inputs, do = case.inputs(torch.float32), case.direction(torch.float32)
    runs = [by_kernels(case, operands(case, inputs), do, SQUARE) for _ in range(2)]
    for one, other in zip(*runs, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("descriptors", [False, True], ids=["pointers", "descriptors"])
def test_an_empty_stream_launches_nothing(descriptors: bool):
    nothing = torch.zeros(0, 2, 16, device=DEVICE)
    vector = torch.zeros(0, dtype=torch.int32, device=DEVICE)
    tiles = torch.zeros(0, 10, dtype=torch.int32, device=DEVICE)
    what = launch.Operands(nothing, nothing, nothing, vector, vector, vector, False, 1.0, None, descriptors)
    o, lse = launch.forward(what, tiles, SQUARE)
    deltas = launch.delta(o, nothing, ROWS)
    assert launch.backward_q(what, nothing, lse, deltas, tiles, SQUARE).shape == (0, 2, 16)
    assert [x.shape for x in launch.backward_kv(what, nothing, lse, deltas, tiles, SQUARE)[1:]] == [(0, 2, 16)] * 2


HUGE_STRIDE = 2**27 + 8
"""Elements from one token to the next: the 17th token lies 2^31 elements, the 33rd 2^32 elements from the first."""


@pytest.mark.skipif(DEVICE == "cuda", reason="a GPU's memory is not sparse; the same addresses are computed there")
def test_offsets_are_64_bits_wide(tmp_path):
    """Keys of a file with holes: 40 tokens lie 2^27 elements apart, so that an int32 offset would wrap around."""
    case = dataclasses.replace(by_name("packed"), rows=[[(36, ()), (4, ())]], row_tokens=40, heads=1, kv_heads=1)
    tolerance = KERNEL_TOLERANCES[1]
    inputs, do = case.inputs(torch.float16), case.direction(torch.float16)

    def spread(x: torch.Tensor, name: str) -> torch.Tensor:
        size = (case.tokens - 1) * HUGE_STRIDE + case.head_dim
        room = torch.from_file(str(tmp_path / name), shared=True, size=size, dtype=x.dtype)
        far_apart = room.as_strided(x.shape, (HUGE_STRIDE, case.head_dim, 1))
        return far_apart.copy_(x)

    what = operands(case, inputs)
    names = ("q_NHD", "k_NGD", "v_NGD")
    what = dataclasses.replace(what, **{name: spread(getattr(what, name), name) for name in names})
    assert what.k_NGD.stride(0) * 17 > 2**31
    results = by_kernels(case, what, spread(do, "do"), Launch(16, 16, 4, 1))
    check(results, case.truth(inputs, do), do, tolerance)
