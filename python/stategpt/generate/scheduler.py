"""The scheduler: many requests, one flat pass of the model a step.

A step computes one token of every running sample, then parts of prompts within a budget of tokens, and draws the next
tokens. A prompt is computed once for all its samples, and what requests of one scope share is computed once for all of
them: a request whose beginning another one is just computing waits for it. When pages run out the youngest sample gives
up its own and is computed again later; the oldest always continues, so nothing can block. One thread drives it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stategpt.arguments import Ids
from stategpt.errors import EngineError, OutOfPages, QueueFull, StategptError
from stategpt.model import GPT, Precision, autocast

from .admission import Admission
from .branch import Branch
from .drawing import Drawing
from .forward import StepResult, Work, run_step
from .handle import Handle
from .kv_memory import KVMemory
from .log_prob_rows import score_tokens
from .masks_ahead import MasksAhead
from .padding import Padding
from .pages import PAGE_TOKENS, pages_of
from .request import NO_IDS, Counters, Event, Limits, Request
from .requests import check_request
from .row import Row
from .task import Deliver, Task

if TYPE_CHECKING:
    from stategpt.tokenizer.tokenizer import AnyTokenizer


class Scheduler:
    """Runs requests over `model`; `Engine.scheduler` is the one of an engine.

    handle = scheduler.submit(engine.request("Return", n=4))
    while scheduler.busy:
        for event in scheduler.step(): ...
    """

    def __init__(
        self,
        model: GPT,
        tok: AnyTokenizer,
        memory: KVMemory,
        end_ids: Iterable[int],
        *,
        limits: Limits | None = None,
        precision: Precision = "float32",
    ) -> None:
        self.model, self.tok, self.memory, self.precision = model, tok, memory, precision
        self.limits = limits or Limits()
        """What it takes at a time."""
        self.counters = Counters()
        """What it did so far."""
        self._ends = frozenset(end_ids)
        self._ahead = MasksAhead.of(self.limits, model.device)
        self._padding = Padding(range(tok.vocab_size, model.config.vocab_size))
        self._tasks: dict[int, Task] = {}
        self._queue = Admission(memory, self.limits, self.counters)
        self._drawing = Drawing(model, tok.vocab_size, self.counters, self._fail)
        self._outbox: list[Event] = []
        self._events: list[tuple[Task, Event]] = []
        self._number = 0

    @property
    def busy(self) -> bool:
        """Whether `step` has something to do or to tell."""
        return bool(self._tasks or self._outbox)

    @property
    def accepts(self) -> bool:
        """Whether one more request may wait."""
        return len(self._queue.waiting) < self.limits.waiting

    @property
    def waiting(self) -> int:
        """Requests none of whose samples has begun and whose prompt is not being computed."""
        return sum(task.started == 0 for task in self._queue.waiting)

    @property
    def running(self) -> int:
        """Samples that run."""
        return len(self._queue.rows)

    def submit(self, request: Request, deliver: Deliver | None = None) -> Handle:
        """Enters a request. With `deliver` its events go there, and `step` does not return them.

        Raises:
            QueueFull: as many requests wait as `limits.waiting` says.
            OutOfPages: prompt and samples never fit the memory for keys and values.
            ContextOverflow, InvalidArgument, UnknownToken: a request that no model could take.
        """
        return self.enter(request, deliver).handle

    def enter(
        self,
        request: Request,
        deliver: Deliver | None = None,
        *,
        source: Branch | None = None,
        scored_from: int | None = None,
        samples: bool = True,
        keep: bool = False,
    ) -> Task:
        """`submit` for sessions: `source` holds a beginning of the ids; `scored_from` wants the log-probabilities from
        that position on; without `samples` nothing is drawn; `keep` leaves the branch open that it makes.
        """
        config = self.model.config
        context = config.context_tokens
        check_request(request, context if samples else context + 1, config.vocab_size)
        tokens = min(context, len(request.ids) + (request.max_tokens if samples else 0))
        if pages_of(tokens) > self.memory.pages:
            raise OutOfPages(
                f"a prompt of {len(request.ids)} tokens and max_tokens {request.max_tokens} take "
                f"{pages_of(tokens)} pages of {PAGE_TOKENS} tokens, the engine has {self.memory.pages}; "
                "lower max_tokens, shorten the prompt, or give the engine a larger kv_bytes"
            )
        if not self.accepts:
            raise QueueFull(
                f"{len(self._queue.waiting)} requests wait, as many as limits.waiting allows; "
                "try again when some have finished"
            )
        request = self._padding.removed_from(request)
        handle = Handle(self._number, request)
        self._number += 1
        task = Task(handle, self.tok, self._ends, context, self.memory.generation, deliver)
        task.source, task.keep = source, keep
        if not samples:
            task.samples = 0
        if scored_from is not None:
            task.scored_from, task.prefix = scored_from, request.ids[:-1]
        self._tasks[handle.number] = task
        self._queue.waiting.add(task)
        return task

    def cancel(self, handle: Handle) -> None:
        """Ends a request at once: its pages are free, and no event of it comes any more. Harmless when it is done."""
        task = self._tasks.pop(handle.number, None)
        if task is None or task.handle is not handle:
            return
        handle.untold_tokens = self._queue.untold_tokens(task)
        self._queue.remove(task)
        self._outbox = [event for event in self._outbox if event.handle is not handle]
        handle.done = handle.cancelled = True
        self.counters.cancelled += 1

    def step(self) -> list[Event]:
        """Computes one step; returns what it added, of requests without `deliver`.

        An error of the model ends the requests that took part in the step, each with an event; the others continue.
        """
        self.advance()
        events, self._outbox = self._outbox, []
        return events

    def advance(self) -> None:
        """`step`, whose events stay for the next `step`."""
        if not self._tasks:
            return
        self.counters.steps += 1
        with torch.inference_mode(), autocast(self.precision, self.model.device):
            self._step()
        events, self._events = self._events, []
        for task, event in events:
            if task.deliver is None:
                self._outbox.append(event)
            else:
                task.deliver(event)

    def close(self) -> None:
        """Cancels everything."""
        self._ahead.close()
        for task in list(self._tasks.values()):
            self.cancel(task.handle)

    def _step(self) -> None:
        queue = self._queue
        started = self._begin(queue.admit())
        for task, error in queue.impossible:
            self._fail(task, error)
        queue.impossible.clear()
        self._ahead.begin([row.constraint for row in queue.rows if row.constraint is not None])
        try:
            result, rows = self._compute()
        finally:
            self._ahead.wait()
        for task in [task for task in queue.prefilling if task.stem is not None and not task.stem.pending]:
            if task.samples:
                started += self._begin(queue.computed(task))
            else:
                self._scored(task)
        rows = [(number, row) for number, row in rows if self._drawing.mask(row)]
        # One that has just started may have given up its pages to an older one.
        started = [row for row in started if self._drawing.mask(row) and row.branch.hidden_W is not None]
        if rows or started:
            self._tell(self._drawing.draw(rows, started, result))

    def _begin(self, rows: list[Row]) -> list[Row]:
        """Adds what constraints force before the first draw. -> samples that draw from the prompt's hidden state."""
        drawing, finished = [], []
        for row in rows:
            if row.constraint is not None and not self._drawing.force(row):
                continue
            if row.reason is not None:
                finished.append(row)
            elif row.branch.hidden_W is not None:
                drawing.append(row)
        self._tell(finished)
        return drawing

    def _compute(self) -> tuple[StepResult | None, list[tuple[int, Row]]]:
        """Runs the model. -> hidden states, and the samples that draw from them, with their places among the work."""
        queue = self._queue
        chosen = queue.work()
        while chosen:
            try:
                result = run_step(self.model, self.memory.pool, [work for work, _ in chosen], self.counters)
            except OutOfPages as error:
                if any(len(work.guessed) for work, _ in chosen):  # no sample gives up pages for guesses of others
                    chosen = [(work._replace(guessed=NO_IDS), owner) for work, owner in chosen]
                    continue
                lost = queue.preempt()
                if lost is None:
                    self._fail(_task_of(chosen[0][1]), error)
                    break
                chosen = [(work, owner) for work, owner in chosen if owner is not lost]
            except Exception as error:  # whatever a module raises ends those that took part, and nobody else
                for task in {id(task): task for task in (_task_of(owner) for _, owner in chosen)}.values():
                    self._fail(task, error)
                break
            else:
                rows = []
                for number, (work, owner) in enumerate(chosen):
                    if isinstance(owner, Task):
                        self._prefilled_or_failed(owner, work, result, number)
                    elif work.branch.pending <= 0:  # below 0 by what was guessed
                        rows.append((number, owner))
                return result, rows
        return None, []

    def _prefilled_or_failed(self, task: Task, work: Work, result: StepResult, number: int) -> None:
        try:
            self._prefilled(task, work, result, number)
        except Exception as error:  # the logits of a prompt may be too large, say
            self._fail(task, error)

    def _prefilled(self, task: Task, work: Work, result: StepResult, number: int) -> None:
        """Takes a part of a prompt: its log-probabilities, its pages for others, at the end its hidden state."""
        stem, last = work.branch, result.last[number]
        end = stem.sequence.length
        if task.scored_from is not None:
            first = max(end - work.tokens, task.scored_from - 1)
            targets = task.request.ids[first + 1 : end + 1]
            if len(targets):
                place = last + 1 - (end - first)
                hidden_NW = result.hidden_NW[place : place + len(targets)]
                task.scores[first + 1 : first + 1 + len(targets)] = self._score(hidden_NW, targets)
        elif task.generation == self.memory.generation:
            self.memory.index.insert(stem.prompt[:end], stem.sequence.pages, task.scope)
        if not stem.pending:
            stem.hidden_W = result.hidden_NW[last].clone()
            if task.request.prompt_log_probs:
                task.handle.prompt_log_probs = task.scores

    def _scored(self, task: Task) -> None:
        """Ends a request without samples: for log-probabilities, or to have a session computed."""
        first = task.scored_from
        if first is not None and task.first_hidden_W is not None:
            targets = task.request.ids[first : first + 1]
            task.scores[first] = self._score(task.first_hidden_W[None], targets)[0]
        if task.keep:
            task.kept, task.stem = task.stem, None
        self._queue.remove(task)
        task.handle.done = True
        del self._tasks[task.handle.number]

    def _score(self, hidden_TW: Tensor, ids: Ids) -> NDArray[np.float32]:
        """Log-probability of each id under the model's own distribution, from the hidden state before it."""
        return score_tokens(self.model.unembed, hidden_TW, ids, vocabulary=self.tok.vocab_size).log_probs_T

    def _tell(self, rows: Iterable[Row]) -> None:
        """Makes the events of samples, and takes out those that are finished."""
        finished = []
        for row in rows:
            if row.task.handle.done:  # it failed meanwhile
                continue
            event = row.event()
            self._events.append((row.task, event))
            if row.reason is not None:
                finished.append(row)
        if finished:
            self._finish(finished)

    def _finish(self, rows: list[Row]) -> None:
        self._queue.finish(rows)
        self.counters.finished += len(rows)
        for row in rows:
            task, branch = row.task, row.branch
            if self.memory.keep_prefixes and task.generation == self.memory.generation:
                self.memory.index.insert(branch.ids()[: branch.sequence.length], branch.sequence.pages, task.scope)
            if task.keep:
                task.kept = branch
                self.memory.finished.add(branch)
            else:
                branch.close()
            if not task.left and not task.running and not task.handle.done:
                task.handle.done = True
                del self._tasks[task.handle.number]

    def _fail(self, task: Task, error: Exception) -> None:
        """Ends a request with an error."""
        if task.handle.done:
            return
        self._queue.remove(task)
        if task.kept is not None:
            task.kept.close()
        if not isinstance(error, StategptError):
            found = EngineError(f"the model or a constraint failed: {type(error).__name__}: {error}")
            found.__cause__ = error
            error = found
        task.handle.error, task.handle.done = error, True
        self.counters.failed += 1
        self._tasks.pop(task.handle.number, None)
        self._events.append((task, Event(task.handle, -1, error=error)))


def _task_of(owner: Row | Task) -> Task:
    return owner.task if isinstance(owner, Row) else owner
