"""One step of the model: tokens of many branches in one flat pass over pages, then what their tokens are drawn from.

Legend: N tokens of all branches, R branches, W width, V vocabulary of the tokenizer, M rows to draw for, U of them with
different hidden states.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stategpt.model import GPT

from .branch import Branch
from .pages import PagedStep, PagePool
from .request import Counters

_LOGIT_NUMBERS = 1 << 24
"""Logits of prompts that are made at a time: 64 MB."""


class Work(NamedTuple):
    """Tokens of one branch that a step computes."""

    branch: Branch
    tokens: int
    """How many of its pending ids."""


class StepResult(NamedTuple):
    """Hidden states after a step."""

    hidden_NW: Tensor
    last: list[int]
    """Place of each branch's last token."""
    work: Sequence[Work]

    def last_hidden(self, numbers: Sequence[int]) -> Tensor:
        """Hidden state of the last token of some of the branches. -> [len(numbers), W]."""
        if len(numbers) == len(self.hidden_NW):  # every branch had one token, and all are meant
            return self.hidden_NW
        places = torch.tensor([self.last[number] for number in numbers], device=self.hidden_NW.device)
        return self.hidden_NW[places]


def run_step(model: GPT, pool: PagePool, work: Sequence[Work], counters: Counters) -> StepResult:
    """Computes the work. Raises `OutOfPages` before anything is computed; after any error nothing has changed."""
    step = PagedStep(pool, [(branch.sequence, count) for branch, count in work])
    tokens: list[int] = []
    for branch, count in work:
        first = branch.sequence.length
        tokens += branch.tokens(first, first + count)
    tokens_N = torch.tensor(tokens, dtype=torch.int64, device=model.device)
    hidden_NW = model.step(tokens_N, step.position_N, step)
    step.commit()
    for branch, count in work:
        _account(branch, count, counters)
    last = np.cumsum([count for _, count in work]) - 1
    return StepResult(hidden_NW, last.tolist(), work)


def _account(branch: Branch, count: int, counters: Counters) -> None:
    """Counts what was computed: for the first time, again, or a token that was counted when it was drawn."""
    end = branch.sequence.length
    first = end - count
    if end > branch.accounted:
        counters.prefilled += end - max(first, branch.accounted)
        branch.accounted = end
    if first < branch.computed:
        counters.recomputed += min(end, branch.computed) - first


def next_logits(model: GPT, hidden_UW: Tensor, places_M: Sequence[int] | None, vocabulary: int) -> Tensor:
    """Logits of the tokenizer's ids, from each hidden state once. -> float32[M, V].

    `places_M` says which hidden state each row has; None: row m has state m. Ids that the model has beyond the
    tokenizer's are padding: no distribution holds them.
    """
    logits_UV = model.unembed(hidden_UW)
    if logits_UV.shape[1] > vocabulary:
        logits_UV = logits_UV[:, :vocabulary]
    if places_M is None:
        return logits_UV
    return logits_UV[torch.tensor(places_M, device=logits_UV.device)]


def target_log_probs(model: GPT, hidden_NW: Tensor, targets: NDArray[np.integer], vocabulary: int) -> NDArray[np.float32]:
    """Log-probability of each target, at temperature 1 and with nothing removed. -> float32[N]."""
    rows = max(1, _LOGIT_NUMBERS // vocabulary)
    parts = [np.empty(0, dtype=np.float32)]
    for first in range(0, len(targets), rows):
        logits_MV = next_logits(model, hidden_NW[first : first + rows], None, vocabulary)
        wanted_M = torch.from_numpy(targets[first : first + rows].astype(np.int64)).to(logits_MV.device)
        chosen_M = logits_MV.float().log_softmax(dim=-1).gather(1, wanted_M[:, None])[:, 0]
        parts.append(chosen_M.cpu().numpy())
    return np.concatenate(parts)
