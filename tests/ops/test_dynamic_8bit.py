"""Block-wise dynamic 8-bit numbers: the table against the definition, error bounds, blocks that do not touch."""

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from stategpt.config.optimizers import STATE_BLOCK as BLOCK  # noqa: E402
from stategpt.ops.dynamic_8bit import dequantize, dynamic_values, nearest_codes, quantize  # noqa: E402

SIGNED = pytest.mark.parametrize("signed", [True, False])


@SIGNED
def test_there_are_256_values_in_order_over_seven_decades(signed: bool) -> None:
    values = dynamic_values(signed)
    assert values.shape == (256,)
    assert bool((values[1:] > values[:-1]).all())
    positive = values[values > 0]
    assert positive[-1] == 1.0
    assert positive[0] == pytest.approx(5.5e-7 if signed else 1e-7)
    assert bool((values == 0).any()) == signed  # a second moment never becomes 0
    if signed:  # as many below 0 as above, where 1 is the last
        assert torch.equal(values[:127], -values[128:255].flip(0))


@SIGNED
def test_the_table_finds_the_nearest_value(signed: bool) -> None:
    """Random quotients, every value, every midpoint, and the float32 numbers beside each midpoint."""
    generator = torch.Generator().manual_seed(1)
    random = torch.randn(20_000, generator=generator) * torch.rand(20_000, generator=generator) ** 8
    values = dynamic_values(signed)
    between = ((values[1:].double() + values[:-1].double()) / 2).float()
    beside = [torch.nextafter(between, torch.tensor(far)) for far in (-2.0, 2.0)]
    quotients = torch.cat([random / random.abs().max(), values, between, *beside, torch.tensor([0.0, -0.0, 1e-42])])
    quotients = quotients if signed else quotients.abs()
    padded = torch.cat([quotients, torch.zeros(-len(quotients) % (BLOCK - 1))]).view(-1, BLOCK - 1)
    scaled = torch.cat([padded, torch.ones(len(padded), 1)], dim=1)  # each block's largest is 1: nothing is divided
    codes, scale = quantize(scaled.view(-1), signed)
    assert bool((scale == 1).all())
    assert torch.equal(codes.view(scaled.shape), nearest_codes(scaled, signed))


@SIGNED
@given(size=st.integers(1, 3 * BLOCK + 5), seed=st.integers(0, 99))
def test_what_comes_back_is_the_nearest_value_times_the_blocks_scale(signed: bool, size: int, seed: int) -> None:
    numbers = torch.randn(size, generator=torch.Generator().manual_seed(seed))
    numbers = numbers if signed else numbers.square()
    codes, scale = quantize(numbers, signed)
    found = dequantize(codes, scale, signed)
    values = dynamic_values(signed)
    for block in range(len(scale)):
        part = slice(block * BLOCK, (block + 1) * BLOCK)
        largest = numbers[part].abs().max()
        assert scale[block] == largest
        nearest = values[nearest_codes(numbers[part] / largest, signed).long()] * largest
        assert torch.equal(found[part], nearest)


@SIGNED
def test_an_outlier_costs_its_own_block_only_and_zeros_stay(signed: bool) -> None:
    numbers = torch.full((2 * BLOCK,), 1e-3)
    numbers[0] = 1e6
    found = dequantize(*quantize(numbers, signed), signed)
    assert found[0] == 1e6
    assert torch.allclose(found[BLOCK:], numbers[BLOCK:])
    assert not torch.allclose(found[1:BLOCK], numbers[1:BLOCK])
    zeros = torch.zeros(BLOCK + 3)
    assert torch.equal(dequantize(*quantize(zeros, signed), signed), zeros)
