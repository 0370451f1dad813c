"""The HTTP application: routes, who may ask, limits, errors."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from stategpt.config.serve import ServeConfig
from stategpt.visible_text import visible_line

from .asks import Served
from .embeddings import embeddings
from .errors import ApiError, api_error
from .exchange import ClientLeft, error_response, json_response
from .keys import Key, Keys
from .metrics import Metrics
from .sampled import Sampled
from .texts import detokenize, tokenize
from .worker import Worker

_LOG = logging.getLogger("stategpt.serve")
_LOCAL = ("localhost", "127.0.0.1", "[::1]", "::1")
_OPEN_PATHS = ("/health",)
"""What is answered without a key."""
_COMPILERS = 4
"""Constraints that are compiled at a time."""
Handler = Callable[[Request], Awaitable[Response]]


class Context:
    """What handlers share.

    Args:
        served: the models by their names, the default first.
        config: limits.
        keys: who may ask.
    """

    def __init__(self, served: Mapping[str, Served], config: ServeConfig, keys: Keys) -> None:
        self.served = dict(served)
        self.config = config
        self.keys = keys
        self.metrics = Metrics()
        self.compilers = ThreadPoolExecutor(_COMPILERS, "stategpt-constraint")
        """Threads that compile constraints: apart from those that read requests, which one that hangs would hold up."""
        self.worker = Worker(self.served)
        self.connections: Collection[Any] = ()
        """Open connections, as the server counts them."""
        self.draining = False
        """The server is stopping: it takes no further request."""

    def model(self, name: str | None) -> Served:
        """The model of that name; the first one where none is given.

        Raises:
            ApiError: 404: there is none.
        """
        if name is None:
            return next(iter(self.served.values()))
        found = self.served.get(name)
        if found is None:
            there = ", ".join(self.served)
            raise ApiError(
                404, f"no model is called {name!a:.100}; there are {there}", param="model", code="model_not_found"
            )
        return found

    def scope(self, key: Key | None) -> str:
        """Whose requests share prefixes with those of `key`."""
        return key.name if key is not None and self.config.share_prefixes == "key" else ""


def build_app(served: Mapping[str, Served], config: ServeConfig, keys: Keys) -> Starlette:
    """The application; its worker runs as long as its lifespan. `app.state.context` holds its parts."""
    context = Context(served, config, keys)
    sampled = Sampled(context)
    routes: list[tuple[str, str, Handler]] = [
        ("POST", "/v1/chat/completions", sampled.chat),
        ("POST", "/v1/completions", sampled.completion),
        ("POST", "/v1/embeddings", lambda request: embeddings(request, context)),
        ("GET", "/v1/models", lambda request: _models(request, context)),
        ("GET", "/v1/models/{name:path}", lambda request: _model(request, context)),
        ("POST", "/tokenize", lambda request: tokenize(request, context)),
        ("POST", "/detokenize", lambda request: detokenize(request, context)),
        ("GET", "/health", lambda request: _health(request, context)),
        ("GET", "/metrics", lambda request: _metrics(request, context)),
    ]

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        """Runs the worker."""
        context.worker.start(asyncio.get_running_loop())
        try:
            yield
        finally:
            context.compilers.shutdown(wait=False, cancel_futures=True)
            await asyncio.to_thread(context.worker.stop)

    app = Starlette(
        routes=[Route(path, _guarded(handler, context), methods=[method]) for method, path, handler in routes],
        exception_handlers={404: _not_found, 405: _not_found},
        lifespan=lifespan,
    )
    app.state.context = context
    app.router.redirect_slashes = False
    app.add_middleware(_Answers, metrics=context.metrics)
    return app


class _Answers:
    """Gives each answer an id, `x-request-id`, and counts it from its request to its last byte."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, metrics = time.monotonic(), 500, self._metrics

        async def tagged(message: Any) -> None:
            """Sends a message; the first with the id."""
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", secrets.token_hex(8).encode())]
            await send(message)

        metrics.in_flight.add(1)
        try:
            await self._app(scope, receive, tagged)
        finally:
            metrics.in_flight.add(-1)
            endpoint = scope["route"].path if "route" in scope else "none"
            metrics.requests.add(endpoint=endpoint, status=str(status))
            metrics.duration.observe(time.monotonic() - started)


def _guarded(handler: Handler, context: Context) -> Handler:
    """`handler` behind the checks that all share: the key, the name of the host, errors as objects."""

    async def guarded(request: Request) -> Response:
        """Answers one request."""
        path = request.url.path
        try:
            request.state.key = None if path in _OPEN_PATHS else _admitted(request, context)
            return await handler(request)
        except ClientLeft:
            context.metrics.disconnects.add()
            return error_response(ApiError(499, "the client left", code="client_left"))
        except Exception as error:
            found = api_error(error)
            if found.status == 500 and not isinstance(error, ApiError):
                _LOG.error("%s failed", visible_line(path), exc_info=error)
            return error_response(found)

    return guarded


def _admitted(request: Request, context: Context) -> Key | None:
    """The key of a request.

    Raises:
        ApiError: 401: none; 403: another name of the host; 503: the server is stopping.
    """
    if context.draining:
        headers = {"Connection": "close", "Retry-After": "1"}
        raise ApiError(503, "the server is stopping", code="shutting_down", headers=headers)
    if not context.keys.required and not context.config.open:
        # A page of another site whose name was made to point here (DNS rebinding) sends that name.
        host = request.headers.get("host", "").lower()
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if name not in (*_LOCAL, context.config.host.lower()):
            allowed = ", ".join(dict.fromkeys((*_LOCAL[:2], context.config.host)))
            raise ApiError(
                403, f"the host is {host!a:.100}; without API keys it must be {allowed}", code="unknown_host"
            )
    return context.keys.find(request.headers.get("authorization"))


async def _not_found(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    word = "no such path" if status == 404 else f"{request.method} is not taken here"
    return error_response(ApiError(status, f"{word}: {request.url.path!a:.200}", code="not_found"))


async def _models(request: Request, context: Context) -> Response:
    return json_response({"object": "list", "data": [_described(each) for each in context.served.values()]})


async def _model(request: Request, context: Context) -> Response:
    return json_response(_described(context.model(request.path_params["name"])))


def _described(served: Served) -> dict[str, Any]:
    return {
        "id": served.name,
        "object": "model",
        "created": served.created,
        "owned_by": "stategpt",
        "root": served.root or served.name,
        "parent": served.root or None,
        "max_model_len": served.context_tokens,
    }


async def _health(request: Request, context: Context) -> Response:
    if not context.worker.alive:
        return error_response(ApiError(503, "the engine's thread has ended; restart the server", code="engine_dead"))
    if context.draining:
        return error_response(ApiError(503, "the server is stopping", code="shutting_down"))
    return json_response({"status": "ok"})


async def _metrics(request: Request, context: Context) -> Response:
    context.metrics.connections.set(len(context.connections))
    context.metrics.engine_steps.set(context.worker.steps)
    context.metrics.engine_restarts.set(context.worker.restarts)
    numbers = await context.worker.gauges() if context.worker.alive else {}
    return Response(context.metrics.text(numbers), media_type="text/plain; version=0.0.4")
