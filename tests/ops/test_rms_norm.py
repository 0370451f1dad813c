"""RMS norm with its gradient written out, against the formula under autograd."""

import pytest

torch = pytest.importorskip("torch", reason="ops need the train extra (torch)")

from stategpt.ops import rms_norm  # noqa: E402


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def formula(x, weight, epsilon):
    return x / torch.sqrt(x.square().mean(dim=-1, keepdim=True) + epsilon) * weight


@pytest.mark.parametrize("shape", [(5, 8), (2, 3, 8), (4, 3, 8)])
@pytest.mark.parametrize("per_head", [False, True])
def test_value_and_gradients_equal_the_formula_in_float64(shape, per_head):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    weight_shape = shape[-2:] if per_head else shape[-1:]
    weight = torch.randn(weight_shape, generator=generator, dtype=torch.float64, requires_grad=True)
    ours, theirs = rms_norm(x, weight, 1e-3), formula(x, weight, 1e-3)
    torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-13)
    direction = torch.randn(shape, generator=generator, dtype=torch.float64)
    for a, b in zip(
        torch.autograd.grad(ours, (x, weight), direction),
        torch.autograd.grad(theirs, (x, weight), direction),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_gradient_passes_torchs_numerical_check():
    x = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: rms_norm(x, w, 1e-6), (x, weight))


def test_a_zero_vector_stays_zero_and_has_a_finite_gradient():
    x = torch.zeros(2, 4, requires_grad=True)
    y = rms_norm(x, torch.ones(4), 1e-6)
    y.sum().backward()
    assert torch.equal(y, torch.zeros(2, 4))
    assert bool(torch.isfinite(x.grad).all())


def test_strided_inputs_are_taken_as_they_are():
    whole = torch.randn(6, 5, 8, dtype=torch.float64)
    part = whole[:, 1:4]
    torch.testing.assert_close(rms_norm(part, torch.ones(8).double(), 1e-6), formula(part, 1.0, 1e-6))


def test_bfloat16_is_normed_in_float32_and_returned_as_bfloat16():
    x = torch.randn(16, 64).bfloat16()
    y = rms_norm(x, torch.ones(64), 1e-6)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), formula(x.float(), 1.0, 1e-6), rtol=2**-8, atol=0)


@pytest.mark.parametrize("compiler", ["eager", "aot_eager"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_compiled_gradients_are_those_uncompiled(dtype, compiler):
    x = torch.randn(5, 3, 8, dtype=dtype, requires_grad=True)
    weight = torch.randn(3, 8, dtype=torch.float64 if dtype == torch.float64 else torch.float32, requires_grad=True)
    torch._dynamo.reset()
    compiled = torch.compile(lambda x, w: rms_norm(x, w, 1e-6), fullgraph=True, backend=compiler)
    direction = torch.randn(5, 3, 8, dtype=dtype)
    found = torch.autograd.grad(compiled(x, weight), (x, weight), direction)
    expected = torch.autograd.grad(rms_norm(x, weight, 1e-6), (x, weight), direction)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
