"""One forward pass over pages: which sequences get how many new tokens, and how these attend.

Legend: R sequences, N new tokens of all of them in one flat stream, H query heads, G key-value heads, D head width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from stategpt.arguments import whole
from stategpt.config.architecture import AttentionOptions
from stategpt.errors import InvalidArgument
from stategpt.model.fused_step import Floats, Heads
from stategpt.ops import attend_joined
from stategpt.ops.page_plan import DTYPES

from .attend import write_and_attend
from .memory import TransposedPages
from .plan import StepPlan
from .pool import PagePool
from .sequence import Row, advance_all, reserve_all


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
            if type(tokens) is not int or tokens < 1:
                whole("tokens of a row", tokens, 1)
            if row.pool is not pool:
                raise InvalidArgument("a sequence is of another pool; run a step for each pool")
        reserve_all(rows)
        self.pool = pool
        self.joined = pool.joined
        suits = isinstance(pool.memory, TransposedPages) and pool.dtype in DTYPES
        self.fused = pool.fused if suits else None
        self.rows = list(rows)
        self.plan = StepPlan(
            np.array([row.length for row, _ in rows], dtype=np.int32),
            np.array([tokens for _, tokens in rows], dtype=np.int32),
            [row.table for row, _ in rows],
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
        self._take_turn(layer, q_NHD.shape[0])
        if torch.is_grad_enabled() and k_NGD.requires_grad:
            raise InvalidArgument("a step over pages has no gradient; run it in torch.inference_mode()")
        o_NHD = write_and_attend(self.pool.memory, self.plan, layer, q_NHD, k_NGD, v_NGD, options)
        self._written += 1
        return o_NHD

    def attend_joined(self, layer: int, qkv_NE: Floats, heads: Heads, options: AttentionOptions) -> Floats:
        """The same from the joint projection [N, (H + 2 G) D], whose heads are not yet normed. -> [N, H D].

        Raises `InvalidArgument` for a layer out of turn or another number of tokens.
        """
        self._take_turn(layer, len(qkv_NE))
        memory = self.pool.memory
        assert isinstance(memory, TransposedPages)  # `fused` says so
        o_NE = attend_joined(self.plan.native, qkv_NE, *heads, memory.arrays[layer], **options)
        self._written += 1
        return o_NE

    def _take_turn(self, layer: int, tokens: int) -> None:
        """Refuses a layer out of turn or another number of tokens."""
        if layer != self._written or tokens != self.plan.tokens:
            raise InvalidArgument(
                f"layer {layer} gives {tokens} tokens; the step waits for {self.plan.tokens} of layer {self._written}"
            )

    def commit(self) -> None:
        """Counts the new tokens as held. Raises `InvalidArgument` before all layers have written, or a second time."""
        if self._written != self.pool.config.depth:
            raise InvalidArgument(
                f"{self._written} of {self.pool.config.depth} layers have written; commit once, after GPT.step"
            )
        self._written = -1
        advance_all(self.rows)
