"""Checks of a token stream and its layout, so that the error names them and not an operation inside torch."""

from __future__ import annotations

import torch
from torch import Tensor

from stategpt.arguments import instance
from stategpt.errors import ContextOverflow, InvalidArgument
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
    _check_ids(tokens_N)
    if tokens_N.numel() != layout.num_tokens:
        raise InvalidArgument(
            f"tokens_N has {tokens_N.numel()} tokens, the layout describes {layout.num_tokens}; "
            "give the layout of the same batch"
        )


def check_positions(tokens_N: Tensor, position_N: Tensor, context_tokens: int) -> None:
    """Refuses tokens and positions that are not flat streams of one length; on a CPU also positions out of range.

    Raises:
        ContextOverflow: a position beyond the context.
        InvalidArgument: the message says what was found and how to make what is wanted.
    """
    instance("tokens_N", tokens_N, Tensor, "From a list of ids: torch.tensor(ids).")
    instance("position_N", position_N, Tensor, "The cache of a step has them: step.position_N.")
    _check_ids(tokens_N)
    if position_N.shape != tokens_N.shape or position_N.dtype not in ID_DTYPES:
        raise InvalidArgument(
            f"position_N is {position_N.dtype} {list(position_N.shape)}; it must be int64 [{tokens_N.numel()}], a "
            "position for each token"
        )
    if position_N.device.type == "cpu" and position_N.numel():
        least, most = (int(end) for end in torch.aminmax(position_N))
        if least < 0:
            raise InvalidArgument(f"position_N holds {least}; positions begin at 0")
        if most >= context_tokens:
            raise ContextOverflow(f"position {most} is beyond the context of {context_tokens}; end the sequence before")


def _check_ids(tokens_N: Tensor) -> None:
    if tokens_N.ndim != 1:
        raise InvalidArgument(
            f"tokens_N has the shape {list(tokens_N.shape)}; a batch is one flat stream [N] of all its rows, "
            "which the layout tells apart: tokens.view(-1)"
        )
    if tokens_N.dtype not in ID_DTYPES:
        raise InvalidArgument(f"tokens_N is {tokens_N.dtype}; ids are int64: tokens.to(torch.int64)")
