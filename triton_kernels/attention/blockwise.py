"""The kernels' algorithm in plain torch, for devices without them: exact, tile by tile, and never N x N in memory.

FlashAttention-2 (Dao 2023, arXiv 2307.08691), algorithms 1 and 2, over a work list of query tiles in the
host's memory. All heads of a tile go together, so memory beyond inputs and outputs is H x block_q x block_k scores.

Legend: N tokens, H query heads, G key-value heads, R = H / G, D head width; Q queries of a tile, K keys of a step.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK_Q, BLOCK_K = 128, 512


@dataclass(frozen=True)
class Step:
    """Keys [first, end) of a step of a tile; the mask is needed unless all queries see all of them."""

    first: int
    end: int
    masked: bool


@dataclass(frozen=True)
class Scoring:
    """What turns queries and keys into scores."""

    near_start: Tensor
    far_start: Tensor
    far_end: Tensor
    scale: float
    softcap: float | None

    def scores(self, q_GRQD: Tensor, k_GKD: Tensor, first: int, step: Step) -> tuple[Tensor, Tensor | None]:
        """Scores, -inf where unseen, and the derivative of the cap. -> [G, R, Q, K] each"""
        x = torch.matmul(q_GRQD, k_GKD.unsqueeze(1).mT)
        slope = None
        if self.softcap is None:
            x.mul_(self.scale)
        else:
            bent = x.mul_(self.scale / self.softcap).tanh_()
            slope = 1 - bent * bent
            x = bent * self.softcap
        if step.masked:
            x.masked_fill_(~self._seen(first, q_GRQD.shape[2], step), -torch.inf)
        return x, slope

    def _seen(self, first: int, queries: int, step: Step) -> Tensor:
        """Which queries see which keys. -> bool[Q, K]"""
        device = self.near_start.device
        row = torch.arange(first, first + queries, device=device)[:, None]
        key = torch.arange(step.first, step.end, device=device)[None, :]
        near, far_start, far_end = (x[first : first + queries, None] for x in self._bounds)
        return ((key >= near) & (key <= row)) | ((key >= far_start) & (key < far_end))

    @property
    def _bounds(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.near_start, self.far_start, self.far_end


def tiles(query_tiles: Tensor, tokens: int, block_q: int, block_k: int) -> Iterator[tuple[int, int, list[Step]]]:
    """First query, end and steps of each tile of a work list for these blocks."""
    for first, far_lo, far_hi, near_lo, far_steps, *full, count in query_tiles.tolist():
        end = min(first + block_q, tokens)
        steps = []
        for i in range(count):
            if i < far_steps:
                low, high = far_lo + i * block_k, min(far_lo + (i + 1) * block_k, far_hi)
            else:
                low = near_lo + (i - far_steps) * block_k
                high = min(low + block_k, end)
            steps.append(Step(low, high, not (full[0] <= i < full[1] or full[2] <= i < full[3])))
        yield first, end, steps


def forward(
    q_NHD: Tensor, k_NGD: Tensor, v_NGD: Tensor, scoring: Scoring, query_tiles: Tensor
) -> tuple[Tensor, Tensor]:
    """o_NHD in q's dtype and lse_HN in the working dtype: float64 for float64, else float32."""
    N, H, _ = q_NHD.shape
    groups = k_NGD.shape[1]
    work = working(q_NHD.dtype)
    o_NHD = torch.empty_like(q_NHD, memory_format=torch.contiguous_format)
    lse_HN = torch.empty(H, N, dtype=work, device=q_NHD.device)
    for first, end, steps in tiles(query_tiles, N, BLOCK_Q, BLOCK_K):
        q_GRQD = by_group(q_NHD[first:end], groups, work)
        acc = torch.zeros_like(q_GRQD)
        total = acc.new_zeros(acc.shape[:3])
        top = torch.full_like(total, -torch.inf)
        for step in steps:
            x, _ = scoring.scores(q_GRQD, by_head(k_NGD, step, work), first, step)
            new_top = torch.maximum(top, x.amax(dim=-1))
            shift = new_top.masked_fill(new_top == -torch.inf, 0.0)
            p = x.sub_(shift.unsqueeze(-1)).exp_()
            shrink = (top - shift).exp_()
            total = total * shrink + p.sum(dim=-1)
            acc = torch.matmul(p, by_head(v_NGD, step, work).unsqueeze(1)).addcmul_(acc, shrink.unsqueeze(-1))
            top = new_top
        some = total > 0
        total = total.where(some, 1.0)
        o_NHD[first:end] = from_group(acc / total.unsqueeze(-1)).to(o_NHD.dtype)
        lse_HN[:, first:end] = (top + total.log()).where(some, -torch.inf).flatten(0, 1)
    return o_NHD, lse_HN


