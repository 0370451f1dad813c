"""Attention over a layout: validates, chooses an implementation, logs the choice once, and runs it.

Legend: N = R x T tokens, H query heads, G key-value heads, D head width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from stategpt.arguments import instance
from stategpt.errors import InvalidArgument
from stategpt.kernels.attention import attention_reference, blockwise
from stategpt.kernels.attention.autograd import attention_op
from stategpt.kernels.attention.signatures import mask_kind

from .attention_checks import check_operands, shape_of
from .attention_choice import Backend, choose
from .backend import constant_when_traced
from .layout import TensorLayout

MAX_SDPA_BYTES = 256 * 2**20
"""Memory for all pairs of tokens that torch's attention may take. Layouts that need more go to `blockwise`."""


def attention(
    q_NHD: Tensor,
    k_NGD: Tensor,
    v_NGD: Tensor,
    layout: TensorLayout,
    *,
    scale: float | None = None,
    window: int | None = None,
    softcap: float | None = None,
    deterministic: bool = True,
    backend: Backend = "auto",
) -> Tensor:
    """o[t] = softmax(cap(scale * q[t] . k)) . v over the keys that `layout` shows to token t. -> o_NHD in q's dtype.

    `scale` is 1 / sqrt(D) unless given. With `window` a token sees only its last `window` keys, itself included.
    cap(x) = softcap * tanh(x / softcap), or x without `softcap`. A token that sees nothing gives 0. Query head h reads
    key-value head h // (H / G). Without `deterministic` the gradient of q may be summed in any order, which is faster,
    unless `torch.use_deterministic_algorithms` is on. Autocast changes nothing: cast before.

    backend="auto" takes the Triton kernels where they run, else torch's attention where its mask is small, else
    `blockwise`: the same algorithm in plain torch. None of these needs memory that grows with N^2.

    Raises:
        InvalidArgument: shapes, dtypes, strides or devices that do not fit each other or the layout; a number out of
            range; a backend that is unknown or cannot run here.
    """
    _validate(q_NHD, k_NGD, v_NGD, layout, scale, window, softcap)
    scale = q_NHD.shape[2] ** -0.5 if scale is None else float(scale)
    chosen = choose(
        backend,
        str(q_NHD.device),
        str(q_NHD.dtype).removeprefix("torch."),
        q_NHD.shape[2],
        softcap is not None,
        _sdpa_bytes(q_NHD, layout, window) <= MAX_SDPA_BYTES,
    )
    with torch.autocast(q_NHD.device.type, enabled=False):  # its products would be rounded to 16 bits, scores first
        if chosen == "reference":
            bounds = layout.segment_start, layout.prefix_end, layout.branch_start
            return attention_reference(q_NHD, k_NGD, v_NGD, *bounds, scale, window, softcap)
        if chosen == "sdpa":
            return _sdpa(q_NHD, k_NGD, v_NGD, layout, scale, window)
        return _fused(q_NHD, k_NGD, v_NGD, layout, scale, window, softcap, deterministic, chosen == "triton")


def in_faster_format(x: Tensor) -> Tensor:
    """Float32 for what has 16 bits on a CPU: torch's attention takes two to ten times as long on those (0022)."""
    return x.float() if x.device.type == "cpu" and x.dtype in (torch.bfloat16, torch.float16) else x


def _plainly_causal(layout: TensorLayout, window: int | None) -> bool:
    """Does torch's attention need no mask?"""
    return layout.rows_are_causal and (window is None or window >= layout.row_tokens)


def _sdpa_bytes(q_NHD: Tensor, layout: TensorLayout, window: int | None) -> int:
    """Memory for all pairs of a row's tokens: on a CPU a mask, twice; elsewhere torch may keep all scores."""
    pairs = layout.num_tokens * layout.row_tokens
    if q_NHD.device.type == "cpu":
        return 0 if _plainly_causal(layout, window) else pairs * (4 + max(4, q_NHD.element_size()))
    return pairs * q_NHD.shape[1] * 8


def _sdpa(
    q_NHD: Tensor, k_NGD: Tensor, v_NGD: Tensor, layout: TensorLayout, scale: float, window: int | None
) -> Tensor:
    """torch's scaled-dot-product attention over rows, with the layout's mask or none where rows are plainly causal."""
    N, H, D = q_NHD.shape
    dtype = q_NHD.dtype
    q_NHD, k_NGD, v_NGD = (in_faster_format(x) for x in (q_NHD, k_NGD, v_NGD))

    def by_row(x_NHD: Tensor) -> Tensor:
        rows: Tensor = x_NHD.unflatten(0, (layout.num_rows, layout.row_tokens))  # type: ignore[no-untyped-call]
        return rows.transpose(1, 2)

    causal = _plainly_causal(layout, window)
    mask = None if causal else _sdpa_mask(q_NHD, layout, window)
    o_RHTD = F.scaled_dot_product_attention(
        by_row(q_NHD),
        by_row(k_NGD),
        by_row(v_NGD),
        attn_mask=mask,
        is_causal=causal,
        scale=scale,
        enable_gqa=True,
    )
    o_NHD = o_RHTD.transpose(1, 2).reshape(N, H, D).to(dtype)
    if layout.has_blank:  # which the mask let see itself
        blank_N = layout.branch_start > torch.arange(N, device=layout.device)
        o_NHD = o_NHD.masked_fill(blank_N[:, None, None], 0.0)
    return o_NHD


