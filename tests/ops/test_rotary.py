"""Rotary positions: angles, gradient, and the property they exist for."""

import math

import pytest

torch = pytest.importorskip("torch", reason="ops need the train extra (torch)")

from stategpt.ops import rotary_angles, rotary_frequencies, rotate  # noqa: E402

CPU = torch.device("cpu")


def angles(positions: int, head_dim: int, theta: float):
    """Cosines and sines of every position below `positions`."""
    return rotary_angles(torch.arange(positions), rotary_frequencies(head_dim, theta, CPU))


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def test_each_pair_turns_by_position_times_its_frequency():
    cos, sin = angles(10, 8, 100.0)
    x = torch.randn(10, 2, 8)
    turned = rotate(x, cos, sin)
    for position in (0, 3, 9):
        for pair in range(4):
            angle = position * 100.0 ** (-2 * pair / 8)
            a, b = x[position, :, pair], x[position, :, pair + 4]
            torch.testing.assert_close(turned[position, :, pair], a * math.cos(angle) - b * math.sin(angle))
            torch.testing.assert_close(turned[position, :, pair + 4], b * math.cos(angle) + a * math.sin(angle))


def test_products_depend_on_the_distance_of_positions_only():
    cos, sin = (table.double() for table in angles(64, 16, 10_000.0))
    q, k = torch.randn(2, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def product(q_position: int, k_position: int) -> float:
        at = torch.tensor([q_position, k_position])
        turned = rotate(torch.stack([q, k]).unsqueeze(1), cos[at], sin[at])
        return float(turned[0, 0] @ turned[1, 0])

    assert product(5, 2) == pytest.approx(product(43, 40), abs=1e-5)  # the angles are float32
    assert product(5, 2) != pytest.approx(product(43, 39), abs=1e-2)


def test_gradient_is_the_rotation_back():
    cos, sin = (table.double() for table in angles(5, 8, 10_000.0))
    x = torch.randn(5, 3, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: rotate(x, cos, sin), (x,))
    direction = torch.randn(5, 3, 8, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(rotate(x, cos, sin), x, direction)
    torch.testing.assert_close(rotate(gradient, cos, sin), direction, rtol=1e-6, atol=1e-6)  # float32 angles


def test_the_output_has_the_inputs_dtype():
    cos, sin = angles(4, 8, 10_000.0)
    assert rotate(torch.randn(4, 1, 8).bfloat16(), cos, sin).dtype == torch.bfloat16


@pytest.mark.parametrize("compiler", ["eager", "aot_eager"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_compiled_gradients_are_those_uncompiled(dtype, tolerance, compiler):
    cos, sin = angles(5, 8, 10_000.0)
    x, direction = torch.randn(5, 3, 8, dtype=dtype, requires_grad=True), torch.randn(5, 3, 8, dtype=dtype)
    torch._dynamo.reset()
    compiled = torch.compile(rotate, fullgraph=True, backend=compiler)
    (found,) = torch.autograd.grad(compiled(x, cos, sin), x, direction)
    (expected,) = torch.autograd.grad(rotate(x, cos, sin), x, direction)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def test_positions_far_beyond_any_table_take_no_memory():
    far = rotary_angles(torch.tensor([2**31 - 1]), rotary_frequencies(8, 10_000.0, CPU))
    assert [x.shape for x in far] == [(1, 4)] * 2
    assert all(x.isfinite().all() for x in far)
