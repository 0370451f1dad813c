"""Masks of constrained samples, computed by threads while the model computes.

What may follow depends on the tokens so far alone, not on the logits, so a mask need not wait for them. llguidance
gives up the interpreter's lock in its part, so threads work beside the model and beside each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from .constraint import Constraint
    from .request import Limits

THREADS = 2
"""Of a model that is not on a CPU."""


class MasksAhead:
    """Computes masks in `threads` threads, which start with the first constrained sample; with 0 it does nothing."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._running: list[Future[None]] = []

    @classmethod
    def of(cls, limits: Limits, device: torch.device) -> MasksAhead:
        """As many threads as the limits say, or as suit the device of the model."""
        wanted = limits.mask_threads
        return cls((0 if device.type == "cpu" else THREADS) if wanted is None else wanted)

    def begin(self, constraints: Sequence[Constraint]) -> None:
        """Begins with the masks of some constraints; nobody else may use those before `wait`."""
        if not constraints or not self._threads:
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="stategpt-masks")
        shares = [constraints[first :: self._threads] for first in range(min(self._threads, len(constraints)))]
        self._running = [self._pool.submit(_compute, share) for share in shares]

    def wait(self) -> None:
        """Returns when all masks are there."""
        running, self._running = self._running, []
        for future in running:
            future.result()

    def close(self) -> None:
        """Ends the threads."""
        self.wait()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()


def _compute(constraints: Sequence[Constraint]) -> None:
    """A constraint keeps its mask, so the next call has it at once."""
    for constraint in constraints:
        with suppress(Exception):  # the scheduler's own call raises it, and ends that request alone
            constraint.mask()
