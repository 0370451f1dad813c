"""Draws the next tokens of the scheduler's samples and adds them: what was drawn, guessed right, or forced.

Legend: W width, V vocabulary, M rows to draw for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from stategpt.arguments import Ids
from stategpt.model import GPT

from .forward import StepResult, next_logits
from .ngram_draft import accepted
from .request import NO_IDS, NO_TOP, Counters
from .row import Row
from .sampler import Draws, draw
from .task import Task


class _Tokens(NamedTuple):
    """What was drawn in a step, for all rows."""

    drawn: Draws
    ids: list[int]
    log_probs: list[float]
    raw_log_probs: list[float] | None


Fail = Callable[[Task, Exception], None]
"""Ends a request with an error."""


class Drawing:
    """Draws for the samples of a scheduler; a failing model, constraint or setting ends the requests that it is of."""

    def __init__(self, model: GPT, vocabulary: int, counters: Counters, fail: Fail) -> None:
        self._model, self._vocabulary, self._counters, self._fail = model, vocabulary, counters, fail

    def mask(self, row: Row) -> bool:
        """Asks a sample's constraint what may follow. -> whether the request is still there."""
        if row.constraint is not None and not row.task.handle.done:
            try:
                row.draw.mask = row.constraint.mask()
            except Exception as error:
                self._fail(row.task, error)
        return not row.task.handle.done

    def force(self, row: Row) -> bool:
        """Adds what a constraint forces. -> whether the request is still there."""
        try:
            self._counters.forced += row.take_forced()
        except Exception as error:
            self._fail(row.task, error)
            return False
        return True

    def draw(self, rows: list[tuple[int, Row]], started: list[Row], result: StepResult | None) -> list[Row]:
        """Draws a token for each sample: those that were computed, and those that start. -> those with an event."""
        parts, places, guesses = [], None, []
        if rows:
            assert result is not None  # they were computed
            parts.append(result.last_hidden([number for number, _ in rows]))
            guesses = [result.work[number].guessed for number, _ in rows]
        drawing = [row for _, row in rows]
        drawn_from = len(drawing) + sum(map(len, guesses))
        if started:
            stems = {id(row.branch.hidden_W): row.branch.hidden_W for row in started}
            numbers = {key: drawn_from + number for number, key in enumerate(stems)}
            places = [*range(drawn_from), *(numbers[id(row.branch.hidden_W)] for row in started)]
            parts.append(torch.stack([hidden_W for hidden_W in stems.values() if hidden_W is not None]))
            drawing += started
            guesses += [NO_IDS] * len(started)
        try:
            hidden_UW = torch.cat(parts) if len(parts) > 1 else parts[0]
            tokens = self._tokens(next_logits(self._model, hidden_UW, places), drawing, guesses)
        except Exception as error:
            for task in {id(row.task): row.task for row in drawing}.values():
                self._fail(task, error)
            return []
        told, first = [], 0
        for row, guessed in zip(drawing, guesses, strict=True):
            count = len(guessed)
            if count:
                self._add_guessed(row, guessed, first, tokens)
            else:
                self._add(row, first, tokens)
            first += count + 1
            if not row.task.handle.done and (row.reason is not None or row.task.request.incremental):
                told.append(row)
        return told

    def _tokens(self, logits_MV: Tensor, rows: Sequence[Row], guesses: Sequence[Ids]) -> _Tokens:
        """Draws from the logits: the next token of each row, and one after each guess."""
        if len(logits_MV) == len(rows):  # nothing was guessed
            sampled = [row.draw for row in rows]
        else:
            sampled = [each for row, guessed in zip(rows, guesses, strict=True) for each in row.draws(guessed)]
        requests = {id(row.task): row.task.request for row in rows}.values()
        keep = any(request.kept_sets for request in requests)
        raw = any(request.raw_log_probs for request in requests)
        drawn = draw(logits_MV, sampled, vocabulary=self._vocabulary, keep_sets=keep, exact=self._model.exact)
        # Under the model's own distribution only where a request wants them: a second softmax.
        raw_log_probs = drawn.raw_log_probs_M.tolist() if raw else None
        return _Tokens(drawn, drawn.ids_M.tolist(), drawn.log_probs_M.tolist(), raw_log_probs)

    def _add(self, row: Row, number: int, tokens: _Tokens) -> bool:
        """Adds a token to a sample. -> whether another one may follow in this step."""
        task, drawn = row.task, tokens.drawn
        if drawn.errors and number in drawn.errors:
            self._fail(task, drawn.errors[number])
        if task.handle.done or row.reason is not None:
            return False
        self._counters.decoded += 1
        if task.request.sampling.top_log_probs:
            row.top.append(drawn.top[number] or NO_TOP)
        if tokens.raw_log_probs is not None:
            row.raw_log_probs.append(tokens.raw_log_probs[number])
        if task.request.kept_sets and (kept := drawn.kept[number]) is not None:
            row.kept.append(kept)
        if row.constraint is not None:
            return self._add_constrained(row, tokens.ids[number], tokens.log_probs[number])
        row.take(tokens.ids[number], tokens.log_probs[number])
        return True

    def _add_guessed(self, row: Row, guessed: Ids, first: int, tokens: _Tokens) -> None:
        """Adds the tokens that were guessed right, and the one behind them."""
        before = len(row.branch)
        last = first + accepted(guessed, tokens.ids[first : first + len(guessed) + 1])
        for number in range(first, last + 1):
            if not self._add(row, number, tokens):
                break
        if not row.task.handle.done:
            self._counters.accepted += row.forget_guesses(before, len(guessed))

    def _add_constrained(self, row: Row, token: int, log_prob: float) -> bool:
        """Adds a token to a constrained sample, and what is forced behind it. -> whether the request is still there."""
        try:
            row.take(token, log_prob)
        except Exception as error:
            self._fail(row.task, error)
            return False
        return self.force(row)
