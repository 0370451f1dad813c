"""The endpoints that sample: /v1/chat/completions and /v1/completions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any, Literal

from starlette.requests import Request
from starlette.responses import Response

from stategpt.quantities import duration

from .answers import Answer
from .asks import Served
from .errors import bad_field, busy
from .exchange import ClientLeft, EventStream, Watch, json_response, read_body
from .fields import Fields, chat_fields, completion_fields, read_fields
from .keys import Key, Reservation
from .reading import Wanted, compiled, read_chat, read_completion
from .worker import Job, Received

if TYPE_CHECKING:
    from .app import Context

_SMALL_BYTES = 16 << 10
"""A body of fewer bytes is read and tokenized in the loop's thread: another one costs more than it saves."""
Read = Callable[[Fields, Served, Any, str], Wanted]


class Sampled:
    """Handlers of both endpoints."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._chat, self._completion = chat_fields(context.config), completion_fields(context.config)

    async def chat(self, request: Request) -> Response:
        """Answers /v1/chat/completions."""
        return await self._answer(request, "chat")

    async def completion(self, request: Request) -> Response:
        """Answers /v1/completions."""
        return await self._answer(request, "completion")

    async def _answer(self, request: Request, endpoint: Literal["chat", "completion"]) -> Response:
        context, started = self._context, time.monotonic()
        key: Key | None = request.state.key
        body = await read_body(request, context.config)
        if len(body) < _SMALL_BYTES:
            wanted = self._read(body, endpoint, key)
        else:
            wanted = await asyncio.to_thread(self._read, body, endpoint, key)
        reservation = context.keys.reserve(key, wanted.worst_tokens)
        exchange = _Exchange(context, request, wanted, reservation, started)
        try:
            wanted = await self._with_constraint(wanted)
            exchange.begin(wanted)
            if not wanted.streamed:
                return json_response(await exchange.whole())
            first = await exchange.next()  # an error before the first token has a status
        except BaseException:
            exchange.end()
            raise
        finally:
            if not wanted.streamed:
                exchange.end()
        return EventStream(exchange.pieces(first), context.config)

    def _read(self, body: bytes, endpoint: Literal["chat", "completion"], key: Key | None) -> Wanted:
        context = self._context
        fields = read_fields(body, self._chat if endpoint == "chat" else self._completion)
        needed = "messages" if endpoint == "chat" else "prompt"
        if needed not in fields:
            raise bad_field(needed, f"{needed} is missing", "missing_required_parameter")
        served = context.model(fields.get("model"))
        read: Read = read_chat if endpoint == "chat" else read_completion
        return read(fields, served, context.config, context.scope(key))

    async def _with_constraint(self, wanted: Wanted) -> Wanted:
        """Compiles the constraint in another thread. One that takes too long is an error; its thread ends by itself.

        Raises:
            ApiError: 400: it cannot be compiled, or not in time; 503: all compilers were at work on others that long.
        """
        if wanted.constraint is None:
            return wanted
        seconds, param = self._context.config.compile_seconds, wanted.constraint_param
        work = self._context.compilers.submit(compiled, wanted.served, wanted.constraint, param)
        try:
            return wanted.with_constraint(await asyncio.wait_for(asyncio.wrap_future(work), seconds))
        except TimeoutError:
            if work.cancelled():  # it had not begun
                raise busy("the constraints of other requests are being compiled; try again later") from None
            message = f"{param} is not compiled after {duration(seconds)}; make it simpler"
            raise bad_field(param, message, "schema_too_complex") from None


class _Exchange:
    """A request from its submission to its end, whatever ends it."""

    def __init__(
        self, context: Context, request: Request, wanted: Wanted, reservation: Reservation, started: float
    ) -> None:
        self._context, self._request, self._reservation, self._started = context, request, reservation, started
        self.job: Job | None = None
        self.answer = Answer(wanted)
        self._watch: Watch | None = None
        self._key: Key | None = request.state.key
        self._ended = False

    def begin(self, wanted: Wanted) -> None:
        """Submits the request, with its constraint, and watches for a client that leaves."""
        every = self._context.config.stream_tokens if wanted.streamed else 0
        self.job = Job(wanted.served, wanted.asks, every=every)
        self._watch = Watch(self._request, self.job, self._context.worker)
        self._context.worker.submit(self.job)

    async def whole(self) -> Any:
        """Waits for everything and returns the answer."""
        while events := await self.next():
            self._add(events)
        return self.answer.whole()

    async def next(self) -> list[Received]:
        """Waits for events; none when there are no more."""
        assert self.job is not None
        return await self.job.next()

    async def pieces(self, events: list[Received]) -> AsyncGenerator[list[Any], None]:
        """Yields the chunks of a stream; `events` came already."""
        try:
            while events:
                self._add(events)
                chunks = self.answer.chunks([index for index, _ in events])
                if chunks:
                    yield chunks
                events = await self.next()
            if self.answer.wanted.include_usage:
                yield [self.answer.usage_chunk()]
        except ClientLeft:
            self._context.metrics.disconnects.add()
            raise
        finally:
            self.end()

    def _add(self, events: list[Received]) -> None:
        if self._started:
            self._context.metrics.first_token.observe(time.monotonic() - self._started)
            self._started = 0.0
        for index, event in events:
            self.answer.add(index, event)

    def end(self) -> None:
        """Frees what the request holds, once: its pages if it runs, its reservation, its watch."""
        if self._ended:
            return
        self._ended = True
        if self._watch is not None:
            self._watch.stop()
        job, sampled = self.job, self.answer.sampled
        if job is None:
            self._settle(0, 0)
        elif not job.done or isinstance(job.error, ClientLeft):  # one who leaves pays for what was computed
            self._context.worker.cancel(
                job, lambda untold: self._settle(self.answer.usage.prompt, sampled + job.unread_tokens + untold)
            )
        else:
            if job.error is not None:
                self._context.worker.cancel(job)
            # A request that failed before its first token used nothing.
            self._settle(self.answer.usage.prompt if sampled else 0, sampled)

    def _settle(self, prompt: int, sampled: int) -> None:
        """Charges tokens to the key, and counts them."""
        self._reservation.settle(prompt + sampled)
        model, metrics = self.answer.wanted.served.name, self._context.metrics
        metrics.prompt_tokens.add(prompt, model=model)
        metrics.cached_tokens.add(self.answer.usage.cached, model=model)
        metrics.generated_tokens.add(sampled, model=model)
        if self._key is not None:
            metrics.key_tokens.add(prompt + sampled, key=self._key.name)
