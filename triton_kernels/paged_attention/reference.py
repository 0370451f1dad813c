"""What attention over pages means, one sequence at a time: the truth that the kernels are tested against.

Legend: B sequences, H query heads, G key-value heads, D head width, P pages of S slots, M pages a row of the table.
F shared prefixes; L keys of one sequence.
"""

import torch
from torch import Tensor


def pages_of(pages_PSGD: Tensor, table_M: Tensor, length: int) -> Tensor:
    """The first `length` rows of the pages that one row of a page table lists, in order. -> [length, G, D]"""
    S = pages_PSGD.shape[1]
    used = table_M[: -(-length // S)].long()
    return pages_PSGD[used].flatten(0, 1)[:length]


def paged_attention_reference(
    q_BHD: Tensor,
    k_pages_PSGD: Tensor,
    v_pages_PSGD: Tensor,
    page_table_BM: Tensor,
    lengths_B: Tensor,
    prefix: tuple[Tensor, Tensor, Tensor] | None,
    window: int | None,
    softcap: float | None,
    scale: float,
) -> Tensor:
    """o[b] = softmax(cap(scale * q[b] . k)) . v over the keys of sequence b. -> o_BHD in q's dtype.

    The keys of a sequence are those of its prefix, then its own; `prefix` is (page_table_FM, lengths_F, starts), and
    sequences starts[f] .. starts[f + 1] - 1 share prefix f. With a window only the last `window` keys count. cap(x) is
    softcap * tanh(x / softcap) (Gemma 2, arXiv 2408.00118), or x. Query head h reads key-value head h // (H / G). A
    sequence without keys gives 0. float64 is computed in float64, everything else in float32.
    """
    B, H, D = q_BHD.shape
    G = k_pages_PSGD.shape[2]
    work = torch.float64 if q_BHD.dtype == torch.float64 else torch.float32
    owner = _prefix_of_each(prefix[2].tolist(), B) if prefix is not None else [None] * B
    prefix_lengths = prefix[1].tolist() if prefix is not None else []
    out_BHD = torch.zeros(B, H, D, dtype=work, device=q_BHD.device)
    for b, length in enumerate(lengths_B.tolist()):
        parts = [(page_table_BM[b], length)]
        f = owner[b]
        if f is not None and prefix is not None:
            parts.insert(0, (prefix[0][f], prefix_lengths[f]))
        k_LGD, v_LGD = (
            torch.cat([pages_of(pages, table_M, count) for table_M, count in parts])[-(window or 2**31) :].to(work)
            for pages in (k_pages_PSGD, v_pages_PSGD)
        )
        if len(k_LGD):
            x_GRL = torch.einsum("grd,lgd->grl", q_BHD[b].to(work).view(G, H // G, D), k_LGD) * scale
            if softcap is not None:
                x_GRL = softcap * (x_GRL / softcap).tanh()
            out_BHD[b] = torch.einsum("grl,lgd->grd", x_GRL.softmax(dim=-1), v_LGD).reshape(H, D)
    return out_BHD.to(q_BHD.dtype)


def _prefix_of_each(starts: list[int], sequences: int) -> list[int | None]:
    """The prefix of each sequence; those before starts[0] and from starts[F] on have none."""
    owner: list[int | None] = [None] * sequences
    for f in range(len(starts) - 1):
        owner[starts[f] : starts[f + 1]] = [f] * (starts[f + 1] - starts[f])
    return owner
