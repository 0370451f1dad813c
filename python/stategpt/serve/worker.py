"""The thread that owns the schedulers: requests come in by a queue, events go out to the loop of the HTTP side.

Everything that touches a model happens here. Events of a step cross to the other thread in one call, those of a request
that is not streamed only when its last completion is finished.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from stategpt.errors import StategptError

from .asks import Ask, Schedules, Served
from .errors import ApiError

_LOG = logging.getLogger("stategpt.serve")
Received = tuple[int, Any]
"""Number of a choice, and an event of it."""


class Job:
    """A request on its way: what is asked, and what has come back. Its events are read by one coroutine.

    Args:
        served: the model.
        asks: what is asked, in the order of the choices.
        every: steps after which events are delivered, from the first token on; 0: when all choices are finished.

    Raises:
        InvalidArgument: settings that no request can have.
    """

    def __init__(self, served: Served, asks: Sequence[Ask], *, every: int) -> None:
        self.model = served.name
        self.requests = [(served.new_request(ask), ask.n) for ask in asks]
        """For the scheduler, each with its number of choices."""
        self.every = every
        self.steps = 0
        """Steps that brought it events; the worker's."""
        self.handles: list[Any] = []
        """Of the asks that the scheduler has taken; the worker's."""
        self.held: list[Received] = []
        """Events that are not delivered yet; the worker's."""
        self.open = sum(ask.n for ask in asks)
        """Choices that are not finished; the worker's."""
        self.untold_tokens = 0
        """Tokens that were sampled and not delivered when it was canceled; the worker's."""
        self.error: StategptError | None = None
        """Why it ended early."""
        self.done = False
        """Nothing more will come."""
        self._received: list[Received] = []
        self._news = asyncio.Event()

    def receive(self, events: list[Received], error: StategptError | None, done: bool) -> None:
        """Takes what the worker delivers; in the loop's thread."""
        self._received += events
        self.error = self.error or error
        self.done = self.done or done
        self._news.set()

    @property
    def unread_tokens(self) -> int:
        """Tokens that were delivered and not read."""
        return sum(len(event.ids) for _, event in self._received)

    async def next(self) -> list[Received]:
        """Waits for events and returns them; none when the job is done.

        Raises:
            StategptError: the job failed.
        """
        while not self._received and not self.done and self.error is None:
            await self._news.wait()
            self._news.clear()
        if self.error is not None:
            raise self.error
        events, self._received = self._received, []
        return events


@dataclass
class _Host:
    """A served model in the worker: its scheduler, and whose the running handles are."""

    served: Served
    scheduler: Schedules
    jobs: dict[int, tuple[Any, Job, int]] = field(default_factory=dict)
    """By the identity of a handle: the handle, its job, and the number of its first choice."""

    @property
    def running(self) -> list[Job]:
        """Jobs with a handle."""
        return list({id(job): job for _, job, _ in self.jobs.values()}.values())


