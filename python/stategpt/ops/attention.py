"""Front door of attention: validates, chooses an implementation, says once which, and runs it.

Legend: N = R x T tokens, H query heads, G key-value heads, D head width; B sequences in a cache of L slots.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from stategpt.errors import InvalidArgument
from stategpt.kernels.attention import attention_reference

from .layout import TensorLayout

Backend = Literal["auto", "reference", "sdpa"]

_log = logging.getLogger(__name__)


def attention(
    q_NHD: Tensor,
    k_NGD: Tensor,
    v_NGD: Tensor,
    layout: TensorLayout,
    scale: float | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """softmax(scale * q . k) . v over the keys that `layout` shows to each token. -> o_NHD in q's dtype.

    `scale` is 1 / sqrt(D) unless given. Query head h reads key-value head h // (H / G).

    Raises:
        InvalidArgument: shapes, dtypes or devices that do not fit each other or the layout; an unknown backend.
    """
    _validate(q_NHD, k_NGD, v_NGD, layout)
    name = _choose(backend, q_NHD.device.type)
    return _IMPLEMENTATIONS[name](q_NHD, k_NGD, v_NGD, layout, q_NHD.shape[2] ** -0.5 if scale is None else scale)


def cached_attention(q_BTHD: Tensor, k_BGLD: Tensor, v_BGLD: Tensor, seen_B: Tensor | None) -> Tensor:
    """Attention of T new tokens a sequence over a cache whose L slots already hold them. -> o_BTHD.

    New token t of sequence b sees slots 0 .. seen_B[b] + t; `seen_B` (int64) counts the tokens cached before. None
    says that every sequence had L - T before, which needs no mask for T = 1 and the causal one from an empty cache.
    """
    T, L = q_BTHD.shape[1], k_BGLD.shape[2]
    q_BHTD = q_BTHD.transpose(1, 2)
    mask = None
    if seen_B is not None or 1 < T < L:
        first = torch.full((1,), L - T, device=q_BTHD.device) if seen_B is None else seen_B
        last_B1T1 = (first[:, None] + torch.arange(T, device=q_BTHD.device))[:, None, :, None]
        mask = torch.arange(L, device=q_BTHD.device) <= last_B1T1
    causal = mask is None and T > 1
    o_BHTD = F.scaled_dot_product_attention(q_BHTD, k_BGLD, v_BGLD, attn_mask=mask, is_causal=causal, enable_gqa=True)
    return o_BHTD.transpose(1, 2)


def _sdpa(q_NHD: Tensor, k_NGD: Tensor, v_NGD: Tensor, layout: TensorLayout, scale: float) -> Tensor:
    """torch's scaled-dot-product attention over rows, with the layout's mask or none where rows are plainly causal."""
    N, H, D = q_NHD.shape

    def by_row(x_NHD: Tensor) -> Tensor:
        return x_NHD.view(layout.num_rows, layout.row_tokens, -1, D).transpose(1, 2)

    causal = layout.rows_are_causal
    o_RHTD = F.scaled_dot_product_attention(
        by_row(q_NHD),
        by_row(k_NGD),
        by_row(v_NGD),
        attn_mask=None if causal else layout.mask_R1TT,
        is_causal=causal,
        scale=scale,
        enable_gqa=True,
    )
    return o_RHTD.transpose(1, 2).reshape(N, H, D)


def _reference(q_NHD: Tensor, k_NGD: Tensor, v_NGD: Tensor, layout: TensorLayout, scale: float) -> Tensor:
    return attention_reference(q_NHD, k_NGD, v_NGD, layout.segment_start, layout.prefix_end, layout.branch_start, scale)


_IMPLEMENTATIONS: dict[str, Callable[[Tensor, Tensor, Tensor, TensorLayout, float], Tensor]] = {
    "reference": _reference,
    "sdpa": _sdpa,
}


@cache
def _choose(backend: str, device: str) -> str:
    """The implementation's name; cached, so that each choice is logged once."""
    if backend not in get_args(Backend):
        known = ", ".join(get_args(Backend))
        raise InvalidArgument(f"attention backend {backend!r} is not one of {known}; leave it at 'auto'")
    chosen = "sdpa" if backend == "auto" else backend
    reason = "fastest on this device" if backend == "auto" else "asked for"
    _log.info("attention: %s on %s (%s)", chosen, device, reason)
    return chosen


def _validate(q_NHD: Tensor, k_NGD: Tensor, v_NGD: Tensor, layout: TensorLayout) -> None:
    if q_NHD.ndim != 3 or k_NGD.ndim != 3 or k_NGD.shape != v_NGD.shape:
        raise InvalidArgument(
            f"attention takes q [N, H, D] and k, v [N, G, D]; got {_shape(q_NHD)}, {_shape(k_NGD)} and {_shape(v_NGD)}"
        )
    N, H, D = q_NHD.shape
    G = k_NGD.shape[1]
    if k_NGD.shape[0] != N or k_NGD.shape[2] != D or H % G:
        raise InvalidArgument(
            f"q {_shape(q_NHD)} and k {_shape(k_NGD)} do not fit: N and D must be equal and G must divide H"
        )
    if layout.num_tokens != N:
        raise InvalidArgument(f"the layout describes {layout.num_tokens} tokens, q has {N}; lay out the same stream")
    if not q_NHD.dtype == k_NGD.dtype == v_NGD.dtype:
        raise InvalidArgument(f"q, k and v are {q_NHD.dtype}, {k_NGD.dtype} and {v_NGD.dtype}; cast them to one dtype")
    if not q_NHD.device == k_NGD.device == v_NGD.device == layout.device:
        raise InvalidArgument(
            f"q, k, v and layout are on {q_NHD.device}, {k_NGD.device}, {v_NGD.device} and {layout.device}; "
            "move them to one device"
        )


def _shape(tensor: Tensor) -> list[int]:
    return list(tensor.shape)
