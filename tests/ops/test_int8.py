"""8-bit weights against the definition, a weight at a time."""

import pytest

torch = pytest.importorskip("torch", reason="the operations need the train extra (torch)")

from stategpt.ops.int8 import from_int8, to_int8  # noqa: E402


def matrix(rows: int = 7, width: int = 33):
    torch.manual_seed(0)
    return torch.randn(rows, width) * torch.logspace(-3, 3, rows)[:, None]


def test_a_code_is_the_nearest_of_its_row():
    weight = matrix()
    quantized = to_int8(weight)
    assert quantized.codes.dtype == torch.int8
    for row, codes, scale in zip(weight.tolist(), quantized.codes.tolist(), quantized.scales.tolist(), strict=True):
        assert scale == pytest.approx(max(map(abs, row)) / 127, rel=1e-6)
        for value, code in zip(row, codes, strict=True):
            errors = {other: abs(other * scale - value) for other in range(-127, 128)}
            assert errors[code] <= min(errors.values()) + 1e-5 * scale


def test_the_largest_weight_of_a_row_has_the_largest_code():
    quantized = to_int8(matrix())
    assert quantized.codes.abs().amax(dim=1).tolist() == [127] * 7


def test_dequantized_weights_are_scale_times_code():
    quantized = to_int8(matrix())
    expected = [
        [float(torch.tensor(float(code)) * scale) for code in codes]
        for codes, scale in zip(quantized.codes.tolist(), quantized.scales, strict=True)
    ]
    assert from_int8(quantized).tolist() == expected
    assert torch.equal(from_int8(quantized, torch.bfloat16), from_int8(quantized).bfloat16())


def test_rows_of_zeros_and_of_the_smallest_numbers_come_back():
    weight = torch.stack([torch.zeros(5), torch.full((5,), 1e-45), torch.ones(5)])
    assert torch.equal(from_int8(to_int8(weight))[[0, 2]], weight[[0, 2]])
    assert from_int8(to_int8(weight))[1].abs().max() < 1e-37


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_number_formats_are_quantized_as_float32(dtype):
    weight = matrix(3, 8).to(dtype)
    assert all(torch.equal(a, b) for a, b in zip(to_int8(weight), to_int8(weight.float()), strict=True))
