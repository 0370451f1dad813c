"""Attention over pages as its definition says, in float64, and a pool of pages for the tests.

Legend: N tokens, H query heads, G key-value heads, D head width, P pages of 16 slots, L keys of a sequence.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stategpt.ops import PagePlan, attend_pages, write_pages

PAGE = 16


@dataclass
class Pool:
    """Pages of one layer; slots that were never written are NaN."""

    k_PGDS: Tensor
    v_PGSD: Tensor

    @classmethod
    def empty(cls, pages: int, groups: int, width: int, dtype: torch.dtype = torch.float32) -> Pool:
        """A pool of NaN."""
        k_PGDS = torch.full((pages, groups, width, PAGE), torch.nan, dtype=dtype)
        return cls(k_PGDS, torch.full((pages, groups, PAGE, width), torch.nan, dtype=dtype))

    def step(self, plan: PagePlan, q_NHD: Tensor, k_NGD: Tensor, v_NGD: Tensor, **options: object) -> Tensor:
        """Writes keys and values, then attends."""
        write_pages(plan, k_NGD, v_NGD, self.k_PGDS, self.v_PGSD)
        return attend_pages(plan, q_NHD, self.k_PGDS, self.v_PGSD, **options)  # type: ignore[arg-type]

    def gathered(self, table: list[int], length: int) -> tuple[Tensor, Tensor]:
        """Keys and values of a sequence in float64. -> [L, G, D] each"""
        k_LGD = self.k_PGDS[table].permute(0, 3, 1, 2).flatten(0, 1)[:length]
        v_LGD = self.v_PGSD[table].permute(0, 2, 1, 3).flatten(0, 1)[:length]
        return k_LGD.double(), v_LGD.double()


def reference(
    q_HD: Tensor,
    k_LGD: Tensor,
    v_LGD: Tensor,
    *,
    scale: float | None = None,
    window: int | None = None,
    softcap: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Output of the last position's query, and the bound on the error of float32 for each head. -> [H, D], [H]"""
    H, D = q_HD.shape
    G = k_LGD.shape[1]
    k_LGD, v_LGD = (x[-(window or len(x)) :] for x in (k_LGD, v_LGD))
    q_GRD = q_HD.double().view(G, H // G, D)
    scale = D**-0.5 if scale is None else scale
    x_GRL = torch.einsum("grd,lgd->grl", q_GRD, k_LGD) * scale
    if softcap is not None:
        x_GRL = softcap * (x_GRL / softcap).tanh()
    o_GRD = torch.einsum("grl,lgd->grd", x_GRL.softmax(-1), v_LGD)
    products_GR = torch.einsum("grd,lgd->grl", q_GRD.abs(), k_LGD.abs()).amax(-1) * abs(scale)
    steps_GR = (D + 8) * products_GR + 8 * x_GRL.amax(-1).abs().clamp_min(1) + len(k_LGD)
    tallest_G1 = v_LGD.abs().amax(dim=(0, 2))[:, None]
    bound_GR = tallest_G1 * (2 * steps_GR + 40) * 2.0**-24
    return o_GRD.reshape(H, D), bound_GR.reshape(H)
