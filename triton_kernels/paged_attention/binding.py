"""Registers `stategpt::paged_attention` with torch, so that `torch.compile` takes a call whole. Inference only."""

import torch
from torch import Tensor

from .reference import paged_attention_reference


@torch.library.custom_op("stategpt::paged_attention", mutates_args=())
def paged_attention_op(
    q_BHD: Tensor,
    k_pages_PSGD: Tensor,
    v_pages_PSGD: Tensor,
    page_table_BM: Tensor,
    lengths_B: Tensor,
    prefix_page_table_FM: Tensor | None,
    prefix_lengths_F: Tensor | None,
    prefix_starts: Tensor | None,
    window: int | None,
    softcap: float | None,
    scale: float,
    reference: bool,
) -> Tensor:
    """`paged_attention_reference`, by the kernels or with `reference` by itself. -> o_BHD, contiguous.

    The three tensors of the prefix come together or not at all. Checks nothing: `stategpt.ops` does.
    """
    prefix = None
    if prefix_page_table_FM is not None and prefix_lengths_F is not None and prefix_starts is not None:
        prefix = (prefix_page_table_FM, prefix_lengths_F, prefix_starts)
    tensors = (q_BHD, k_pages_PSGD, v_pages_PSGD)
    if reference:
        with torch.autocast(q_BHD.device.type, enabled=False):  # its products would be rounded to 16 bits
            return paged_attention_reference(*tensors, page_table_BM, lengths_B, prefix, window, softcap, scale)
    from . import launch  # needs triton, which a machine without a GPU may lack

    plan = launch.plan(q_BHD, k_pages_PSGD, page_table_BM, lengths_B, prefix)
    return launch.run(*tensors, plan, window, softcap, scale)


@paged_attention_op.register_fake
def _(q_BHD: Tensor, *others: object) -> Tensor:
    return torch.empty(q_BHD.shape, dtype=q_BHD.dtype, device=q_BHD.device)
