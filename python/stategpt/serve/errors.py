"""Errors as OpenAI's API sends them: a status and `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stategpt.errors import (
    ContextOverflow,
    DataError,
    InvalidArgument,
    MissingExtra,
    OutOfPages,
    QueueFull,
    StategptError,
    UnknownToken,
)

RETRY_SECONDS = 1
"""What `Retry-After` says where the server is busy."""


class ApiError(StategptError):
    """A request that is answered with an error.

    Attributes:
        status: HTTP status.
        message: what happened, the values, what to do.
        param: field of the request that is wrong, as `messages[0].content`; None where no field is.
        code: a word for programs.
        headers: further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    @property
    def kind(self) -> str:
        """OpenAI's type of the error."""
        if self.status >= 500:
            return "server_error"
        return _KINDS.get(self.status, "invalid_request_error")

    def body(self) -> dict[str, Any]:
        """The object that is sent."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": error}


_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def bad_field(param: str, message: str, code: str = "invalid_value") -> ApiError:
    """The error for a field with a wrong value."""
    return ApiError(400, message, param=param, code=code)


def busy(message: str) -> ApiError:
    """The error of a server that has no room now."""
    return ApiError(503, message, code="overloaded", headers={"Retry-After": str(RETRY_SECONDS)})


def api_error(error: BaseException, param: str | None = None) -> ApiError:
    """The answer to an error of the package: 400 for what the client gave, 503 for lack of room, else 500.

    What is not an error of the package is a defect: its text stays here, since it may hold another client's data.
    """
    if isinstance(error, ApiError):
        return error
    if isinstance(error, QueueFull | OutOfPages):
        return busy(f"{error}")
    if isinstance(error, ContextOverflow):
        return ApiError(400, str(error), param=param, code="context_length_exceeded")
    if isinstance(error, InvalidArgument | DataError | UnknownToken):
        return ApiError(400, str(error), param=param, code="invalid_value")
    if isinstance(error, MissingExtra):
        return ApiError(501, str(error), param=param, code="not_installed")
    return ApiError(500, "the server failed at this request; its log has the reason", code="internal_error")
