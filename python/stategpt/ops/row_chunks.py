"""Row-wise functions of hidden states, computed for a chunk of rows at a time to bound memory.

Logits are the largest tensor of a training step, M rows x V of the vocabulary, of which a loss keeps several copies.
Here those of one chunk exist at a time: the forward pass drops them, the backward pass computes them again.

Legend: M rows, W width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVarTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .cross_entropy import cross_entropy

MAX_LOGITS_BYTES = 64 * 2**20
"""Float32 logits that are made at a time; a batch that needs no more is computed whole. Losses keep 2 to 4 copies."""

Outputs = TypeVarTuple("Outputs")


def logit_rows(vocab_size: int) -> int:
    """Returns the number of rows whose logits take `MAX_LOGITS_BYTES`: `max_rows` of the functions here."""
    return max(1, MAX_LOGITS_BYTES // (4 * vocab_size))


def by_row_chunks(function: Callable[..., tuple[*Outputs]], rows: Sequence[Tensor], max_rows: int) -> tuple[*Outputs]:
    """Computes `function(*rows)` for at most `max_rows` rows at a time, and again in the backward pass.

    Args:
        function: takes slices of `rows` and returns a tuple of tensors whose first axis is that of the rows, or holds
            one sum over them: results of the chunks are concatenated along it. It may read weights, which get their
            gradients; it is called under the autocast of this call, also when it is called again.
        rows: tensors of equal first axis, M; those that need gradients get them.
        max_rows: most rows of a chunk. Chunks differ by one row at most. M <= max_rows is one plain call.

    Example:
        nats_M, entropy_M = by_row_chunks(of_chunk, (hidden_MW, ids_M), logit_rows(vocab_size))
    """
    count = len(rows[0])
    chunks = math.ceil(count / max_rows)
    if chunks <= 1:
        return function(*rows)
    sizes = [count // chunks + (chunk < count % chunks) for chunk in range(chunks)]
    parts = zip(*(torch.split(tensor, sizes) for tensor in rows), strict=True)
    again = torch.is_grad_enabled()
    results = [checkpoint(function, *part, use_reentrant=False) if again else function(*part) for part in parts]
    return tuple(torch.cat(pieces) for pieces in zip(*results, strict=True))  # type: ignore[return-value]


def next_token_loss_by_chunks(
    unembed: Callable[[Tensor], Tensor], hidden_MW: Tensor, targets_M: Tensor, max_rows: int
) -> Tensor:
    """Sum over M rows of the cross-entropy in nats, of `unembed(hidden_MW)` [M, V] in float32. -> scalar.

    At most `max_rows` x V logits exist at a time (`logit_rows`). The gradient is that of the whole, up to rounding;
    more than one chunk costs one more product with the prediction matrix. No rows give 0 with a graph.
    """

    def of_chunk(hidden_KW: Tensor, targets_K: Tensor) -> tuple[Tensor]:
        """Computes the loss of a chunk. -> float32[1]."""
        return (cross_entropy(unembed(hidden_KW).float(), targets_K)[None],)

    (sums,) = by_row_chunks(of_chunk, (hidden_MW, targets_M), max_rows)
    return sums.sum()
