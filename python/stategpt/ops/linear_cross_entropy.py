"""Cross-entropy of a prediction matrix, without the logits of all rows at any time.

    loss = sum_m  log sum_v exp(h_m . w_v) - h_m . w_target(m)

Of a chunk of rows the logits are computed, then become probabilities and the gradient of the logits in place; its
products with the matrix and with the hidden states are the gradients, so the forward pass has them ready and nothing is
computed twice (as in Liger, Hsu et al. 2024, arXiv 2410.10989). A frozen matrix gets no gradient and costs no product.

Legend: M rows, K of a chunk, W width, V vocabulary.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stategpt.errors import InvalidArgument

from .cross_entropy import MIN_PROBABILITY
from .row_chunks import logit_rows

CHUNK_BYTES = 4 * 2**20
"""Float32 logits of a chunk: they stay in a CPU's cache from the product that makes them to the one that needs them."""
MIN_ROWS = 256
"""Fewest rows of a chunk, whatever the vocabulary: with fewer, adding up the matrix's gradient costs more."""


def chunk_rows(vocab_size: int) -> int:
    """Returns the rows of a chunk: as many as a cache holds, 256 at least, and no more than memory allows."""
    return min(logit_rows(vocab_size), max(MIN_ROWS, CHUNK_BYTES // (4 * vocab_size)))


def linear_cross_entropy(hidden_MW: Tensor, weight_VW: Tensor, targets_M: Tensor, rows: int | None = None) -> Tensor:
    """Sum over M rows of the cross-entropy in nats of `hidden_MW @ weight_VW.T`; differentiable once. -> scalar.

    At most `rows` x V logits exist at a time (`chunk_rows` by default), twice. Products are in the inputs' format or
    autocast's, everything else in float32 (float64 for float64 inputs). No rows give 0 with a graph.
    """
    rows = chunk_rows(len(weight_VW)) if rows is None else rows
    return _LinearCrossEntropy.apply(hidden_MW, weight_VW, targets_M, rows, torch.is_grad_enabled())  # type: ignore[no-any-return]


class _LinearCrossEntropy(torch.autograd.Function):
    """Gradients are computed in the forward pass, for the inputs that need them."""

    @staticmethod
    def forward(
        ctx: Any, hidden_MW: Tensor, weight_VW: Tensor, targets_M: Tensor, rows: int, with_graph: bool
    ) -> Tensor:
        """Returns the sum, and keeps the gradients."""
        device = hidden_MW.device.type
        multiplied = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden_MW.dtype
        wanted = (with_graph and ctx.needs_input_grad[0], with_graph and ctx.needs_input_grad[1])
        with torch.autocast(device, enabled=False):
            loss, hidden_gradient, weight_gradient = _computed(
                hidden_MW, weight_VW, targets_M, rows, multiplied, wanted
            )
        ctx.kept = hidden_gradient, weight_gradient
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        """Scales what the forward pass has computed, in place: a second backward pass finds nothing."""
        if ctx.kept is None:
            raise InvalidArgument("this loss has given its gradients; compute it again for a second backward")
        hidden_gradient, weight_gradient = (
            None if kept is None else kept.mul_(gradients[0].to(kept.dtype)) for kept in ctx.kept
        )
        ctx.kept = None
        return hidden_gradient, weight_gradient, None, None, None


def _computed(
    hidden_MW: Tensor,
    weight_VW: Tensor,
    targets_M: Tensor,
    rows: int,
    multiplied: torch.dtype,
    wanted: tuple[bool, bool],
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The loss, and the gradients of hidden states and matrix where they are wanted."""
    exact = torch.float64 if hidden_MW.dtype == torch.float64 else torch.float32
    M, weight = len(hidden_MW), weight_VW.to(multiplied)
    loss = torch.zeros((), dtype=exact, device=hidden_MW.device)
    hidden_gradient = torch.empty_like(hidden_MW) if wanted[0] else None
    weight_gradient = torch.zeros_like(weight_VW, dtype=exact) if wanted[1] else None
    each = max(1, math.ceil(M / max(1, math.ceil(M / rows))))
    for first in range(0, M, each):
        part = slice(first, first + each)
        hidden_KW, ids_K = hidden_MW[part].to(multiplied), targets_M[part]
        gradient_KV, sum_K = _logit_gradient(F.linear(hidden_KW, weight).to(exact), ids_K)
        loss += sum_K
        product_KV = gradient_KV.to(multiplied)
        del gradient_KV  # before the next chunk's logits are made
        if hidden_gradient is not None:
            hidden_gradient[part] = product_KV @ weight
        if weight_gradient is not None and weight_gradient.dtype == multiplied:
            weight_gradient.addmm_(product_KV.T, hidden_KW)
        elif weight_gradient is not None:
            weight_gradient += product_KV.T @ hidden_KW
        del product_KV
    return loss, hidden_gradient, None if weight_gradient is None else weight_gradient.to(weight_VW.dtype)


def _logit_gradient(logits_KV: Tensor, ids_K: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax minus one-hot, and the sum of the negative log-probabilities of `ids_K`."""
    probability_KV = logits_KV.softmax(dim=-1)
    log_K = probability_KV.gather(1, ids_K[:, None]).squeeze(1)
    tiny_K = log_K < MIN_PROBABILITY
    log_K.log_()
    if bool(tiny_K.any()):  # from the logits, where a probability has lost its digits
        log_K[tiny_K] = logits_KV[tiny_K].log_softmax(dim=-1).gather(1, ids_K[tiny_K, None]).squeeze(1)
    probability_KV[torch.arange(len(ids_K), device=ids_K.device), ids_K] -= 1
    return probability_KV, -log_K.sum()
