"""NF4 against the definition, a weight at a time, and against bitsandbytes where it is installed."""

import math

import pytest

torch = pytest.importorskip("torch", reason="the operations need the train extra (torch)")

from stategpt.ops.nf4 import BLOCK, CODES, SCALE_BLOCK, block_scales, from_nf4, to_nf4  # noqa: E402

SHAPES = [(4, 64), (3, 43), (1, 1), (5, 26), (130, 129)]


def matrix(shape, spread: bool = True):
    torch.manual_seed(0)
    weight = torch.randn(shape)
    return weight * torch.logspace(-2, 1, shape[0])[:, None] if spread else weight


def reference_codes(values: list[float]) -> list[int]:
    """Numbers of the nearest codes, block by block."""
    numbers = []
    for first in range(0, len(values), BLOCK):
        block = values[first : first + BLOCK]
        largest = max(map(abs, block))
        for value in block:
            numbers.append(min(range(16), key=lambda code: abs(CODES[code] - value / largest)))
    return numbers


def reference_scales(values: list[float]) -> list[float]:
    """Block scales after double quantization: mean subtracted, 256 of them to int8, and back."""
    scales = [max(map(abs, values[first : first + BLOCK])) for first in range(0, len(values), BLOCK)]
    mean = sum(scales) / len(scales)
    found = []
    for first in range(0, len(scales), SCALE_BLOCK):
        group = [scale - mean for scale in scales[first : first + SCALE_BLOCK]]
        step = max(map(abs, group)) / 127
        found += [mean + (step * round(deviation / step) if step else 0.0) for deviation in group]
    return found


def codes_of(quantized, count: int) -> list[int]:
    return [half for byte in quantized.codes.tolist() for half in (byte >> 4, byte & 15)][:count]


def test_the_codes_are_quantiles_of_the_normal_distribution():
    """The paper's construction: 8 quantiles of the negative half and 9 of the positive one, 0 in both, scaled to 1."""
    normal = torch.distributions.Normal(0.0, 1.0)
    offset = (1 - 1 / 32 + 1 - 1 / 30) / 2  # mean of the halves' outermost probabilities
    positive = normal.icdf(torch.linspace(offset, 0.5, 9, dtype=torch.float64)[:-1])
    negative = -normal.icdf(torch.linspace(offset, 0.5, 8, dtype=torch.float64)[:-1])
    values = torch.cat((positive, negative, torch.zeros(1, dtype=torch.float64))).sort().values
    torch.testing.assert_close(torch.tensor(CODES, dtype=torch.float64), values / values.max(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_codes_and_scales_are_those_of_the_definition(shape):
    weight = matrix(shape)
    quantized = to_nf4(weight)
    values = weight.flatten().tolist()
    assert codes_of(quantized, len(values)) == reference_codes(values)
    assert block_scales(quantized).tolist() == pytest.approx(reference_scales(values), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_dequantized_weights_are_scale_times_code(shape):
    quantized = to_nf4(matrix(shape))
    scales = block_scales(quantized)
    codes = torch.tensor(CODES)[torch.tensor(codes_of(quantized, math.prod(shape)))]
    expected = codes * scales.repeat_interleave(BLOCK)[: math.prod(shape)]
    assert torch.equal(from_nf4(quantized, shape), expected.view(shape))
    assert torch.equal(from_nf4(quantized, shape, torch.bfloat16), expected.view(shape).bfloat16())


def test_bits_of_a_weight_are_those_of_the_paper():
    weight = matrix((512, 1024))
    bits = 8 * sum(part.numel() * part.element_size() for part in to_nf4(weight)) / weight.numel()
    assert bits == pytest.approx(4.127, abs=1e-3)


def test_the_error_is_that_of_nf4_on_normal_weights():
    weight = matrix((512, 1024), spread=False)
    error = (from_nf4(to_nf4(weight), (512, 1024)) - weight).pow(2).mean().sqrt()
    assert float(error) == pytest.approx(0.092, abs=0.001)  # of bitsandbytes 0.50.2 on the same weights: 0.0920


def test_zeros_come_back_as_zeros():
    weight = torch.zeros(3, 64)
    weight[1] = 1.0
    assert torch.equal(from_nf4(to_nf4(weight), (3, 64))[[0, 2]], torch.zeros(2, 64))
    assert torch.equal(from_nf4(to_nf4(torch.zeros(2, 5)), (2, 5)), torch.zeros(2, 5))


def test_codes_are_those_of_bitsandbytes():
    functional = pytest.importorskip("bitsandbytes.functional", reason="an oracle where it is installed")
    weight = matrix((64, 128))
    packed, state = functional.quantize_4bit(weight, blocksize=BLOCK, quant_type="nf4", compress_statistics=False)
    assert torch.equal(packed.flatten(), to_nf4(weight).codes)
    assert torch.equal(state.code, torch.tensor(CODES))
