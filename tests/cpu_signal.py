"""A signal that comes while a call is under way, and what the call costs.

Both are counted in CPU time of this process: other programs on the machine change neither.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

AFTER_CPU_S = 0.05


class Interrupted(BaseException):
    """What the signal's handler raises."""


def cpu_s(call: Callable[[], object]) -> float:
    """CPU seconds of a call, of all its threads."""
    began_s = time.process_time()
    call()
    return time.process_time() - began_s


def cpu_s_until_interrupted(call: Callable[[], object]) -> float:
    """CPU seconds until a call ends that gets a signal after its first 0.05; it must raise what the handler raised."""

    def ring(*_: object) -> None:
        raise Interrupted

    before, began_s = signal.signal(signal.SIGPROF, ring), time.process_time()
    try:
        signal.setitimer(signal.ITIMER_PROF, AFTER_CPU_S)
        call()
    except Interrupted:
        return time.process_time() - began_s
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    pytest.fail("the call went on to its end")
