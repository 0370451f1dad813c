"""ops.attention: every backend against the float64 reference on every case, its refusals, and what it logs."""

import logging
import subprocess
import sys
from functools import cache

import pytest

torch = pytest.importorskip("torch", reason="ops need the train extra (torch)")

from stategpt.errors import InvalidArgument  # noqa: E402
from stategpt.kernels.attention import attention_reference  # noqa: E402
from stategpt.kernels.attention.cases import (  # noqa: E402
    CASES,
    LARGE_LOGITS,
    TOLERANCES,
    Case,
    Tolerance,
    error_beside_torch,
    relative_error,
)
from stategpt.ops import TensorLayout, attention, attention_choice, cached_attention  # noqa: E402
from stategpt.packing.layout import Layout  # noqa: E402


def layout_of(case: Case) -> TensorLayout:
    return TensorLayout.from_tensors(*case.bounds(), case.position(), case.row_tokens)


def by_name(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


@cache
def truth(name: str, dtype) -> tuple[torch.Tensor, ...]:
    case = by_name(name)
    return case.truth(case.inputs(dtype), case.direction(dtype))


def call(case: Case, inputs, backend="auto", **others):
    settings = {"window": case.window, "softcap": case.softcap, "backend": backend, **others}
    return attention(*inputs, layout_of(case), **settings)


@pytest.mark.parametrize("case", [case for case in CASES if not case.blank], ids=lambda case: case.name)
def test_layouts_of_the_package_and_of_the_cases_agree(case: Case):
    rows = [[(trunk, tuple(branches)) for trunk, branches in row] for row in case.rows]
    layout = Layout._build(rows, case.row_tokens)
    vectors = (layout.segment_start, layout.prefix_end, layout.branch_start, layout.position)
    for ours, theirs in zip(vectors, (*case.bounds(), case.position()), strict=True):
        assert torch.equal(torch.from_numpy(ours), theirs)


@pytest.mark.parametrize("tolerance", TOLERANCES, ids=lambda tolerance: str(tolerance.dtype).removeprefix("torch."))
@pytest.mark.parametrize("backend", ["sdpa", "blockwise", "reference"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_values_and_gradients_equal_the_float64_reference(case: Case, backend, tolerance: Tolerance):
    if backend == "sdpa" and case.softcap is not None:
        pytest.skip("torch's attention has no softcap; that it is refused is a test of its own")
    inputs, do_NHD = case.inputs(tolerance.dtype), case.direction(tolerance.dtype)
    o, *gradients = truth(case.name, tolerance.dtype)
    output = call(case, inputs, backend)
    assert output.dtype == tolerance.dtype
    assert relative_error(output, o) <= tolerance.values
    assert (output[(o == 0).all(dim=-1)] == 0).all()
    for ours, theirs in zip(torch.autograd.grad(output, inputs, do_NHD), gradients, strict=True):
        assert ours.dtype == tolerance.dtype
        assert relative_error(ours, theirs, do_NHD) <= tolerance.gradients


def test_rows_of_one_segment_take_the_causal_path_and_others_do_not():
    assert TensorLayout.of(Layout.packed([[8], [8]], 8)).rows_are_causal
    assert not TensorLayout.of(Layout.packed([[8], [7]], 8)).rows_are_causal
    assert not TensorLayout.of(Layout.packed([[5, 3]], 8)).rows_are_causal
    assert not TensorLayout.of(Layout.shared_prefix([3], [[5]], 8)).rows_are_causal


def test_what_the_host_knows_equals_what_the_tensors_say():
    for layout in (Layout.packed([[5, 3], [8]], 8), Layout.shared_prefix([3], [[2, 3]], 8), Layout.packed([[8]], 8)):
        moved = TensorLayout.of(layout)
        bare = TensorLayout.from_tensors(
            moved.segment_start, moved.prefix_end, moved.branch_start, moved.position, moved.row_tokens
        )
        assert bare.max_sequence_tokens == moved.max_sequence_tokens == layout.position.max() + 1
        for name in ("rows_are_causal", "has_prefix", "has_blank"):
            assert getattr(bare, name) == getattr(moved, name)
        assert moved.has_prefix == bool((layout.prefix_end > layout.segment_start).any())


def test_what_is_derived_is_made_once():
    layout = TensorLayout.of(Layout.packed([[5, 3]], 8))
    for window in (None, 3):
        assert layout.mask_R1TT(window) is layout.mask_R1TT(window)
        assert layout.work_list("keys", 4, 4, window) is layout.work_list("keys", 4, 4, window)
    assert layout.work_list("keys", 4, 4) is not layout.work_list("keys", 4, 4, 3)
    assert layout.bounds(3)[0] is layout.bounds(3)[0]


def test_vectors_that_contradict_each_other_are_refused_with_the_token():
    case = by_name("packed")
    segment, prefix, branch = case.bounds()
    branch[9] = 3
    with pytest.raises(InvalidArgument, match="token 9"):
        TensorLayout.from_tensors(segment, prefix, branch, case.position(), case.row_tokens)
    with pytest.raises(InvalidArgument, match=r"torch.int64 \[4, 24\] on cpu; give torch.int32"):
        TensorLayout(torch.zeros(4, 24, dtype=torch.int64), 24)


@pytest.fixture
def said(caplog, monkeypatch):
    """What is logged about the choice, as if nothing had been said before."""
    attention_choice._log_once.cache_clear()
    caplog.set_level(logging.INFO, logger="stategpt.ops.attention_choice")
    return lambda: [record.message for record in caplog.records]


def test_the_choice_is_logged_once(said):
    case = CASES[0]
    for _ in range(3):
        call(case, case.inputs(torch.float32))
    assert said() == ["attention: sdpa on cpu for float32 (triton: no NVIDIA GPU)"]


def test_large_masks_and_soft_caps_take_the_blockwise_way(said, monkeypatch):
    case = by_name("packed")
    inputs = case.inputs(torch.float32)
    monkeypatch.setattr(sys.modules["stategpt.ops.attention"], "MAX_SDPA_BYTES", 2 * 24 * 24 * 8 - 1)
    call(case, inputs)
    call(by_name("causal_rows"), by_name("causal_rows").inputs(torch.float32))
    call(case, inputs, softcap=5.0)
    assert said() == [
        "attention: blockwise on cpu for float32 (triton: no NVIDIA GPU; sdpa: too much memory for all pairs of "
        "tokens)",
        "attention: sdpa on cpu for float32 (triton: no NVIDIA GPU)",
        "attention: blockwise on cpu for float32 (triton: no NVIDIA GPU; sdpa: no softcap)",
    ]


def test_long_rows_cost_no_memory_for_all_pairs_of_tokens():
    tokens, script = (
        20_000,
        """
import resource, sys, torch
from stategpt.packing.layout import Layout
from stategpt.ops import TensorLayout, attention
tokens = int(sys.argv[1])
layout = TensorLayout.of(Layout.packed([[tokens // 2, tokens // 2]], tokens))
q, k, v = (torch.randn(tokens, 1, 8, requires_grad=True) for _ in range(3))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
attention(q, k, v, layout).sum().backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
""",
    )
    done = subprocess.run([sys.executable, "-c", script, str(tokens)], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < tokens * tokens / 4  # a mask of one byte a pair would take four times as much


def test_a_window_is_what_the_mask_says_beyond_the_row_too():
    case = by_name("window")
    inputs = case.inputs(torch.float64)
    wide = call(case, inputs, "blockwise", window=2**31 - 1)
    assert torch.equal(wide, call(case, inputs, "blockwise", window=None))
    assert torch.equal(call(case, inputs, "sdpa", window=case.row_tokens), call(case, inputs, "sdpa", window=None))


@pytest.mark.parametrize("backend", ["sdpa", "blockwise", "reference", "triton"])
def test_autocast_changes_nothing(backend, require_backend):
    """Its products round to 16 bits what is computed in float32, scores first."""
    require_backend(backend)
    case = by_name("packed")
    inputs, do_NHD = case.inputs(torch.float32), case.direction(torch.float32)
    expected = call(case, inputs, backend)
    gradients = torch.autograd.grad(expected, inputs, do_NHD)
    with torch.autocast("cpu", torch.bfloat16):
        output = call(case, inputs, backend)
    assert torch.equal(output, expected)
    for ours, theirs in zip(torch.autograd.grad(output, inputs, do_NHD), gradients, strict=True):
        assert torch.equal(ours, theirs)


def on_cpu_in_float32(inputs, compute):
    """`compute` of the inputs rounded to bfloat16 but held as float32, its result and gradients rounded again."""
    rounded = [x.detach().bfloat16().float().requires_grad_() for x in inputs]
    output = compute(*rounded)
    gradients = torch.autograd.grad(output, rounded, torch.ones_like(output))
    return output.bfloat16(), [gradient.bfloat16() for gradient in gradients]


@pytest.mark.parametrize("name", ["packed", "shared_prefix"])
def test_a_cpu_computes_bfloat16_attention_in_float32(name):
    case = by_name(name)
    inputs = case.inputs(torch.float32)
    expected, expected_gradients = on_cpu_in_float32(inputs, lambda *qkv: call(case, qkv, "sdpa"))
    narrow = [x.detach().bfloat16().requires_grad_() for x in inputs]
    output = call(case, narrow, "sdpa")
    assert output.dtype == torch.bfloat16
    assert torch.equal(output, expected)
    for ours, theirs in zip(
        torch.autograd.grad(output, narrow, torch.ones_like(output)), expected_gradients, strict=True
    ):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("seen", [None, torch.tensor([4, 2])])
def test_a_cpu_attends_over_a_bfloat16_cache_in_float32(autocast, seen):
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(2, 1, 4, 8, generator=generator).bfloat16()
    k, v = (torch.randn(2, 2, 5, 8, generator=generator).bfloat16() for _ in range(2))
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        output = cached_attention(q, k, v, seen)
    assert output.dtype == torch.bfloat16
    assert torch.equal(output, cached_attention(q.float(), k.float(), v.float(), seen).bfloat16())


def test_the_gradient_of_blockwise_is_the_same_where_autocast_is_still_on():
    case = by_name("packed")
    inputs, do_NHD = case.inputs(torch.float32), case.direction(torch.float32)
    expected = torch.autograd.grad(call(case, inputs, "blockwise"), inputs, do_NHD)
    with torch.autocast("cpu", torch.bfloat16):
        gradients = torch.autograd.grad(call(case, inputs, "blockwise"), inputs, do_NHD)
    for ours, theirs in zip(gradients, expected, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("asked", [False, True], ids=["any_order", "one_order"])
def test_no_sum_has_any_order_where_torch_is_told_so(asked, monkeypatch, require_backend):
    require_backend("triton")
    from stategpt.kernels.attention import launch

    passes, backward_kv = [], launch.backward_kv

    def spy(*arguments, one_pass):
        passes.append(one_pass)
        return backward_kv(*arguments, one_pass=one_pass)

    monkeypatch.setattr(launch, "backward_kv", spy)
    case = by_name("packed")
    inputs = case.inputs(torch.float32)
    torch.use_deterministic_algorithms(asked)
    try:
        torch.autograd.grad(call(case, inputs, "triton", deterministic=False).sum(), inputs)
    finally:
        torch.use_deterministic_algorithms(False)
    assert passes == [not asked]


@pytest.mark.parametrize("tokens", [1, 2, 3, 4, 5, 33])
def test_each_vector_of_a_layout_starts_on_16_bytes(tokens):
    """Else what the kernels were compiled for would hold for every fourth length alone."""
    layout = TensorLayout.of(Layout.packed([[tokens]], tokens))
    for vector in (*layout.bounds(), *layout.bounds(2)):
        assert vector.shape == (tokens,)
        assert vector.data_ptr() % 16 == 0
    assert layout.position.tolist() == list(range(tokens))


@pytest.mark.parametrize("backend", ["sdpa", "blockwise", "reference"])
def test_no_tokens_give_no_output(backend):
    layout = TensorLayout.of(Layout.packed([], 8))
    q = torch.zeros(0, 2, 8, requires_grad=True)
    output = attention(q, q, q, layout, backend=backend)
    assert output.shape == (0, 2, 8)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_large_logits_cost_blockwise_no_more_precision_than_torch(dtype):
    inputs, do_NHD = LARGE_LOGITS.inputs(dtype), LARGE_LOGITS.direction(dtype)
    o, *_ = LARGE_LOGITS.truth(inputs, do_NHD)
    errors = [relative_error(call(LARGE_LOGITS, inputs, name), o) for name in ("blockwise", "sdpa")]
    assert errors[0] <= error_beside_torch(errors[1], LARGE_LOGITS.logits)


def test_what_does_not_fit_is_refused_with_its_values():
    case = CASES[0]
    q, k, v = case.inputs(torch.float32)
    layout = layout_of(case)
    with pytest.raises(InvalidArgument, match=r"the layout describes 24 tokens, q has 12"):
        attention(q[:12], k[:12], v[:12], layout)
    with pytest.raises(InvalidArgument, match="G must divide H"):
        attention(q[:, :3], k, v, layout)
    with pytest.raises(InvalidArgument, match="G must divide H"):
        attention(q, k[:, :0], v[:, :0], layout)
    with pytest.raises(InvalidArgument, match=r"got \[24, 64\]"):
        attention(q.flatten(1), k, v, layout)
    with pytest.raises(InvalidArgument, match="cast them to one of bfloat16, float16, float32, float64"):
        attention(q, k, v.double(), layout)
    with pytest.raises(InvalidArgument, match=r"q, k and v are torch.int64"):
        attention(q.long(), k.long(), v.long(), layout)
    with pytest.raises(InvalidArgument, match="q, k, v and layout are on meta, meta, meta and cpu"):
        attention(q.to("meta"), k.to("meta"), v.to("meta"), layout)
    with pytest.raises(InvalidArgument, match=r"k has strides .* its last axis must be contiguous"):
        attention(q, k.mT.contiguous().mT, v, layout)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window": 0}, "window is 0; give the number of keys seen, at least 1"),
        ({"window": True}, "window is True"),
        ({"softcap": 0.0}, "softcap is 0.0; give a positive number"),
        ({"softcap": float("inf")}, "softcap is inf"),
        ({"scale": float("nan")}, "scale is nan; give a finite number"),
        ({"backend": "cudnn"}, "'cudnn' is not one of auto, triton, sdpa, blockwise, reference"),
        ({"backend": "sdpa", "softcap": 2.0}, "'sdpa' cannot run: torch's attention has no softcap"),
    ],
    ids=str,
)
def test_numbers_out_of_range_and_unknown_backends_are_refused(settings, message):
    case = CASES[0]
    with pytest.raises(InvalidArgument, match=message):
        attention(*case.inputs(torch.float32), layout_of(case), **settings)


def test_the_kernels_are_refused_where_they_cannot_run(monkeypatch):
    interpreter = pytest.importorskip("stategpt.kernels._shared.interpreter")
    monkeypatch.setattr(interpreter, "INTERPRETED", False)
    case = CASES[0]
    inputs = case.inputs(torch.float32)
    with pytest.raises(InvalidArgument, match="'triton' cannot run: it needs an NVIDIA GPU, or TRITON_INTERPRET=1"):
        call(case, inputs, "triton")
    with pytest.raises(InvalidArgument, match="multiples of 8 up to 256, not 12"):
        call(case, [x[..., :12] for x in inputs], "triton")
    with pytest.raises(InvalidArgument, match="not float64"):
        call(case, case.inputs(torch.float64), "triton")
    monkeypatch.setattr("stategpt.ops.backend.find_spec", lambda name: None)
    with pytest.raises(InvalidArgument, match=r"triton is not installed \(extra: train\)"):
        call(case, inputs, "triton")


@pytest.mark.parametrize("new", [1, 3])
@pytest.mark.parametrize("seen", [[4, 4], [2, 4], [0, 0]], ids=["even", "uneven", "empty"])
def test_attention_over_a_cache_equals_the_reference_over_the_whole_sequence(seen, new):
    generator = torch.Generator().manual_seed(3)
    slots, heads, kv_heads, width = max(seen) + new, 4, 2, 8
    keys, values = (torch.randn(2, kv_heads, slots, width, generator=generator, dtype=torch.float64) for _ in range(2))
    queries = torch.randn(2, new, heads, width, generator=generator, dtype=torch.float64)
    counts = None if seen[0] == seen[1] else torch.tensor(seen)
    output = cached_attention(queries, keys, values, counts)
    for row, before in enumerate(seen):
        length = before + new
        q_NHD = torch.zeros(length, heads, width, dtype=torch.float64)
        q_NHD[before:] = queries[row]
        start = torch.zeros(length, dtype=torch.int32)
        k_NGD, v_NGD = (x[row, :, :length].transpose(0, 1) for x in (keys, values))
        truth = attention_reference(q_NHD, k_NGD, v_NGD, start, start, start, scale=width**-0.5)
        torch.testing.assert_close(output[row], truth[before:], rtol=1e-12, atol=1e-12)
