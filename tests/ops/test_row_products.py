"""A row of a product has the same bits in every batch."""

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

import torch.nn.functional as F  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from exact_machine import needs_exact_machine  # noqa: E402
from stategpt.errors import NotExact  # noqa: E402
from stategpt.ops import row_products  # noqa: E402
from stategpt.ops.row_products import SIZES, in_pieces, independent_of_place, row_product, verified_sizes  # noqa: E402

SHAPES = [(192, 320), (512, 192), (48, 97), (33, 7), (1, 1)]
"""Inputs and outputs; 33 is a width whose rows have four different alignments."""


@needs_exact_machine()
@pytest.mark.parametrize(("inputs", "outputs"), SHAPES)
def test_a_row_has_the_same_bits_alone_and_in_any_place_of_any_batch(inputs: int, outputs: int) -> None:
    drawn = torch.Generator().manual_seed(1)
    weight = torch.randn(outputs, inputs, generator=drawn)
    x = torch.randn(700, inputs, generator=drawn)
    whole = row_product(x, weight)
    assert torch.allclose(whole, F.linear(x, weight), atol=1e-5 * inputs**0.5, rtol=1e-5)
    for first, rows in [(0, 1), (1, 2), (5, 3), (3, 5), (11, 16), (1, 100), (2, 257), (444, 256), (699, 1)]:
        alone = row_product(x[first : first + rows].clone(), weight)
        assert torch.equal(alone, whole[first : first + rows]), (first, rows)


@needs_exact_machine()
def test_a_row_s_bits_do_not_depend_on_where_it_is_in_memory() -> None:
    drawn = torch.Generator().manual_seed(1)
    weight, x = torch.randn(40, 64, generator=drawn), torch.randn(9, 64, generator=drawn)
    place = torch.empty(9 * 64 + 1)
    elsewhere = place[1:].view(9, 64).copy_(x)
    assert elsewhere.data_ptr() % 64
    assert torch.equal(row_product(elsewhere, weight), row_product(x, weight))


@needs_exact_machine()
@given(order=st.permutations(range(24)), rows=st.integers(1, 24))
@settings(max_examples=30, deadline=None)
def test_other_rows_and_their_order_do_not_matter(order: list[int], rows: int) -> None:
    drawn = torch.Generator().manual_seed(2)
    x, weight = torch.randn(24, 40, generator=drawn), torch.randn(56, 40, generator=drawn)
    chosen = order[:rows]
    assert torch.equal(row_product(x[chosen], weight), row_product(x, weight)[chosen])


@needs_exact_machine()
def test_the_gradient_is_that_of_the_plain_product() -> None:
    drawn = torch.Generator().manual_seed(3)
    factors = [torch.randn(*shape, generator=drawn) for shape in ((3, 5, 20), (30, 20), (30,))]
    gradient = torch.randn(3, 5, 30, generator=drawn)
    found = [factor.clone().requires_grad_() for factor in factors]
    expected = [factor.clone().requires_grad_() for factor in factors]
    row_product(*found).backward(gradient)
    F.linear(*expected).backward(gradient)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours.grad, theirs.grad, atol=1e-4)
    frozen = row_product(found[0].detach(), found[1].detach().requires_grad_(), None)
    frozen.sum().backward()
    assert found[0].grad is not None


@pytest.mark.parametrize("rows", [*range(1, 40), 63, 64, 65, 200, 255, 256, 257, 300, 513])
def test_pieces_cover_every_row_once(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.arange(rows * 3, dtype=torch.float32).view(rows, 3)
    weight = torch.eye(3)
    pieces: list[int] = []
    multiply = torch.mm

    def counted(a: torch.Tensor, b: torch.Tensor, **out: torch.Tensor) -> torch.Tensor:
        pieces.append(len(a))
        return multiply(a, b, **out)

    monkeypatch.setattr(torch, "mm", counted)
    assert torch.equal(in_pieces(x, weight, (4, 16, 64)), x)
    assert set(pieces) <= {4, 16, 64}
    assert sum(pieces) - rows < 4 + rows / 3, "padding is at most a third, or one smallest piece"


def test_a_size_whose_rows_depend_on_their_place_is_found() -> None:
    # Sums of small whole numbers are exact in any order, so on any machine.
    x, weight = (torch.randint(-9, 10, shape).float() for shape in ((512, 8), (6, 8)))

    def by_place(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        product = a @ b
        product[-1] += 1e-3
        return product

    assert independent_of_place(torch.mm, x, weight, 16)
    for size in SIZES:
        assert not independent_of_place(by_place, x, weight, size)


def test_only_sizes_with_equal_bits_are_used_together(monkeypatch: pytest.MonkeyPatch) -> None:
    multiply = torch.mm

    def other_for_few(a: torch.Tensor, b: torch.Tensor, **out: torch.Tensor) -> torch.Tensor:
        return multiply(a.round(), b.round()) + (1e-3 if len(a) == 4 else 0.0)  # exact on any machine

    monkeypatch.setattr(torch, "mm", other_for_few)
    verified_sizes.cache_clear()
    assert verified_sizes(8, 6, 99) == SIZES[1:], "the larger ones agree with each other"
    verified_sizes.cache_clear()


def test_a_library_without_such_a_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    multiply = torch.mm

    def by_place(a: torch.Tensor, b: torch.Tensor, **out: torch.Tensor) -> torch.Tensor:
        return multiply(a, b) + torch.arange(len(a))[:, None]

    monkeypatch.setattr(torch, "mm", by_place)
    verified_sizes.cache_clear()
    with pytest.raises(NotExact, match="6 x 8 on 99 threads"):
        verified_sizes(8, 6, 99)
    verified_sizes.cache_clear()


@needs_exact_machine()
def test_the_sizes_here_reach_the_largest() -> None:
    """Where they do not, products of many rows are slow: worth knowing of a machine, which cannot be helped."""
    for inputs, outputs in [(192, 320), (512, 192), (48, 97), (16, 1)]:
        most = row_products.verified_sizes(inputs, outputs, torch.get_num_threads())[-1]
        if most < SIZES[-1]:
            pytest.skip(f"products with {outputs} x {inputs} are in pieces of at most {most} rows: exact mode is slow")
