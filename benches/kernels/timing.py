"""Times of several libraries, taken in turns: CUDA events on a device whose L2 cache was just overwritten."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

import torch

FLUSH_BYTES = 1 << 30
"""Many times the L2 of an H200 (60 MB): so long to write that the host has launched a call before it is done."""
WARMUPS = 3


@dataclass(frozen=True)
class Call:
    """What one library does in round i."""

    run: Callable[[Any], object]
    """Is timed; takes what `before` gave."""
    before: Callable[[int], Any] = lambda i: i
    """Is not."""


class Clock:
    """A part's share of the time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._start = time.monotonic()

    @property
    def spent(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._start

    @property
    def left(self) -> float:
        """Seconds."""
        return self.seconds - self.spent

    @property
    def over(self) -> bool:
        """Is nothing left?"""
        return self.left <= 0


def in_turns(
    calls: Mapping[str, Call], device: torch.device, rounds: int, *, host: bool = False
) -> dict[str, list[float]]:
    """Milliseconds of every round by library; each round visits all, starting with another one each time.

    With `host` the clock starts when the device is idle and stops when it is again: what the host prepares counts.
    """
    names = list(calls)
    for _ in range(WARMUPS if device.type == "cuda" else 0):
        for call in calls.values():
            call.run(call.before(-1))
    found: dict[str, list[float]] = {name: [] for name in names}
    once = _once_on_cuda if device.type == "cuda" else _once_on_cpu
    for i in range(rounds):
        turn = i % len(names)
        for name in names[turn:] + names[:turn]:
            found[name].append(once(calls[name], i, device, host))
    return found


def _once_on_cuda(call: Call, i: int, device: torch.device, host: bool) -> float:
    given = call.before(i)
    _overwrite_cache(device)
    if host:
        torch.cuda.synchronize(device)
        began = time.perf_counter()
        call.run(given)
        torch.cuda.synchronize(device)
        return (time.perf_counter() - began) * 1e3
    event: Callable[..., Any] = torch.cuda.Event
    start, end = event(enable_timing=True), event(enable_timing=True)
    start.record()
    call.run(given)
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end))


_flushed: dict[torch.device, torch.Tensor] = {}


def _overwrite_cache(device: torch.device) -> None:
    if device not in _flushed:
        _flushed[device] = torch.empty(FLUSH_BYTES, dtype=torch.int8, device=device)
    _flushed[device].zero_()


def _once_on_cpu(call: Call, i: int, device: torch.device, host: bool) -> float:
    given = call.before(i)
    began = time.perf_counter()
    call.run(given)
    return (time.perf_counter() - began) * 1e3


@dataclass(frozen=True)
class Spread:
    """Median and quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Of any number of values."""
        low, _, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
        return cls(median(values), low, high)

    def as_json(self) -> list[float]:
        """Median, lower and upper quartile, to four digits."""
        return [float(f"{value:.4g}") for value in (self.median, self.low, self.high)]


def ratio(theirs: list[float], ours: list[float]) -> Spread:
    """How many times faster we are: of medians, with the quartiles of the single rounds' ratios."""
    single = Spread.of([a / b for a, b in zip(theirs, ours, strict=True)])
    return Spread(median(theirs) / median(ours), single.low, single.high)