def backward(
    q_NHD: Tensor,
    k_NGD: Tensor,
    v_NGD: Tensor,
    o_NHD: Tensor,
    lse_HN: Tensor,
    do_NHD: Tensor,
    scoring: Scoring,
    query_tiles: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """dq_NHD, dk_NGD and dv_NGD in the dtypes of q, k and v; summed in the working dtype, in the list's order."""
    groups = k_NGD.shape[1]
    work = working(q_NHD.dtype)
    dq_NHD = torch.empty_like(q_NHD, memory_format=torch.contiguous_format)
    dk_GND, dv_GND = (torch.zeros(groups, len(x), x.shape[2], dtype=work, device=x.device) for x in (k_NGD, v_NGD))
    for first, end, steps in tiles(query_tiles, len(q_NHD), BLOCK_Q, BLOCK_K):
        q_GRQD, do_GRQD, o_GRQD = (by_group(x[first:end], groups, work) for x in (q_NHD, do_NHD, o_NHD))
        delta = (do_GRQD * o_GRQD).sum(dim=-1, keepdim=True)
        lse = lse_HN[:, first:end].reshape(delta.shape)
        lse = lse.masked_fill(lse == -torch.inf, 0.0)  # nothing is seen: every score is -inf, whatever is taken off
        dq = torch.zeros_like(q_GRQD)
        for step in steps:
            k_GKD, v_GKD = by_head(k_NGD, step, work), by_head(v_NGD, step, work)
            x, slope = scoring.scores(q_GRQD, k_GKD, first, step)
            p = x.sub_(lse).exp_()
            dv_GND[:, step.first : step.end] += torch.matmul(p.mT, do_GRQD).sum(dim=1)
            ds = torch.matmul(do_GRQD, v_GKD.unsqueeze(1).mT).sub_(delta).mul_(p)
            if slope is not None:
                ds.mul_(slope)
            dk_GND[:, step.first : step.end] += torch.matmul(ds.mT, q_GRQD).sum(dim=1)
            dq += torch.matmul(ds, k_GKD.unsqueeze(1))
        dq_NHD[first:end] = from_group(dq * scoring.scale).to(dq_NHD.dtype)
    dk_NGD = (dk_GND * scoring.scale).transpose(0, 1)
    return dq_NHD, dk_NGD.to(k_NGD.dtype).contiguous(), dv_GND.transpose(0, 1).to(v_NGD.dtype).contiguous()


def working(dtype: torch.dtype) -> torch.dtype:
    """What is computed and summed in."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def by_group(x_QHD: Tensor, groups: int, work: torch.dtype) -> Tensor:
    """Queries apart by the key-value head they read. -> [G, R, Q, D]"""
    queries, heads, width = x_QHD.shape
    return x_QHD.to(work).reshape(queries, groups, heads // groups, width).permute(1, 2, 0, 3).contiguous()


def from_group(x_GRQD: Tensor) -> Tensor:
    """Back again. -> [Q, H, D]"""
    return x_GRQD.permute(2, 0, 1, 3).flatten(1, 2)


def by_head(x_NGD: Tensor, step: Step, work: torch.dtype) -> Tensor:
    """Keys or values of a step. -> [G, K, D]"""
    return x_NGD[step.first : step.end].to(work).transpose(0, 1)
