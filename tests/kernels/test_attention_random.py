"""Attention on layouts that nobody thought of: random rows, windows, caps and tiles, against the float64 reference."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="kernels need the train extra (torch)")
pytest.importorskip("triton", reason="kernels need the train extra (triton)")

from test_attention import DEVICE, bounds, by_kernels, operands, work_list  # noqa: E402

from stategpt.kernels._shared.configs import Launch  # noqa: E402
from stategpt.kernels.attention import blockwise  # noqa: E402
from stategpt.kernels.attention.cases import Case  # noqa: E402

ROW_TOKENS = 40


@st.composite
def rows(draw: st.DrawFn) -> list[tuple[int, tuple[int, ...]]]:
    """Segments that fit into a row, some with branches; the rest is padding."""
    left, segments = ROW_TOKENS, []
    for _ in range(draw(st.integers(0, 4))):
        if left == 0:
            break
        trunk = draw(st.integers(1, left))
        left -= trunk
        branches = []
        for _ in range(draw(st.integers(0, 3))):
            if left:
                branches.append(draw(st.integers(1, min(left, 12))))
                left -= branches[-1]
        segments.append((trunk, tuple(branches)))
    return segments


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """One or two rows with any mask."""
    heads = draw(st.sampled_from([(1, 1), (3, 1), (4, 2)]))
    return Case(
        "random",
        "",
        draw(st.lists(rows(), min_size=1, max_size=2)),
        ROW_TOKENS,
        heads=heads[0],
        kv_heads=heads[1],
        head_dim=8,
        window=draw(st.none() | st.integers(1, ROW_TOKENS + 2)),
        softcap=draw(st.sampled_from([None, 2.0])),
        blank=draw(st.booleans()),
    )


def check(found: tuple[torch.Tensor, ...], case: Case, inputs: list[torch.Tensor], do: torch.Tensor, limit: float):
    """Errors beside the gradient of o: that of a softmax over one likely key nearly vanishes, its rounding does not."""
    for result, expected in zip(found, case.truth(inputs, do), strict=True):
        size = max(float(expected.norm()), float(do.double().norm()))
        assert float((result.cpu().double() - expected).norm()) <= limit * size


@settings(max_examples=150, deadline=None)
@given(case=cases(), block_q=st.integers(1, 50), block_k=st.integers(1, 50))
def test_blockwise_equals_the_reference(case: Case, block_q: int, block_k: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blockwise, "BLOCK_Q", block_q)
        patch.setattr(blockwise, "BLOCK_K", block_k)
        tiles = work_list(case, "queries", Launch(block_q, block_k, 1, 1)).cpu()
        scoring = blockwise.Scoring(*(bound.cpu() for bound in bounds(case)), case.scale, case.softcap)
        inputs, do = [x.detach() for x in case.inputs(torch.float64)], case.direction(torch.float64)
        o, lse = blockwise.forward(*inputs, scoring, tiles)
        gradients = blockwise.backward(*inputs, o, lse, do, scoring, tiles)
    check((o, *gradients), case, inputs, do, 1e-13)


@settings(max_examples=12, deadline=None)
@given(case=cases(), block_q=st.sampled_from([16, 32]), block_k=st.sampled_from([16, 32]))
def test_the_kernels_equal_the_reference(case: Case, block_q: int, block_k: int):
    inputs, do = [x.detach() for x in case.inputs(torch.float32)], case.direction(torch.float32)
    results = by_kernels(case, operands(case, inputs), do.to(DEVICE), Launch(block_q, block_k, 4, 1))
    check(results, case, inputs, do, 2e-6)
