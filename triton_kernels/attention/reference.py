"""What attention over a layout means, one token at a time: the truth that every faster way is tested against.

Legend: N tokens of the flat stream, H query heads, G key-value heads, R = H / G query heads a group, D head width.
"""

import torch
from torch import Tensor


def visible_keys(
    token: int, segment_start: int, prefix_end: int, branch_start: int, window: int | None = None
) -> list[int]:
    """Indices of the keys `token` sees: [segment_start, prefix_end) and [branch_start, token].

    With `window` only the last `window` of them, itself included. A token whose branch starts after it sees nothing.
    """
    keys = [*range(segment_start, prefix_end), *range(branch_start, token + 1)]
    return keys if window is None else keys[-window:]


def attention_reference(
    q_NHD: Tensor,
    k_NGD: Tensor,
    v_NGD: Tensor,
    segment_start: Tensor,
    prefix_end: Tensor,
    branch_start: Tensor,
    scale: float,
    window: int | None = None,
    softcap: float | None = None,
) -> Tensor:
    """o[t] = softmax(cap(scale * q[t] . k[visible])) . v[visible] for every token t and head. -> o_NHD in q's dtype.

    cap(x) = softcap * tanh(x / softcap), or x without `softcap` (Gemma 2, arXiv 2408.00118, section 2). A token that
    sees nothing gives 0. Query head h reads key-value head h // R (grouped-query attention, Ainslie et al. 2023, arXiv
    2305.13245). float64 inputs are computed in float64, everything else in float32. O(N^2) time, differentiable.
    """
    N, H, D = q_NHD.shape
    G = k_NGD.shape[1]
    work = torch.float64 if q_NHD.dtype == torch.float64 else torch.float32
    q_NGRD = q_NHD.to(work).view(N, G, H // G, D)
    k_NGD, v_NGD = k_NGD.to(work), v_NGD.to(work)
    bounds = zip(segment_start.tolist(), prefix_end.tolist(), branch_start.tolist(), strict=True)
    outputs = []
    for token, (segment, prefix, branch) in enumerate(bounds):
        keys = visible_keys(token, segment, prefix, branch, window)
        scores_GRK = torch.einsum("grd,kgd->grk", q_NGRD[token], k_NGD[keys]) * scale
        if softcap is not None:
            scores_GRK = softcap * torch.tanh(scores_GRK / softcap)
        outputs.append(torch.einsum("grk,kgd->grd", scores_GRK.softmax(dim=-1), v_NGD[keys]).reshape(H, D))
    return torch.stack(outputs).to(q_NHD.dtype) if outputs else torch.empty_like(q_NHD)
