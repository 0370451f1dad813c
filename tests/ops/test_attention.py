"""ops.attention: every backend against the float64 reference on every case, its refusals, and what it logs."""

import logging

import pytest

torch = pytest.importorskip("torch", reason="ops need the train extra (torch)")

from stategpt.data.layout import Layout  # noqa: E402
from stategpt.errors import InvalidArgument  # noqa: E402
from stategpt.kernels.attention import attention_reference  # noqa: E402
from stategpt.kernels.attention.cases import CASES, TOLERANCES, Case, Tolerance  # noqa: E402
from stategpt.ops import TensorLayout, attention, cached_attention  # noqa: E402
from stategpt.ops.attention import _choose  # noqa: E402


def layout_of(case: Case) -> TensorLayout:
    """The case's layout, built by the package's own constructors row by row."""
    rows = [[(trunk, tuple(branches)) for trunk, branches in row] for row in case.rows]
    return TensorLayout.of(Layout._build(rows, case.row_tokens))


@torch.no_grad()
def relative_error(result, truth) -> float:
    return float((result.double() - truth).abs().max() / truth.abs().max())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_layouts_of_the_package_and_of_the_cases_agree(case: Case):
    layout = layout_of(case)
    for ours, theirs in zip((layout.segment_start, layout.prefix_end, layout.branch_start), case.bounds(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("tolerance", TOLERANCES, ids=lambda tolerance: str(tolerance.dtype).removeprefix("torch."))
@pytest.mark.parametrize("backend", ["sdpa", "reference"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_values_and_gradients_equal_the_float64_reference(case: Case, backend, tolerance: Tolerance):
    exact = case.inputs(torch.float64)
    truth = attention_reference(*exact, *case.bounds(), scale=case.head_width**-0.5)
    direction = torch.randn(truth.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    inputs = case.inputs(tolerance.dtype)
    output = attention(*inputs, layout_of(case), backend=backend)
    assert output.dtype == tolerance.dtype
    assert relative_error(output, truth) <= tolerance.values
    gradients = torch.autograd.grad(output, inputs, direction.to(tolerance.dtype))
    for ours, theirs in zip(gradients, torch.autograd.grad(truth, exact, direction), strict=True):
        # A row of one-key softmaxes has no gradient for q and k: then an absolute bound is meant.
        error = (ours.double() - theirs).abs().max() / theirs.abs().max().clamp(min=1.0)
        assert error <= tolerance.gradients


def test_rows_of_one_segment_take_the_causal_path_and_others_do_not():
    assert TensorLayout.of(Layout.packed([[8], [8]], 8)).rows_are_causal
    assert not TensorLayout.of(Layout.packed([[8], [7]], 8)).rows_are_causal
    assert not TensorLayout.of(Layout.packed([[5, 3]], 8)).rows_are_causal
    assert not TensorLayout.of(Layout.shared_prefix([3], [[5]], 8)).rows_are_causal


def test_what_the_host_knows_equals_what_the_tensors_say():
    for layout in (Layout.packed([[5, 3], [8]], 8), Layout.shared_prefix([3], [[2, 3]], 8), Layout.packed([[8]], 8)):
        moved = TensorLayout.of(layout)
        bare = TensorLayout(moved.segment_start, moved.prefix_end, moved.branch_start, moved.position, moved.row_tokens)
        assert bare.longest_tokens == moved.longest_tokens == layout.position.max() + 1
        assert bare.rows_are_causal == moved.rows_are_causal


def test_the_mask_is_built_once():
    layout = TensorLayout.of(Layout.packed([[5, 3]], 8))
    assert layout.mask_R1TT is layout.mask_R1TT


def test_the_choice_is_logged_once(caplog):
    case = CASES[0]
    _choose.cache_clear()
    with caplog.at_level(logging.INFO, logger="stategpt.ops.attention"):
        for _ in range(3):
            attention(*case.inputs(torch.float32), layout_of(case))
    assert [record.message for record in caplog.records] == ["attention: sdpa on cpu (fastest on this device)"]


def test_what_does_not_fit_is_refused_with_its_values():
    case = CASES[0]
    q, k, v = case.inputs(torch.float32)
    layout = layout_of(case)
    with pytest.raises(InvalidArgument, match="the layout describes 24 tokens, q has 12"):
        attention(q[:12], k[:12], v[:12], layout)
    with pytest.raises(InvalidArgument, match="G must divide H"):
        attention(q[:, :3], k, v, layout)
    with pytest.raises(InvalidArgument, match=r"got \[24, 64\]"):
        attention(q.flatten(1), k, v, layout)
    with pytest.raises(InvalidArgument, match="cast them to one dtype"):
        attention(q, k, v.double(), layout)
    with pytest.raises(InvalidArgument, match="'triton' is not one of auto, reference, sdpa"):
        attention(q, k, v, layout, backend="triton")


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