class Worker:
    """Owns a scheduler for each served model and steps those that have work, in turn."""

    def __init__(self, served: Mapping[str, Served]) -> None:
        self._hosts = {name: _Host(each, each.new_scheduler()) for name, each in served.items()}
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="stategpt-engine", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._outbox: list[tuple[Job, list[Received], StategptError | None, bool]] = []
        self._stopping = False
        self.restarts = 0
        """Schedulers that were made again after a defect."""
        self.steps = 0
        """Steps of all schedulers."""

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begins to work; events go to `loop`."""
        self._loop = loop
        self._thread.start()

    def stop(self) -> None:
        """Cancels what runs, and waits for the thread's end."""
        self._commands.put(self._stop)
        self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def running(self) -> int:
        """Requests that the schedulers hold."""
        return sum(len(host.jobs) for host in self._hosts.values())

    def submit(self, job: Job) -> None:
        """Hands a job to its scheduler; events arrive in `job`. Called in the loop's thread."""
        if self._stopping:
            job.receive([], _stopped(), True)
        else:
            self._commands.put(lambda: self._submit(job))

    def cancel(self, job: Job, settle: Callable[[int], None] | None = None) -> None:
        """Ends a job, finished or not; it delivers nothing more. `settle` is then called in the loop's thread, with the
        number of its tokens that were sampled and not delivered.
        """
        self._commands.put(lambda: self._cancel(job, settle))

    def cancel_all(self, error: StategptError) -> None:
        """Ends every job with `error`."""
        self._commands.put(lambda: self._cancel_all(error))

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls a function in the worker's thread, between two steps."""
        future: Future[Any] = Future()

        def command() -> None:
            """Calls it, unless the caller has gone."""
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(function(*arguments))
            except Exception as error:
                future.set_exception(error)

        self._commands.put(command)
        return await asyncio.wrap_future(future)

    async def gauges(self) -> dict[str, Mapping[str, float]]:
        """Numbers of each scheduler, by the model's name."""
        return dict(await self.call(self._gauges))

    def _gauges(self) -> dict[str, Mapping[str, float]]:
        return {name: host.served.gauges(host.scheduler) for name, host in self._hosts.items()}

    def _run(self) -> None:
        try:
            while not self._stopping:
                working = any(host.scheduler.busy for host in self._hosts.values())
                self._take_commands(wait=not working)
                for host in self._hosts.values():
                    if host.scheduler.busy:
                        self._step(host)
                self._deliver()
        except BaseException as error:  # nothing can be computed any more; /health says so
            _LOG.critical("the engine's thread ended", exc_info=error)
        finally:
            self._stopping = True
            self._end()

    def _end(self) -> None:
        """Tells every job that nothing more comes; commands that nobody took are dropped."""
        for host in self._hosts.values():
            self._outbox += [(job, [], _stopped(), True) for job in host.running]
        self._deliver()

    def _take_commands(self, *, wait: bool) -> None:
        """Carries out what waits; with `wait` blocks for the first command."""
        try:
            command = self._commands.get(block=wait)
            while True:
                command()
                command = self._commands.get_nowait()
        except queue.Empty:
            return

    def _stop(self) -> None:
        self._stopping = True

    def _submit(self, job: Job) -> None:
        host = self._hosts[job.model]
        first = 0
        try:
            for request, choices in job.requests:
                handle = host.scheduler.submit(request)
                job.handles.append(handle)
                host.jobs[id(handle)] = (handle, job, first)
                first += choices
        except Exception as error:
            self._fail(host, job, error)

    def _step(self, host: _Host) -> None:
        self.steps += 1
        try:
            events = host.scheduler.step()
        except Exception as error:
            self._rebuild(host, error)
            return
        touched: dict[int, Job] = {}
        for event in events:
            found = host.jobs.get(id(event.handle))
            if found is None:  # canceled in this step
                continue
            _, job, first = found
            if event.error is not None:
                self._fail(host, job, event.error)
                touched.pop(id(job), None)
                continue
            job.held.append((first + event.sample, event))
            job.open -= event.finished is not None
            touched[id(job)] = job
        for job in touched.values():
            done = job.open == 0
            if done:
                self._forget(host, job)
            job.steps += 1
            if done or (job.every and (job.steps - 1) % job.every == 0):
                self._outbox.append((job, job.held, None, done))
                job.held = []

    def _forget(self, host: _Host, job: Job) -> None:
        for handle in job.handles:
            host.jobs.pop(id(handle), None)
        job.handles.clear()

    def _cancel(self, job: Job, settle: Callable[[int], None] | None = None) -> None:
        host = self._hosts[job.model]
        handles = list(job.handles)
        self._forget(host, job)
        job.untold_tokens += sum(len(event.ids) for _, event in job.held)
        job.held = []
        for handle in handles:
            try:
                host.scheduler.cancel(handle)
            except Exception as error:
                self._rebuild(host, error)
                break
            job.untold_tokens += handle.untold_tokens
        if settle is not None:
            self._in_loop(settle, job.untold_tokens)

    def _fail(self, host: _Host, job: Job, error: Exception) -> None:
        """Ends a job with an error; a defect is logged, and its text is not sent."""
        if not isinstance(error, StategptError):
            _LOG.error("a request of %s failed", host.served.name, exc_info=error)
            error = ApiError(500, "the engine failed at this request; the server's log has the reason", code="engine")
        self._outbox.append((job, [], error, True))
        self._cancel(job)

    def _rebuild(self, host: _Host, error: Exception) -> None:
        """After a defect in a scheduler: its requests fail, and a new one with new pages takes its place."""
        _LOG.error("the scheduler of %s failed; it is made again", host.served.name, exc_info=error)
        self.restarts += 1
        failure = ApiError(500, "the engine failed and was restarted; send the request again", code="engine")
        for job in host.running:
            self._outbox.append((job, [], failure, True))
            job.handles.clear()
        host.jobs.clear()
        host.scheduler = host.served.new_scheduler()

    def _cancel_all(self, error: StategptError) -> None:
        for host in self._hosts.values():
            for job in host.running:
                self._outbox.append((job, [], error, True))
                self._cancel(job)

    def _deliver(self) -> None:
        """Hands the outbox to the loop's thread, in one call."""
        if not self._outbox:
            return
        outbox, self._outbox = self._outbox, []
        self._in_loop(_receive_all, outbox)

    def _in_loop(self, function: Callable[[Any], None], argument: Any) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(function, argument)


def _receive_all(outbox: list[tuple[Job, list[Received], StategptError | None, bool]]) -> None:
    for job, events, error, done in outbox:
        job.receive(events, error, done)


def _stopped() -> ApiError:
    return ApiError(503, "the server has stopped", code="shutting_down")
