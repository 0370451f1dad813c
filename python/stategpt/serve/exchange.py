"""One HTTP exchange: the body with its limits, JSON answers, streams of events, and a client that leaves."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from stategpt.config.serve import ServeConfig
from stategpt.errors import StategptError
from stategpt.quantities import duration

from .errors import ApiError, api_error
from .worker import Job, Worker

_JSON = "application/json"
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
"""`json.dumps` would make one for each event."""


class ClientLeft(StategptError):
    """The client closed its connection before the answer was complete."""


async def read_body(request: Request, limits: ServeConfig) -> bytes:
    """The body of a request with JSON.

    A browser sends JSON to another site only after it asked that site, and this server never agrees: a page cannot
    make its visitor's browser use a server on the visitor's machine.

    Raises:
        ApiError: 415: not JSON by its type; 413: too large; 408: it does not arrive in time.
        ClientLeft: the connection ended.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _JSON:
        raise ApiError(415, f"the content type is {kind!a:.80}; send application/json", code="unsupported_media_type")
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limits.max_body_bytes:
        raise _too_large(limits)
    parts, size = [], 0
    try:
        async with asyncio.timeout(limits.body_seconds):
            while True:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeft("the client left while it sent its request")
                size += len(message.get("body", b""))
                if size > limits.max_body_bytes:
                    raise _too_large(limits)
                parts.append(message.get("body", b""))
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        message_text = f"the body did not arrive within {duration(limits.body_seconds)}"
        raise ApiError(408, message_text, code="timeout", headers={"Connection": "close"}) from None


def _too_large(limits: ServeConfig) -> ApiError:
    message = f"the body is larger than {limits.max_body_bytes} bytes, what this server reads"
    return ApiError(413, message, code="request_too_large", headers={"Connection": "close"})


def json_response(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer of JSON."""
    return Response(_encoded(content), status, headers, _JSON)


def _encoded(content: Any) -> bytes:
    # A model may produce half of a character in a \\u escape of its JSON; the answer's own text never holds one.
    return _ENCODER.encode(content).encode("utf-8", "replace")


def error_response(error: ApiError) -> Response:
    """The answer to a request that failed."""
    return json_response(error.body(), error.status, error.headers)


class Watch:
    """Ends a job when its client leaves: the worker cancels it, and who waits for its events gets `ClientLeft`."""

    def __init__(self, request: Request, job: Job, worker: Worker) -> None:
        self._task = asyncio.create_task(self._wait(request.receive, job, worker))

    @staticmethod
    async def _wait(receive: Receive, job: Job, worker: Worker) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        worker.cancel(job)
        job.receive([], ClientLeft("the client left before the answer was complete"), True)

    def stop(self) -> None:
        """Watches no longer."""
        self._task.cancel()


class EventStream(Response):
    """Server-sent events. An error after the first one is a separate event, since the status is sent.

    Args:
        pieces: groups of events to send, each as JSON.
        limits: how long a client may take to accept the next piece.
    """

    media_type = "text/event-stream"

    def __init__(self, pieces: AsyncGenerator[list[Any], None], limits: ServeConfig) -> None:
        super().__init__(None, headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        self._pieces = pieces
        self._seconds = limits.send_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the pieces as they come."""
        headers = [(name, value) for name, value in self.raw_headers if name != b"content-length"]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        last = b"data: [DONE]\n\n"
        try:
            async with contextlib.aclosing(self._pieces) as pieces:  # whatever ends it, its request ends now
                async for events in pieces:
                    await self._send(send, b"".join(_event(event) for event in events))
        except (ClientLeft, TimeoutError):
            return
        except Exception as error:
            last = _event(api_error(error).body())
        await self._send(send, last, more=False)

    async def _send(self, send: Send, body: bytes, more: bool = True) -> None:
        async with asyncio.timeout(self._seconds):
            await send({"type": "http.response.body", "body": body, "more_body": more})


def _event(content: Any) -> bytes:
    return b"data: " + _encoded(content) + b"\n\n"
