"""Runs the application: the socket, uvicorn with limits of connections, and a shutdown that lets requests finish."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from typing import Any

import uvicorn
from starlette.applications import Starlette

from stategpt.config.serve import ServeConfig
from stategpt.errors import ConfigError

from .connection import protocol_class
from .errors import ApiError

_LOG = logging.getLogger("stategpt.serve")
_CANCEL_SECONDS = 5.0
"""How long canceled requests may take to send their error."""
_OTHER_FILES = 128
"""Files that are no connections: models, the log, the loop's own."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Server(uvicorn.Server):
    """A server of `app`.

    When it stops, it takes no further request; those that run may finish for `grace_seconds`, and are then canceled
    with an error that their clients see.
    """

    def __init__(self, app: Starlette, config: ServeConfig) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol_class(config),
                ws="none",
                lifespan="on",
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=max(1, round(config.keep_alive_seconds)),
                timeout_graceful_shutdown=max(1, round(config.grace_seconds + _CANCEL_SECONDS)),
            )
        )
        self._context: Any = app.state.context
        self._grace = config.grace_seconds
        self._context.connections = self.server_state.connections

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops: see the class."""
        self._context.draining = True
        error = ApiError(503, "the server is stopping; send the request again later", code="shutting_down")
        timer = asyncio.get_running_loop().call_later(self._grace, self._context.worker.cancel_all, error)
        try:
            await super().shutdown(sockets)
        finally:
            timer.cancel()


def open_socket(config: ServeConfig) -> socket.socket:
    """A socket that listens at the configured address.

    Raises:
        ConfigError: the address is not one of this machine, or taken; it can be reached from other machines and nobody
            needs a key.
    """
    if config.host not in _LOOPBACK and not config.api_keys and not config.open:
        raise ConfigError(
            f"serve.host = {config.host!r} can be reached from other machines, and nobody needs a key; give --api-keys "
            "FILE, or serve.open = true if that is meant"
        )
    try:
        found = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        sock = socket.socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(address)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise ConfigError(
            f"cannot listen at {config.host} port {config.port}: {error.strerror}; give another --port (0: a free one)"
        ) from None
    sock.set_inheritable(False)
    return sock


def allow_open_files(config: ServeConfig) -> None:
    """Raises the process's limit of open files to what the connections need: most systems begin with 1,024.

    A server without a free file cannot even refuse a connection, so there is room for twice as many as it takes.
    """
    if sys.platform == "win32":
        return
    import resource

    needed = 2 * config.max_connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < needed:
        _LOG.warning(
            "the system allows %d open files; serve.max_connections = %d needs %d. Lower it, or raise the limit "
            "(ulimit -n)",
            allowed,
            config.max_connections,
            needed,
        )


def address_of(sock: socket.socket) -> str:
    """The base URL of what listens at a socket."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
