"""One forward pass over pages: which sequences get how many new tokens, and how these attend.

Legend: R sequences, N new tokens of all of them in one flat stream, T of one; L keys of one; H query heads, G key-value
heads, D head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stategpt.arguments import whole
from stategpt.config.architecture import AttentionOptions
from stategpt.errors import InvalidArgument
from stategpt.ops import cached_attention

from .memory import PAGE_TOKENS
from .pool import PagePool
from .sequence import PagedSequence, pages_of, reserve_all

Row = tuple[PagedSequence, int]
"""A sequence, and the number of tokens that it gets in a step."""


class PagedStep:
    """The cache of one `GPT.step`: rows are (sequence, number of new tokens), in the order of the flat stream.

    Making it reserves pages, all or nothing; lengths change in `commit`, once every layer has written. A step that is
    not committed leaves the sequences as they were.

        step = PagedStep(pool, [(prompt, 200), (answer, 1)])
        hidden_NW = model.step(tokens_N, step.position_N, step)
        step.commit()

    Raises:
        ContextOverflow: a sequence would exceed the model's context.
        InvalidArgument: no rows, a row without tokens, a closed sequence, one that comes twice or is of another pool.
        OutOfPages: the pool has too few free pages.
    """

    def __init__(self, pool: PagePool, rows: Sequence[Row]) -> None:
        if not rows:
            raise InvalidArgument("a step has no rows; give at least one sequence and its number of tokens")
        for row, tokens in rows:
            whole("tokens of a row", tokens, 1)
            if row.pool is not pool:
                raise InvalidArgument("a sequence is of another pool; run a step for each pool")
        reserve_all(rows)
        self.pool = pool
        self.joined = pool.joined
        self.rows = list(rows)
        self.plan = StepPlan(
            np.array([row.length for row, _ in rows], dtype=np.int32),
            np.array([tokens for _, tokens in rows], dtype=np.int32),
            [row.held_pages()[: pages_of(row.length + tokens)] for row, tokens in rows],
            pool.device,
        )
        self._written = 0

    @property
    def position_N(self) -> Tensor:  # noqa: N802 - a shape suffix
        """int64[N]: position of each token in its sequence."""
        return self.plan.position_N

    @property
    def last_R(self) -> Tensor:  # noqa: N802 - a shape suffix
        """int64[R]: place of each sequence's last new token in the stream, whose hidden state predicts the next."""
        return self.plan.last_R

    def attend(self, layer: int, q_NHD: Tensor, k_NGD: Tensor, v_NGD: Tensor, options: AttentionOptions) -> Tensor:
        """Stores keys and values of a layer, then attends over the pages. -> o_NHD in q's number format.

        Raises:
            InvalidArgument: a layer out of turn, another number of tokens, or tensors that need a gradient.
        """
        if layer != self._written or q_NHD.shape[0] != self.plan.tokens:
            raise InvalidArgument(
                f"layer {layer} gives {q_NHD.shape[0]} tokens; the step waits for {self.plan.tokens} of layer "
                f"{self._written}"
            )
        if torch.is_grad_enabled() and k_NGD.requires_grad:
            raise InvalidArgument("a step over pages has no gradient; run it in torch.inference_mode()")
        memory = self.pool.memory
        memory.write(layer, *self.plan.places, k_NGD, v_NGD)
        o_NHD = gathered_attention(self.pool, self.plan, layer, q_NHD, options)
        self._written += 1
        return o_NHD

    def commit(self) -> None:
        """Counts the new tokens as held. Raises `InvalidArgument` before all layers have written, or a second time."""
        if self._written != self.pool.config.depth:
            raise InvalidArgument(
                f"{self._written} of {self.pool.config.depth} layers have written; commit once, after GPT.step"
            )
        self._written = -1
        for row, tokens in self.rows:
            row.advance(tokens)


class StepPlan:
    """Numbers of a step that all layers share, made once."""

    def __init__(
        self,
        seen_R: NDArray[np.int32],
        tokens_R: NDArray[np.int32],
        tables: list[NDArray[np.int32]],
        device: torch.device,
    ) -> None:
        self.seen_R, self.tokens_R = seen_R, tokens_R
        """int32[R]: tokens held before, and new ones."""
        self.tables = tables
        """Pages of each sequence, new positions included."""
        self.device = device
        self.first_R1 = np.concatenate(([0], np.cumsum(tokens_R))).astype(np.int32)
        """int32[R + 1]: place of each sequence's first new token in the stream."""

    @property
    def tokens(self) -> int:
        """N."""
        return int(self.first_R1[-1])

    @cached_property
    def _position(self) -> NDArray[np.int64]:
        row_N = np.repeat(np.arange(len(self.tables)), self.tokens_R)
        return (self.seen_R - self.first_R1[:-1])[row_N] + np.arange(self.tokens, dtype=np.int64)

    @cached_property
    def position_N(self) -> Tensor:  # noqa: N802 - a shape suffix
        """int64[N]."""
        return torch.from_numpy(self._position).to(self.device)

    @cached_property
    def last_R(self) -> Tensor:  # noqa: N802 - a shape suffix
        """int64[R]."""
        return torch.from_numpy(self.first_R1[1:].astype(np.int64) - 1).to(self.device)

    @cached_property
    def places(self) -> tuple[Tensor, Tensor]:
        """Page and slot of each token, int64[N] both."""
        starts = np.cumsum([0] + [len(table) for table in self.tables[:-1]])
        row_N = np.repeat(np.arange(len(self.tables)), self.tokens_R)
        page_N = np.concatenate(self.tables)[starts[row_N] + self._position // PAGE_TOKENS].astype(np.int64)
        both = torch.from_numpy(np.stack((page_N, self._position % PAGE_TOKENS))).to(self.device)
        return both[0], both[1]


def gathered_attention(pool: PagePool, plan: StepPlan, layer: int, q_NHD: Tensor, options: AttentionOptions) -> Tensor:
    """Attention of one sequence after the other over a copy of its keys, by torch. -> o_NHD.

    What the kernels are tested against, and what attends where they do not run.
    """
    o_NHD = torch.empty_like(q_NHD)
    for row, table in enumerate(plan.tables):
        first, end = int(plan.first_R1[row]), int(plan.first_R1[row + 1])
        keys = int(plan.seen_R[row]) + end - first
        k_GLD, v_GLD = pool.memory.gathered(layer, torch.from_numpy(table.astype(np.int64)).to(pool.device), keys)
        q_1THD, k_1GLD, v_1GLD = _alike(q_NHD[None, first:end], k_GLD[None], v_GLD[None])
        o_NHD[first:end] = cached_attention(q_1THD, k_1GLD, v_1GLD, None, **options)[0]
    return o_NHD


def _alike(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three in one number format: the wider one on a CPU, that of the pages elsewhere."""
    if q.dtype == k.dtype:
        return q, k, v
    if q.device.type == "cpu":
        dtype = torch.promote_types(q.dtype, k.dtype)
        return q.to(dtype), k.to(dtype), v.to(dtype)
    return q.to(k.dtype), k, v
