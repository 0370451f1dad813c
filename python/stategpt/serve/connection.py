"""Connections: how many there may be, and how long one may take to send a request's headers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from stategpt.config.serve import ServeConfig

from .errors import busy


def protocol_class(limits: ServeConfig) -> type[H11Protocol]:
    """uvicorn's HTTP/1.1 with the limits of connections; uvicorn itself waits for headers without end."""

    class LimitedProtocol(H11Protocol):
        """One connection."""

        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            """Counts the connection; one too many is answered with 503, far too many are closed at once."""
            super().connection_made(transport)
            if len(self.connections) > 2 * limits.max_connections:
                transport.abort()
            elif len(self.connections) > limits.max_connections:
                self.app = _refuse
            self._wait_for_headers()

        def data_received(self, data: bytes) -> None:
            """Starts the time of a request's headers at their first byte, and stops it at their last."""
            super().data_received(data)
            if self.cycle is None or self.cycle.response_complete:
                self._wait_for_headers()
            else:
                self._stop_waiting()

        def connection_lost(self, exc: Exception | None) -> None:
            """Ends the connection."""
            self._stop_waiting()
            super().connection_lost(exc)

        def _wait_for_headers(self) -> None:
            if self._timer is None:
                self._timer = self.loop.call_later(limits.header_seconds, self.transport.abort)

        def _stop_waiting(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return LimitedProtocol


async def _refuse(scope: Any, receive: Any, send: Any) -> None:
    """Answers a request on a connection beyond the limit."""
    error = busy("the server has as many connections as it takes; try again later")
    body = json.dumps(error.body()).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
