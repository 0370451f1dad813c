"""Attention of new tokens over a key-value cache, by torch.

Legend: B sequences of T new tokens, L slots in use, H query heads, G key-value heads, D head width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .attention import in_faster_format


def cached_attention(
    q_BTHD: Tensor,
    k_BGLD: Tensor,
    v_BGLD: Tensor,
    seen_B: Tensor | None,
    *,
    scale: float | None = None,
    window: int | None = None,
    softcap: float | None = None,
) -> Tensor:
    """Computes attention of T new tokens a sequence over a cache whose L slots already hold them. -> o_BTHD.

    New token t of sequence b sees slots 0 .. seen_B[b] + t; `seen_B` (int64) counts the tokens cached before. None
    says that every sequence had L - T before, which needs no mask for T = 1 and the causal one from an empty cache.
    `scale`, `window` and `softcap` as in `attention`.
    """
    T, L = q_BTHD.shape[1], k_BGLD.shape[2]
    if window is not None and seen_B is None and T == 1:
        k_BGLD, v_BGLD, window = k_BGLD[:, :, -window:], v_BGLD[:, :, -window:], None
    q_BHTD = q_BTHD.transpose(1, 2)
    mask = None
    if seen_B is not None or 1 < T < L or (window is not None and window < L):
        first = torch.full((1,), L - T, device=q_BTHD.device) if seen_B is None else seen_B
        last_B1T1 = (first[:, None] + torch.arange(T, device=q_BTHD.device))[:, None, :, None]
        slots_L = torch.arange(L, device=q_BTHD.device)
        mask = slots_L <= last_B1T1
        if window is not None:
            mask = mask & (slots_L > last_B1T1 - window)
    causal = mask is None and T > 1
    if softcap is not None:
        return _capped_attention(q_BHTD, k_BGLD, v_BGLD, mask, causal, scale, softcap).transpose(1, 2)
    options = {"attn_mask": mask, "is_causal": causal, "enable_gqa": True, "scale": scale}
    q, k, v = (in_faster_format(x) for x in (q_BHTD, k_BGLD, v_BGLD))
    if q is q_BHTD:
        return F.scaled_dot_product_attention(q, k, v, **options).transpose(1, 2)  # type: ignore[arg-type]
    with torch.autocast("cpu", enabled=False):  # it would cast back
        o_BHTD = F.scaled_dot_product_attention(q, k, v, **options)  # type: ignore[arg-type]
    return o_BHTD.transpose(1, 2).to(q_BHTD.dtype)


def _capped_attention(
    q_BHTD: Tensor,
    k_BGLD: Tensor,
    v_BGLD: Tensor,
    mask: Tensor | None,
    causal: bool,
    scale: float | None,
    softcap: float,
) -> Tensor:
    """Attention with a softcap, which torch's has not: written out, in float32. -> o_BHTD in q's dtype."""
    B, H, T, D = q_BHTD.shape
    G, L = k_BGLD.shape[1:3]
    with torch.autocast(q_BHTD.device.type, enabled=False):
        q_BGKTD = q_BHTD.float().reshape(B, G, H // G, T, D)
        k_BG1LD, v_BG1LD = k_BGLD.float().unsqueeze(2), v_BGLD.float().unsqueeze(2)
        scores = q_BGKTD @ k_BG1LD.transpose(-1, -2) * (D**-0.5 if scale is None else scale)
        scores = softcap * torch.tanh(scores / softcap)
        if causal:
            mask = torch.ones(T, L, dtype=torch.bool, device=scores.device).tril()
        if mask is not None:
            scores = scores.masked_fill(~(mask.unsqueeze(2) if mask.ndim == 4 else mask), -torch.inf)
        return (scores.softmax(-1) @ v_BG1LD).reshape(B, H, T, D).to(q_BHTD.dtype)
