"""Cross-entropy with its gradient written out, against torch's."""

import pytest

torch = pytest.importorskip("torch", reason="ops need the train extra (torch)")
import torch.nn.functional as F  # noqa: E402

from stategpt.ops import cross_entropy  # noqa: E402


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_value_and_gradient_equal_torchs(dtype, tolerance):
    generator = torch.Generator().manual_seed(0)
    logits = (3 * torch.randn(9, 17, generator=generator)).to(dtype).requires_grad_()
    targets = torch.randint(0, 17, (9,), generator=generator)
    ours, theirs = cross_entropy(logits, targets), F.cross_entropy(logits, targets, reduction="sum")
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    for scale in (1.0, 0.25):
        (expected,) = torch.autograd.grad(scale * F.cross_entropy(logits, targets, reduction="sum"), logits)
        (gradient,) = torch.autograd.grad(scale * cross_entropy(logits, targets), logits)
        torch.testing.assert_close(gradient, expected, rtol=tolerance, atol=tolerance)


def test_a_target_of_vanishing_probability_has_its_exact_loss():
    logits = torch.tensor([[500.0, 0.0, 1.0], [0.0, 0.0, 0.0]], requires_grad=True)
    loss = cross_entropy(logits, torch.tensor([1, 2]))
    assert float(loss.detach()) == pytest.approx(500.0 + 1.0986123, rel=1e-6)
    loss.backward()
    assert logits.grad[0].tolist() == [1.0, -1.0, 0.0]


def test_no_targets_give_zero_with_a_graph():
    logits = torch.zeros(0, 5, requires_grad=True)
    loss = cross_entropy(logits, torch.zeros(0, dtype=torch.int64))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert logits.grad.shape == (0, 5)


def test_a_second_backward_is_refused_instead_of_wrong():
    logits = torch.randn(2, 5, requires_grad=True)
    loss = cross_entropy(logits, torch.tensor([0, 1]))
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("compiler", ["eager", "aot_eager"])
def test_compiled_gradients_are_those_uncompiled(compiler):
    logits, targets = torch.randn(9, 17, requires_grad=True), torch.randint(0, 17, (9,))
    torch._dynamo.reset()
    compiled = torch.compile(cross_entropy, fullgraph=True, backend=compiler)
    (found,) = torch.autograd.grad(0.5 * compiled(logits, targets), logits)
    (expected,) = torch.autograd.grad(0.5 * F.cross_entropy(logits, targets, reduction="sum"), logits)
    torch.testing.assert_close(found, expected)
