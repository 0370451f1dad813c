"""One step of the model: tokens of many branches in one flat pass over pages, then what their tokens are drawn from.

Legend: N tokens of all branches, R branches, W width, V vocabulary of the tokenizer, M rows to draw for, U of them with
different hidden states.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from stategpt.arguments import Ids
from stategpt.model import GPT

from .branch import Branch
from .pages import PagedStep, PagePool
from .request import NO_IDS, Counters


class Work(NamedTuple):
    """Tokens of one branch that a step computes."""

    branch: Branch
    tokens: int
    """How many of its pending ids."""
    guessed: Ids = NO_IDS
    """Ids after them that may be drawn."""


class StepResult(NamedTuple):
    """Hidden states after a step."""

    hidden_NW: Tensor
    last: list[int]
    """Place of each branch's last token, before what was guessed."""
    work: Sequence[Work]

    def last_hidden(self, numbers: Sequence[int]) -> Tensor:
        """Hidden state of the last token of some of the branches, then of each id guessed after it. -> [., W]."""
        if len(numbers) == len(self.hidden_NW):  # every branch had one token, and all are meant
            return self.hidden_NW
        ends = [(self.last[number], len(self.work[number].guessed)) for number in numbers]
        places = torch.tensor([last + guess for last, guesses in ends for guess in range(guesses + 1)])
        return self.hidden_NW[places.to(self.hidden_NW.device)]


def run_step(model: GPT, pool: PagePool, work: Sequence[Work], counters: Counters) -> StepResult:
    """Computes the work. Raises `OutOfPages` before anything is computed; after any error nothing has changed."""
    step = PagedStep(pool, [(branch.sequence, count + len(guessed)) for branch, count, guessed in work])
    tokens: list[int] = []
    for branch, count, guessed in work:
        if count == 1 and branch.generated:  # most work: what was drawn last
            tokens.append(branch.generated[-1])
        else:
            first = branch.sequence.length
            tokens += branch.tokens(first, first + count)
        if len(guessed):
            tokens += guessed.tolist()
    tokens_N = torch.tensor(tokens, dtype=torch.int64, device=model.device)
    hidden_NW = model.step(tokens_N, step.position_N, step)
    step.commit()
    last, place = [], -1
    for branch, count, guessed in work:
        place += count
        last.append(place)
        place += len(guessed)
        counters.proposed += len(guessed)
        end = branch.sequence.length - len(guessed)
        if end > branch.accounted or end - count < branch.computed:
            _account(branch, count, end, counters)
    return StepResult(hidden_NW, last, work)


def _account(branch: Branch, count: int, end: int, counters: Counters) -> None:
    """Counts what was computed up to `end`: for the first time, again, or counted already when it was drawn."""
    first = end - count
    if end > branch.accounted:
        counters.prefilled += end - max(first, branch.accounted)
        branch.accounted = end
    if first < branch.computed:
        counters.recomputed += min(end, branch.computed) - first


def next_logits(model: GPT, hidden_UW: Tensor, places_M: Sequence[int] | None) -> Tensor:
    """Logits from each hidden state once. -> float32[M, V].

    `places_M` says which hidden state each row has; None: row m has state m.
    """
    logits_UV = model.unembed(hidden_UW)
    return logits_UV if places_M is None else logits_UV[torch.tensor(places_M, device=logits_UV.device)]
