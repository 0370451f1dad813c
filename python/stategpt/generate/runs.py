"""Calls that run requests to their end: what `Engine.generate` and sessions are made of.

A call gives the scheduler requests as it takes them, so a million prompts neither wait in it nor hold pages. However
the call ends, nothing of it stays.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stategpt.errors import StategptError

from .completion import Completion, Piece, Usage
from .handle import Handle
from .kv_memory import KVMemory
from .request import Event, Request
from .scheduler import Scheduler
from .task import Deliver, Task

Progress = Callable[[int, int], None]
"""Called with (completions done, total number of completions)."""


class Run:
    """One call of an engine: its requests, until all are done or one fails."""

    def __init__(self, scheduler: Scheduler, memory: KVMemory) -> None:
        self._scheduler, self._memory = scheduler, memory
        self._events: deque[Event] = deque()
        self._open: dict[int, int] = {}
        """Number of each request that is not done, by its handle's."""

    def events(self, requests: Sequence[Request], *, incremental: bool) -> Iterator[tuple[int, Event, Handle]]:
        """Yields events as they come, with the request's place in `requests`."""

        def submit(request: Request) -> Callable[[Deliver], Task]:
            """Enters one request."""
            return lambda deliver: self._scheduler.enter(replace(request, incremental=incremental), deliver)

        return self._drive(map(submit, requests))

    def completions(self, requests: Sequence[Request], progress: Progress | None) -> list[Completion]:
        """Completions of all requests, those of one next to each other; `progress` is called as they finish."""
        firsts = np.cumsum([0, *(request.n for request in requests)]).tolist()
        done: dict[int, Completion] = {}
        for index, event, handle in self.events(requests, incremental=False):
            done[firsts[index] + event.sample] = completion_of(index, event, handle)
            if progress is not None:
                progress(len(done), firsts[-1])
        return [done[place] for place in range(firsts[-1])]

    def tasks(
        self, entries: Iterable[Callable[[Deliver], Task]], tell: Callable[[int, Event], None] | None = None
    ) -> list[Task]:
        """Runs tasks to their end, each entered by a call; `tell` gets their events. -> the tasks, in their order."""
        made: list[Task] = []

        def recorded(enter: Callable[[Deliver], Task]) -> Callable[[Deliver], Task]:
            """Keeps the task that is entered."""

            def entered(deliver: Deliver) -> Task:
                """Enters it."""
                made.append(enter(deliver))
                return made[-1]

            return entered

        try:
            for number, event, _ in self._drive(map(recorded, entries)):
                if tell is not None:
                    tell(number, event)
        except BaseException:
            for task in made:
                if task.kept is not None:
                    task.kept.close()
            raise
        return made

    def score(self, requests: Sequence[Request], firsts: Sequence[int]) -> list[NDArray[np.float32]]:
        """Log-probabilities of each request's ids from position `firsts[i]` on."""

        def entry(request: Request, first: int) -> Callable[[Deliver], Task]:
            """Enters one text."""
            return lambda deliver: self._scheduler.enter(request, deliver, scored_from=first, samples=False)

        tasks = self.tasks(map(entry, requests, firsts))
        return [task.scores[first:] for task, first in zip(tasks, firsts, strict=True)]

    def _drive(self, entries: Iterable[Callable[[Deliver], Task]]) -> Iterator[tuple[int, Event, Handle]]:
        scheduler, waiting = self._scheduler, enumerate(entries)
        handles: dict[int, tuple[int, Handle]] = {}
        self._memory.begin()
        exhausted = False
        try:
            while True:
                while not exhausted and len(handles) < 2 * scheduler.limits.rows and scheduler.accepts:
                    following = next(waiting, None)
                    if following is None:
                        exhausted = True
                        break
                    number, enter = following
                    task = enter(self._events.append)
                    handles[task.handle.number] = (number, task.handle)
                if exhausted and not handles:
                    return
                scheduler.advance()
                while self._events:
                    event = self._events.popleft()
                    if event.error is not None:
                        raise _original(event.error)
                    yield handles[event.handle.number][0], event, event.handle
                handles = {key: entry for key, entry in handles.items() if not entry[1].done}
        finally:
            for _, handle in handles.values():
                scheduler.cancel(handle)
            self._events.clear()
            self._memory.end()


def joined_events(events: Sequence[Event]) -> Event:
    """One event with what the events of a sample added, in order."""
    first, last = events[0], events[-1]
    if first is last:
        return first
    return replace(
        last,
        ids=np.concatenate([event.ids for event in events]),
        text="".join(event.text for event in events),
        log_probs=np.concatenate([event.log_probs for event in events]),
        raw_log_probs=np.concatenate([event.raw_log_probs for event in events]),
        top=tuple(top for event in events for top in event.top),
        kept=tuple(kept for event in events for kept in event.kept),
    )


def completion_of(number: int, event: Event, handle: Handle) -> Completion:
    """The completion that the only event of a sample holds."""
    assert event.finished is not None  # requests that are not incremental have no other events
    return Completion(
        prompt_index=number,
        sample_index=event.sample,
        ids=event.ids,
        log_probs=event.log_probs,
        ended=event.finished == "end",
        reason=event.finished,
        text=event.text,
        raw_log_probs=event.raw_log_probs,
        top=event.top,
        kept=event.kept,
        prompt_log_probs=handle.prompt_log_probs,
        usage=Usage(handle.prompt_tokens, handle.cached_tokens, len(event.ids)),
        complete=event.complete,
        thoughts=event.thoughts,
    )


def piece_of(number: int, event: Event) -> Piece:
    """What an event added, as a piece of a stream."""
    return Piece(
        number,
        event.sample,
        event.text,
        event.ids,
        event.log_probs,
        event.raw_log_probs,
        event.top,
        event.finished,
        event.complete,
        event.thoughts,
    )


def _original(error: StategptError) -> BaseException:
    """What a module raised, rather than the error that tells of it: callers of a call catch that."""
    return error.__cause__ or error
