"""Attention of new tokens over pages: stores their keys and values, then chooses what attends.

* keys and values [P, S, G, D]: single tokens by `ops.paged_attention`, which reads shared pages once; prompts from
  their first token on by `ops.attention`; later parts of prompts over a copy of their keys
* keys [P, G, D, S]: all tokens by `ops.attend_pages`, whose bits for a token do not depend on the others; number
  formats that it does not take over a copy of each sequence's keys

Legend: N new tokens in a flat stream, T of one sequence with L keys, B sequences with one; H query heads, G key-value
heads, D head width, P pages of S slots.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from stategpt.config.architecture import AttentionOptions
from stategpt.ops import attend_pages, attention, cached_attention, paged_attention, write_pages
from stategpt.ops.backend import MAX_HEAD_DIM
from stategpt.ops.page_plan import DTYPES

from .memory import PageMemory, SlotPages, TransposedPages
from .plan import StepPlan


def write_and_attend(
    memory: PageMemory,
    plan: StepPlan,
    layer: int,
    q_NHD: Tensor,
    k_NGD: Tensor,
    v_NGD: Tensor,
    options: AttentionOptions,
) -> Tensor:
    """Stores keys and values of the new tokens of a layer, then attends. -> o_NHD in q's number format."""
    keys, values = memory.k_layers[layer], memory.v_layers[layer]
    if isinstance(memory, TransposedPages) and {q_NHD.dtype, k_NGD.dtype, keys.dtype} <= set(DTYPES):
        write_pages(plan.native, k_NGD, v_NGD, keys, values)
        return attend_pages(plan.native, q_NHD, keys, values, **options)
    memory.write(layer, *plan.places, k_NGD, v_NGD)
    if isinstance(memory, SlotPages):
        return _by_kind(memory, plan, layer, q_NHD, k_NGD, v_NGD, options)
    return gathered_attention(memory, plan, layer, q_NHD, options, range(len(plan.tables)))


def gathered_attention(
    memory: PageMemory,
    plan: StepPlan,
    layer: int,
    q_NHD: Tensor,
    options: AttentionOptions,
    rows: Iterable[int],
    o_NHD: Tensor | None = None,
) -> Tensor:
    """Attention of one sequence after the other over a copy of its keys, by torch. -> o_NHD, `rows` of it filled.

    What the kernels are tested against, and what attends where they do not run.
    """
    o_NHD = torch.empty_like(q_NHD) if o_NHD is None else o_NHD
    for row in rows:
        first, end = int(plan.first_R1[row]), int(plan.first_R1[row + 1])
        keys = int(plan.seen_R[row]) + end - first
        k_GLD, v_GLD = memory.gathered(layer, plan.pages_of_row(row), keys)
        q_1THD, k_1GLD, v_1GLD = _alike(q_NHD[None, first:end], k_GLD[None], v_GLD[None])
        o_NHD[first:end] = cached_attention(q_1THD, k_1GLD, v_1GLD, None, **options)[0]
    return o_NHD


def _by_kind(
    memory: SlotPages,
    plan: StepPlan,
    layer: int,
    q_NHD: Tensor,
    k_NGD: Tensor,
    v_NGD: Tensor,
    options: AttentionOptions,
) -> Tensor:
    """Single tokens, new prompts and parts of prompts, each as the kernels do them. -> o_NHD."""
    keys, values = memory.k_layers[layer], memory.v_layers[layer]
    dtype = q_NHD.dtype
    # New keys are rounded as the pages hold them: a result must not depend on whether a prompt comes in parts.
    q_NHD, k_NGD, v_NGD = (x.to(keys.dtype) for x in (q_NHD, k_NGD, v_NGD))
    o_NHD = torch.empty_like(q_NHD)
    left = plan.continued
    if plan.singles is not None and _suits_pages(q_NHD.shape[2]):
        token_B, table_BM, lengths_B, prefix = plan.singles
        o_NHD[token_B] = paged_attention(q_NHD[token_B], keys, values, table_BM, lengths_B, prefix=prefix, **options)
    else:
        left = [*left, *(row for row, tokens in enumerate(plan.tokens_R) if tokens == 1)]
    if plan.prompts is not None:
        token_N, layout = plan.prompts
        o_NHD[token_N] = attention(q_NHD[token_N], k_NGD[token_N], v_NGD[token_N], layout, **options)
    return gathered_attention(memory, plan, layer, q_NHD, options, left, o_NHD).to(dtype)


def _suits_pages(head_dim: int) -> bool:
    """Whether `ops.paged_attention` takes heads of this width."""
    return head_dim % 8 == 0 and 8 <= head_dim <= MAX_HEAD_DIM


def _alike(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three in the number format that holds them all."""
    dtype = torch.promote_types(q.dtype, k.dtype)
    return q.to(dtype), k.to(dtype), v.to(dtype)
