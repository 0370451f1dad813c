"""Matrix products of which each row has the bits that it has in any other batch.

A matrix library computes a row of `x @ w.T` in an order of its choice, which may depend on how many rows there are: on
the machine of docs/decisions/0052 one to three rows are summed otherwise than four and more. Here every product is
made of pieces whose numbers of rows are some of `SIZES`, and a size is only used once it was verified, for the matrix's
shape and the number of threads, that it gives each of its rows the bits of the smallest size, whichever place the row
has. What is left over is padded with zeros to a piece. Rows begin at multiples of 64 bytes, since a row's bits may
depend on its address: widths that are no multiple of 16 are padded too.

Legend: M rows of x, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stategpt.errors import NotExact

SIZES = (4, 16, 64, 256)
"""Rows of a piece; each is a multiple of the one before."""

_ALIGNED = 16
"""Numbers to whose multiples widths are padded: 64 bytes."""

Multiply = Callable[..., Tensor]
"""(x [M, I], w.T [I, O], out=[M, O]) -> out: `torch.mm`."""


def row_product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x @ weight.T + bias over the last axis of `x`, float32 on a CPU, a row's bits by the row alone. -> [..., O].

    The gradient is that of the plain product. Raises `NotExact` where the library has no size of pieces for that.
    """
    flat_MI = x.reshape(-1, x.shape[-1])
    product: Tensor = _Product.apply(flat_MI, weight) if _wants_gradient(flat_MI, weight) else _whole(flat_MI, weight)
    product = product.view(*x.shape[:-1], -1)
    if bias is None:
        return product
    return product + bias if product.requires_grad or bias.requires_grad else product.add_(bias)


def _wants_gradient(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


class _Product(torch.autograd.Function):
    """The product with the gradients of `torch.nn.functional.linear`."""

    @staticmethod
    def forward(ctx: Any, x_MI: Tensor, weight_OI: Tensor) -> Tensor:
        """Multiplies piece by piece."""
        ctx.save_for_backward(x_MI, weight_OI)
        return _whole(x_MI, weight_OI)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Returns the gradients of both factors, by plain products."""
        x_MI, weight_OI = ctx.saved_tensors
        wants_x, wants_weight = ctx.needs_input_grad
        gradient_MO = gradients[0]
        return (
            gradient_MO @ weight_OI if wants_x else None,
            gradient_MO.t() @ x_MI if wants_weight else None,
        )


def _whole(x_MI: Tensor, weight_OI: Tensor) -> Tensor:
    if padding := -x_MI.shape[1] % _ALIGNED:
        x_MI, weight_OI = F.pad(x_MI, (0, padding)), F.pad(weight_OI, (0, padding))
    outputs, inputs = weight_OI.shape
    sizes = verified_sizes(inputs, outputs, torch.get_num_threads())
    x_MI = x_MI.contiguous()
    return in_pieces(x_MI.clone() if x_MI.data_ptr() % (4 * _ALIGNED) else x_MI, weight_OI, sizes)


def in_pieces(x_MI: Tensor, weight_OI: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """The product in pieces of `sizes` rows (ascending), the last padded with zeros. -> [M, O]."""
    rows = len(x_MI)
    weight_IO = weight_OI.t()
    if rows in sizes:
        return torch.mm(x_MI, weight_IO)
    product_MO = x_MI.new_empty(rows, len(weight_OI))
    first = 0
    while first < rows:
        left = rows - first
        size = _piece(left, sizes)
        part = slice(first, first + min(size, left))
        if size <= left:
            torch.mm(x_MI[part], weight_IO, out=product_MO[part])
        else:
            padded = x_MI.new_zeros(size, x_MI.shape[1])
            padded[:left] = x_MI[part]
            product_MO[part] = torch.mm(padded, weight_IO)[:left]
        first += size
    return product_MO


def _piece(left: int, sizes: tuple[int, ...]) -> int:
    """The size of the next piece: the smallest that holds all that is left, unless more than a quarter were padding."""
    above = [size for size in sizes if size >= left]
    below = [size for size in sizes if size <= left]
    return above[0] if above and (not below or 4 * left >= 3 * above[0]) else below[-1]


@cache
def verified_sizes(inputs: int, outputs: int, threads: int) -> tuple[int, ...]:
    """Returns the sizes of pieces, of `SIZES`, that give every row of a product with [O, I] the same bits in any place.

    Measured with random numbers, at most some hundred rows of each size; `threads` are those that torch uses now. It
    is done once for a shape. Raises `NotExact` where no size has this property.
    """
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(2 * SIZES[-1], inputs, generator=drawn)
    weight = torch.randn(outputs, inputs, generator=drawn)
    found: tuple[int, ...] = ()
    for number, size in enumerate(SIZES):
        if independent_of_place(torch.mm, x, weight, size):
            chain = _equal_sizes(torch.mm, x, weight, SIZES[number:])
            found = max(found, chain, key=lambda sizes: sizes[-1:])
        if found and found[-1] == SIZES[-1]:
            return found
    if not found:
        raise NotExact(
            f"products with a matrix of {outputs} x {inputs} on {threads} threads give a row other bits in another "
            f"place of a block, in blocks of {', '.join(map(str, SIZES))} rows: this machine's matrix library cannot "
            "be used for exact log-probabilities. Try another number of threads, or leave exact mode off"
        )
    return found


def independent_of_place(multiply: Multiply, x_MI: Tensor, weight_OI: Tensor, size: int) -> bool:
    """Whether the rows of a block of `size` keep their bits when they move by 1 .. size - 1 places (in large blocks by
    16 different numbers of places), others take theirs, and the results are written elsewhere.
    """
    weight_IO = weight_OI.t()
    block = multiply(x_MI[:size].clone(), weight_IO)
    place = x_MI.new_empty(2 * size, len(weight_OI))
    for step in range(1, size, max(1, size // 16)):
        moved = multiply(x_MI[step : step + size].clone(), weight_IO, out=place[step : step + size])
        if not torch.equal(moved[: size - step], block[step:]):
            return False
    return True


def _equal_sizes(multiply: Multiply, x_MI: Tensor, weight_OI: Tensor, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """The sizes whose blocks have the bits of blocks of the next smaller equal size, from the first on."""
    equal = sizes[:1]
    weight_IO = weight_OI.t()
    for size in sizes[1:]:
        whole = multiply(x_MI[:size], weight_IO)
        parts = [multiply(part.clone(), weight_IO) for part in torch.split(x_MI[:size], equal[-1])]
        if torch.equal(whole, torch.cat(parts)):
            equal = (*equal, size)
    return equal
