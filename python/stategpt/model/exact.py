"""Exact log-probabilities: a token's have the same bits in every batch and by every path.

Packed training forward, prefill, decoding and decoding of forked sequences compute the same numbers with another number
of rows, in another order and beside other tokens. In float32 on a CPU, with a fixed number of threads, each row here is
computed by the same operations in the same order on all of them:

    products            in pieces of verified sizes (`ops.row_products`)
    SiLU, GELU          composed of operations that torch computes alike wherever a number is in a tensor
    attention           over pages, by position-aligned blocks of keys (`ops.packed_pages`, `generate.pages`)
    the rest            norms, rotations, sums, log-softmax: torch's own, verified (`require_exact_functions`)

`exact_rows()` is the context in which the first two are replaced; `GPT` enters it where `exact` is set. An operation
that is neither replaced nor known to be safe raises `NotExact`: nothing is inexact without a word.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from stategpt.errors import InvalidArgument, NotExact
from stategpt.ops.row_products import row_product

from .quantize import QuantizedEmbedding, QuantizedLinear

if TYPE_CHECKING:
    from .gpt import GPT


def set_exact(model: GPT, exact: bool) -> None:
    """Switches exact computation of `model` on or off.

    Raises:
        InvalidArgument: not float32 on a CPU, quantized layers, or dropout in training: the message says why.
        NotExact: this machine's libraries compute a number differently in another place of a tensor.
    """
    if exact:
        require_exact_model(model)
        require_exact_functions(torch.get_num_threads())
    model.exact = exact


def require_exact_model(model: GPT) -> None:
    """Refuses a model that has no exact computation. Raises `InvalidArgument`."""
    if model.device.type != "cpu":
        raise InvalidArgument(
            f"exact mode is for CPUs, and the model is on {model.device}: in which order a GPU's products add up "
            "depends on their shape. Move it with model.cpu(), or leave exact off"
        )
    quantized = next((n for n, m in model.named_modules() if isinstance(m, QuantizedLinear | QuantizedEmbedding)), "")
    if quantized:
        raise InvalidArgument(
            f"exact mode needs float32 weights, and {quantized} is quantized: it multiplies few rows by 8-bit codes "
            "and many by dequantized weights, which differ. Leave exact off"
        )
    for name, parameter in model.named_parameters():
        if parameter.dtype != torch.float32:
            raise InvalidArgument(
                f"exact mode is for float32, and {name} is {str(parameter.dtype)[6:]}: 16-bit results would be "
                "rounded from sums whose order varies. Use model.float(), or leave exact off"
            )


def require_float32(precision: str) -> None:
    """Refuses a number format of products that may be narrower. Raises `InvalidArgument`."""
    if precision != "float32":
        raise InvalidArgument(
            f'exact mode is for float32, and precision is "{precision}": products rounded to 16 bits from sums of '
            'another order would differ. Set precision to "float32", or leave exact off'
        )


class _ExactRows(TorchFunctionMode):
    """Replaces products and activations; refuses what is not known to be computed row by row."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called for every operation of torch."""
        name = func.__name__
        if name in _SAFE:
            return func(*args, **(kwargs or {}))
        if replacement := _REPLACED.get(name):
            return replacement(*args, **(kwargs or {}))
        raise NotExact(
            f"the model calls torch's {name}, whose results may depend on a token's place in its batch; exact mode "
            "knows how products, norms, rotations and activations of this package's layers are computed. "
            "Leave exact off for this model"
        )


def exact_rows() -> TorchFunctionMode:
    """The context in which every product and activation of a token is computed from its row alone."""
    if torch.is_autocast_enabled("cpu"):
        raise InvalidArgument(
            f"exact mode is for float32, and autocast makes products in {str(torch.get_autocast_dtype('cpu'))[6:]}; "
            'use precision "float32"'
        )
    return _ExactRows()


