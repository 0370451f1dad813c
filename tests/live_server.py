"""A server in this process, on a free port of the loopback address, and small ways to talk to it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from stategpt.config.serve import ServeConfig
from stategpt.serve.app import Context, build_app
from stategpt.serve.asks import Served
from stategpt.serve.keys import Keys
from stategpt.serve.server import Server, address_of, open_socket

WAIT_SECONDS = 60
CONFIG = ServeConfig(port=0, kv_bytes=4 << 20, grace_seconds=5)


class LiveServer:
    """A running server."""

    def __init__(self, server: Server, context: Context, sock: socket.socket) -> None:
        self.server, self.context = server, context
        self.url = address_of(sock)
        self.port = sock.getsockname()[1]

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_SECONDS)

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        """Status and JSON of an answer; `body` is JSON, or bytes as they are."""
        status, content, _ = self.request("POST", path, body, **headers)
        return status, json.loads(content)

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        status, content, _ = self.request("GET", path, None, **headers)
        return status, content

    def request(self, method: str, path: str, body: Any, **headers: str) -> tuple[int, str, Mapping[str, str]]:
        connection = self.connection()
        try:
            data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            given = {"Content-Type": "application/json", **{name.replace("_", "-"): headers[name] for name in headers}}
            connection.request(method, path, data, given)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()

    def events(self, path: str, body: Any) -> list[Any]:
        """The events of a stream, without the [DONE] at its end, which must be there."""
        status, content, headers = self.request("POST", path, {**body, "stream": True})
        assert status == 200, content
        assert headers["content-type"].startswith("text/event-stream")
        parts = content.split("\n\n")
        assert parts[-2:] == ["data: [DONE]", ""]
        return [json.loads(part.removeprefix("data: ")) for part in parts[:-2]]

    def settled(self) -> dict[str, Mapping[str, float]]:
        """Numbers of the schedulers once nothing runs any more."""
        worker = self.context.worker
        while worker.alive and (worker.running or not self._idle()):
            self.gauges()  # a round trip through the worker: it does the waiting
        return self.gauges()

    def _idle(self) -> bool:
        return all(numbers["running"] == numbers["waiting"] == 0 for numbers in self.gauges().values())

    def gauges(self) -> dict[str, Mapping[str, float]]:
        loop = self.context.worker._loop
        assert loop is not None
        return asyncio.run_coroutine_threadsafe(self.context.worker.gauges(), loop).result(WAIT_SECONDS)


def wait_until(condition: Callable[[], bool]) -> None:
    """Waits until something is so; fails where it never comes."""
    pause, last = threading.Event(), time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < last, f"not so after {WAIT_SECONDS} s"
        pause.wait(0.01)


@contextlib.contextmanager
def live_server(
    served: Mapping[str, Served], config: ServeConfig = CONFIG, keys: Keys | None = None
) -> Iterator[LiveServer]:
    """Runs a server until the `with` ends."""
    app = build_app(served, config, keys or Keys((), lambda: 0.0))
    server = Server(app, config)
    with open_socket(replace(config, host="127.0.0.1", open=True)) as sock:
        sock.listen(2048)
        live = LiveServer(server, app.state.context, sock)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        try:
            status, content = live.get("/health")
            assert status == 200, content
            yield live
        finally:
            server.should_exit = True
            thread.join(WAIT_SECONDS)
            assert not thread.is_alive()