def _sdpa_mask(q_NHD: Tensor, layout: TensorLayout, window: int | None) -> Tensor:
    """As scores on a CPU, where torch would make them of bools; elsewhere bools, a fourth of the memory."""
    as_scores = q_NHD.device.type == "cpu"
    return layout.mask_scores_R1TT(q_NHD.dtype, window) if as_scores else layout.mask_R1TT(window)


def _fused(
    q_NHD: Tensor,
    k_NGD: Tensor,
    v_NGD: Tensor,
    layout: TensorLayout,
    scale: float,
    window: int | None,
    softcap: float | None,
    deterministic: bool,
    kernels: bool,
) -> Tensor:
    """By the Triton kernels, or by the same algorithm in plain torch."""
    group = q_NHD.shape[1] // k_NGD.shape[1]
    plan = _kernel_plan(q_NHD, group, layout, window, softcap) if kernels else _blockwise_plan(layout, window)
    settings = (layout.has_prefix, scale, softcap, deterministic)
    o_NHD, _ = attention_op(q_NHD, k_NGD, v_NGD, *layout.bounds(window), *plan, *settings)
    return o_NHD  # type: ignore[no-any-return]


Plan = tuple[Tensor, Tensor, Tensor, list[int]]
"""The work lists of the three kernels, and the numbers of the launches."""


def _kernel_plan(q_NHD: Tensor, group: int, layout: TensorLayout, window: int | None, softcap: float | None) -> Plan:
    mask = mask_kind(prefix=layout.has_prefix, window=window is not None, softcap=softcap is not None)
    dtype = str(q_NHD.dtype).removeprefix("torch.")
    numbers = _launches(str(q_NHD.device), dtype, q_NHD.shape[2], group, mask, layout.row_tokens)
    (forward_q, forward_k), (query_q, query_k), (key_q, key_k) = numbers[0:2], numbers[4:6], numbers[8:10]
    return (
        layout.work_list("queries", forward_q, forward_k, window),
        layout.work_list("queries", query_q, query_k, window),
        layout.work_list("keys", key_q, key_k, window),
        list(numbers),
    )


@constant_when_traced
def _launches(device: str, dtype: str, head_dim: int, group: int, mask: str, row_tokens: int) -> tuple[int, ...]:
    """The table's numbers; a compiled graph keeps them."""
    from stategpt.kernels.attention import launch

    found = launch.launches_for(torch.device(device), getattr(torch, dtype), head_dim, group, mask, row_tokens)
    return tuple(launch.numbers(found))


def _blockwise_plan(layout: TensorLayout, window: int | None) -> Plan:
    tiles = layout.work_list("queries", blockwise.BLOCK_Q, blockwise.BLOCK_K, window, torch.device("cpu"))
    return tiles, tiles, tiles, []


def _validate(
    q_NHD: Tensor,
    k_NGD: Tensor,
    v_NGD: Tensor,
    layout: TensorLayout,
    scale: float | None,
    window: int | None,
    softcap: float | None,
) -> None:
    for name, tensor in (("q", q_NHD), ("k", k_NGD), ("v", v_NGD)):
        instance(name, tensor, Tensor, "Give torch tensors; torch.from_numpy takes an array.")
    instance("layout", layout, TensorLayout, "For a batch of the loader: TensorLayout.of(batch.layout, q.device).")
    if q_NHD.ndim != 3 or k_NGD.ndim != 3 or k_NGD.shape != v_NGD.shape:
        raise InvalidArgument(
            "attention takes q [N, H, D] and k, v [N, G, D]; "
            f"got {shape_of(q_NHD)}, {shape_of(k_NGD)} and {shape_of(v_NGD)}"
        )
    N, H, D = q_NHD.shape
    G = k_NGD.shape[1]
    if k_NGD.shape[0] != N or k_NGD.shape[2] != D or G == 0 or H % G:
        raise InvalidArgument(
            f"q {shape_of(q_NHD)} and k {shape_of(k_NGD)} do not fit: N and D must be equal and G must divide H"
        )
    if layout.num_tokens != N:
        raise InvalidArgument(f"the layout describes {layout.num_tokens} tokens, q has {N}; lay out the same stream")
    check_operands({"q": q_NHD, "k": k_NGD, "v": v_NGD}, scale, window, softcap, layout=layout.device)
