"""A submitted request, as its submitter holds it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stategpt.errors import StategptError

from .request import Request


class Handle:
    """Names a request; says how far it is. `Scheduler.cancel` ends it."""

    __slots__ = (
        "cached_tokens",
        "cancelled",
        "done",
        "error",
        "number",
        "prompt_log_probs",
        "request",
        "untold_tokens",
    )

    def __init__(self, number: int, request: Request) -> None:
        self.number = number
        """Counts the requests of a scheduler."""
        self.request = request
        """What was submitted."""
        self.cached_tokens = 0
        """Tokens of the prompt whose keys and values were known."""
        self.prompt_log_probs: NDArray[np.float32] | None = None
        """Log-probability of each token of the prompt, nan for the first; None where the request wants none, or not
        yet computed."""
        self.done = False
        """Whether no more events come."""
        self.cancelled = False
        """Whether it was cancelled."""
        self.untold_tokens = 0
        """When it was cancelled: tokens that were drawn and are in no event."""
        self.error: StategptError | None = None
        """Why it failed."""

    @property
    def prompt_tokens(self) -> int:
        """Number of tokens of the prompt."""
        return len(self.request.ids)

    def __repr__(self) -> str:
        state = "failed" if self.error else "cancelled" if self.cancelled else "done" if self.done else "running"
        return f"Handle({self.number}, {self.prompt_tokens} tokens, n={self.request.n}, {state})"
