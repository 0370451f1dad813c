"""SIGINT and SIGTERM end a loop after the current step, with a checkpoint; a second signal ends it at once.

Outside of loops SIGTERM ends a run at once, as Ctrl-C does: what is published stays, what is being written is removed.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import NoReturn

TRY_AGAIN = 75
"""EX_TEMPFAIL: the exit code on which preemptible queues start a job again."""


def stop(number: signal.Signals) -> NoReturn:
    """Ends the program as its caller expects after this signal: `SystemExit(75)`, or `KeyboardInterrupt` for SIGINT."""
    if number == signal.SIGTERM:
        raise SystemExit(TRY_AGAIN)
    raise KeyboardInterrupt


class Termination:
    """While entered, SIGTERM raises `SystemExit(75)` wherever the program is; loops replace this by `SignalGuard`.

    An exception can be lost where the interpreter ignores it (a destructor), so `check` between pieces of work raises
    it again. Elsewhere than in the main thread this does nothing.
    """

    def __init__(self) -> None:
        self._requested = False
        self._previous: object = None

    def __enter__(self) -> Termination:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)  # type: ignore[arg-type]

    def check(self) -> None:
        """Ends the program if a SIGTERM has come."""
        if self._requested:
            stop(signal.SIGTERM)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._requested = True
        stop(signal.SIGTERM)


class SignalGuard:
    """While entered, the first signal only sets `requested`; the loop looks at it between steps.

    Signal handlers belong to the main thread; elsewhere this does nothing and signals act as they always do.
    """

    def __init__(self) -> None:
        self.requested: signal.Signals | None = None
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> SignalGuard:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.requested is not None:
            stop(signal.Signals(number))
        self.requested = signal.Signals(number)