def in_exact_rows(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`function` in the context of `exact_rows`, also when the backward pass calls it again."""

    def exactly(*arguments: Any) -> Tensor:
        """Calls it."""
        with exact_rows():
            return function(*arguments)

    return exactly


def as_it_is(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`function` outside of that context: attention over pages is exact by itself."""

    def plainly(*arguments: Any) -> Tensor:
        """Calls it."""
        with torch._C.DisableTorchFunction():
            return function(*arguments)

    return plainly


def _addmm(y: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """beta y + alpha a @ b."""
    product = row_product(a, b.t())
    scaled = product if alpha == 1 else product * alpha
    return (y if beta == 1 else y * beta) + scaled


class _Activation(torch.autograd.Function):
    """SiLU or GELU composed of operations that compute a number alike anywhere; the gradient is torch's own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, silu: bool) -> Tensor:
        """Computes the activation."""
        ctx.save_for_backward(x)
        ctx.silu = silu
        return _plain_silu(x) if silu else _plain_gelu(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Returns the gradient of `x`."""
        (x,) = ctx.saved_tensors
        if ctx.silu:
            return torch.ops.aten.silu_backward(gradients[0], x), None
        return torch.ops.aten.gelu_backward(gradients[0], x, approximate="tanh"), None


def _silu(x: Tensor, inplace: bool = False) -> Tensor:
    wants = torch.is_grad_enabled() and x.requires_grad
    return _Activation.apply(x, True) if wants else _plain_silu(x)


def _plain_silu(x: Tensor) -> Tensor:
    """x / (1 + e^-x). torch's own takes another exponential for the last numbers of a thread's part."""
    divisor = torch.neg(x).exp_().add_(1.0)
    return torch.div(x, divisor, out=divisor)


def _gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    if approximate != "tanh":
        raise NotExact("the model calls GELU by the error function; exact mode has the one by tanh, of the families")
    wants = torch.is_grad_enabled() and x.requires_grad
    return _Activation.apply(x, False) if wants else _plain_gelu(x)


def _plain_gelu(x: Tensor) -> Tensor:
    """x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))."""
    inner = torch.mul(x, x).mul_(x).mul_(0.044715).add_(x).mul_(math.sqrt(2.0 / math.pi))
    return inner.tanh_().add_(1.0).mul_(x).mul_(0.5)


def _dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    if p > 0 and training:
        raise NotExact(
            f"an adapter drops {p:.0%} of its inputs in training, and sampling drops none: the two cannot be equal. "
            "Set lora.dropout to 0, or leave exact off"
        )
    return x


_REPLACED: dict[str, Callable[..., Any]] = {
    "linear": row_product,
    "addmm": _addmm,
    "silu": _silu,
    "gelu": _gelu,
    "dropout": _dropout,
}
_MOVES = (
    *("__get__", "numel", "stride", "data_ptr", "is_inference", "is_contiguous", "dim", "size", "promote_types"),
    *("__getitem__", "view", "reshape", "flatten", "unflatten", "transpose", "t", "unsqueeze", "expand", "chunk"),
    *("split_with_sizes", "cat", "contiguous", "to", "float", "empty_like", "detach", "_set_grad_enabled"),
)
"""Move numbers, tell about a tensor, or switch gradients."""
_ROUNDED_ONCE = (
    *("add", "add_", "sub", "mul", "mul_", "div", "div_", "addcmul_", "neg", "square", "square_", "sqrt", "rsqrt_"),
    *("clamp_min", "clamp_min_"),
)
"""Additions, multiplications, divisions and roots have the same bits wherever a number is."""
_VERIFIED = ("tanh", "layer_norm", "linalg_vector_norm")
"""Of one row each, or alike for every number of a tensor: `require_exact_functions`."""
_OF_WEIGHTS = ("sum",)
"""Of an adapter's weights, not of tokens."""
_SAFE = frozenset((*_MOVES, *_ROUNDED_ONCE, *_VERIFIED, *_OF_WEIGHTS))


@cache
def require_exact_functions(threads: int) -> None:
    """Checks that torch computes what `_SAFE` names, and log-softmax, alike for a row in every place of a tensor.

    Compared are rows of several widths by themselves, in small and in large tensors; once a process and number of
    `threads`, which are those that torch uses now. Raises `NotExact`.
    """
    drawn = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for width in (8, 33, 96):
            x = 4 * torch.randn(2 * 32_768 // width + 3, width, generator=drawn)
            for name, function in _FUNCTIONS.items():
                whole = function(x)
                for first, end in ((0, 1), (1, 3), (5, 18), (len(x) - 1, len(x)), (len(x) // 2 - 9, len(x) // 2 + 8)):
                    if not torch.equal(function(x[first:end].clone()), whole[first:end]):
                        raise NotExact(
                            f"torch's {name} of rows of {width} numbers on {threads} threads gives other bits for "
                            f"rows {first}..{end - 1} alone than among {len(x)}: exact log-probabilities cannot be had "
                            "with this build of torch. Try another number of threads, or leave exact mode off"
                        )


def _addcmul(x: Tensor) -> Tensor:
    return torch.mul(x, x).addcmul_(x, x, value=-1.0)


_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "exp": torch.exp,
    "tanh": torch.tanh,
    "cos": torch.cos,
    "sin": torch.sin,
    "rsqrt": lambda x: x.abs().rsqrt(),
    "addcmul": _addcmul,
    "vector_norm": lambda x: torch.linalg.vector_norm(x, dim=-1, keepdim=True),
    "layer_norm": lambda x: torch.nn.functional.layer_norm(x, x.shape[-1:]),
    "log_softmax": lambda x: x.log_softmax(dim=-1),
    "SiLU, composed": _plain_silu,
    "GELU, composed": _plain_gelu,
}
