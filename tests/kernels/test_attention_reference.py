"""The attention reference is what the layout rule says, checked against a dense computation over an explicit mask."""

import pytest

torch = pytest.importorskip("torch", reason="kernels need the train extra (torch)")

from stategpt.kernels.attention import attention_reference, visible_keys  # noqa: E402
from stategpt.kernels.attention.cases import CASES, Case  # noqa: E402


def by_name(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def dense_mask(case: Case):
    """Who sees whom, pair by pair: a key within the window is fewer than so many positions away. -> bool[N, N]"""
    segment, prefix, branch, position = (bound.tolist() for bound in (*case.bounds(), case.position()))
    visible = torch.zeros(case.tokens, case.tokens, dtype=torch.bool)
    for query in range(case.tokens):
        for key in range(case.tokens):
            seen = segment[query] <= key < prefix[query] or branch[query] <= key <= query
            visible[query, key] = seen and (case.window is None or position[query] - position[key] < case.window)
    return visible


def dense_attention(case: Case, q_NHD, k_NGD, v_NGD, scale: float):
    """All N x N scores at once, the invisible ones set to minus infinity."""
    visible = dense_mask(case)
    group = case.heads // case.kv_heads
    k_NHD, v_NHD = k_NGD.repeat_interleave(group, dim=1), v_NGD.repeat_interleave(group, dim=1)
    scores_HNN = torch.einsum("qhd,khd->hqk", q_NHD, k_NHD) * scale
    if case.softcap is not None:
        scores_HNN = case.softcap * (scores_HNN / case.softcap).tanh()
    weights_HNN = scores_HNN.masked_fill(~visible, -1e300).softmax(dim=-1).masked_fill(~visible, 0.0)
    return torch.einsum("hqk,khd->qhd", weights_HNN, v_NHD)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_equals_masked_dense_attention_in_values_and_gradients(case: Case):
    inputs = case.inputs(torch.float64)
    output = attention_reference(*inputs, *case.bounds(), 0.3, case.window, case.softcap)
    expected = dense_attention(case, *inputs, scale=0.3)
    torch.testing.assert_close(output, expected, rtol=1e-12, atol=1e-12)
    direction = torch.randn(output.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gradients = torch.autograd.grad(output, inputs, direction)
    for ours, theirs in zip(gradients, torch.autograd.grad(expected, inputs, direction), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-12)


def test_packed_documents_do_not_see_each_other():
    case = by_name("packed")
    q, k, v = (tensor.detach() for tensor in case.inputs(torch.float64))
    before = attention_reference(q, k, v, *case.bounds(), scale=1.0)
    k, v = k.clone(), v.clone()
    k[:7], v[:7] = 5.0, -5.0  # another first document
    after = attention_reference(q, k, v, *case.bounds(), scale=1.0)
    assert torch.equal(before[7:], after[7:])
    assert not torch.equal(before[:7], after[:7])


def test_branches_see_their_prefix_and_themselves_only():
    segment, prefix, branch = (bound.tolist() for bound in by_name("shared_prefix").bounds())
    # The first row: a prompt of 6 tokens, then completions of 4, 3 and 5; token 11 is the second's second.
    assert visible_keys(11, segment[11], prefix[11], branch[11]) == [0, 1, 2, 3, 4, 5, 10, 11]


def test_padding_sees_only_itself():
    case = by_name("packed_with_padding")
    q, k, v = case.inputs(torch.float64)
    output = attention_reference(q, k, v, *case.bounds(), scale=1.0)
    value_of_each_head = v[13].repeat_interleave(case.heads // case.kv_heads, dim=0)
    torch.testing.assert_close(output[13], value_of_each_head)


def test_low_precision_inputs_are_computed_in_float32():
    case = by_name("shared_prefix")
    rounded = case.inputs(torch.bfloat16)
    exact = attention_reference(*(tensor.float() for tensor in rounded), *case.bounds(), scale=0.25)
    output = attention_reference(*rounded, *case.bounds(), scale=0.25)
    assert output.dtype == torch.bfloat16
    assert torch.equal(output, exact.bfloat16())
