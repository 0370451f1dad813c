"""Checks of a token stream and its layout, so that the error names them and not an operation inside torch."""

from __future__ import annotations

import torch
from torch import Tensor

from stategpt.arguments import instance
from stategpt.errors import InvalidArgument
from stategpt.ops import TensorLayout

ID_DTYPES = (torch.int64, torch.int32)
"""What an embedding looks up."""

_LAYOUT_HINT = (
    "For a batch of the loader: TensorLayout.of(batch.layout, model.device), from stategpt.ops; for one document of n "
    "tokens: TensorLayout.of(stategpt.data.Layout.packed([[n]], n))."
)


def check_stream(tokens_N: Tensor, layout: TensorLayout) -> None:
    """Refuses tokens that are not a flat stream of ids, or not of this layout.

    Raises:
        InvalidArgument: the message says what was found and how to make what is wanted.
    """
    instance("tokens_N", tokens_N, Tensor, "From a batch: torch.from_numpy(batch.tokens.astype(numpy.int64)).")
    instance("layout", layout, TensorLayout, _LAYOUT_HINT)
    if tokens_N.ndim != 1:
        raise InvalidArgument(
            f"tokens_N has the shape {list(tokens_N.shape)}; a batch is one flat stream [N] of all its rows, "
            "which the layout tells apart: tokens.view(-1)"
        )
    if tokens_N.dtype not in ID_DTYPES:
        raise InvalidArgument(f"tokens_N is {tokens_N.dtype}; ids are int64: tokens.to(torch.int64)")
    if tokens_N.numel() != layout.num_tokens:
        raise InvalidArgument(
            f"tokens_N has {tokens_N.numel()} tokens, the layout describes {layout.num_tokens}; "
            "give the layout of the same batch"
        )
