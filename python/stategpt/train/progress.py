"""Progress with rate and time left: a live bar on a terminal, a line every ten seconds in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LOG_EVERY_S = 10.0
Advance = Callable[[int, str], None]
"""Called with the units done so far and a short note (a loss, say)."""

console = Console(stderr=True, highlight=False)
_OUTER: list[str] = []


@contextmanager
def progress(title: str, total: int, unit: str) -> Iterator[Advance]:
    """Shows how far `total` units of `unit` have come; yields the function to call with the count so far.

    Work within work (an evaluation during training) is part of the outer work and shows nothing of its own.
    """
    if _OUTER:
        yield _say_nothing
        return
    _OUTER.append(title)
    try:
        with _shown(title, total, unit) as advance:
            yield advance
    finally:
        _OUTER.pop()


def _say_nothing(done: int, note: str = "") -> None:
    """The inner work's progress."""


@contextmanager
def _shown(title: str, total: int, unit: str) -> Iterator[Advance]:
    if console.is_terminal:
        columns = (
            TextColumn("{task.description:<22}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn(unit),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(title, total=total, rate="", note="")
            pace = _Pace(total)

            def advance(done: int, note: str = "") -> None:
                bar.update(task, completed=done, rate=f"{pace.rate(done):.1f}/s", note=note)

            yield advance
    else:
        yield _line_logger(title, total, unit)


class _Pace:
    """Units a second since the first call, so that a resumed stage does not count what it skipped."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.began_s = time.perf_counter()
        self.first: int | None = None

    def rate(self, done: int) -> float:
        if self.first is None:
            self.first = done
        return (done - self.first) / max(1e-9, time.perf_counter() - self.began_s)

    def left_s(self, done: int) -> float:
        rate = self.rate(done)
        return (self.total - done) / rate if rate > 0 else float("nan")


def _line_logger(title: str, total: int, unit: str) -> Advance:
    pace = _Pace(total)
    last_s = time.perf_counter()

    def advance(done: int, note: str = "") -> None:
        nonlocal last_s
        now_s = time.perf_counter()
        rate, left_s = pace.rate(done), pace.left_s(done)
        if done < total and now_s - last_s < LOG_EVERY_S:
            return
        last_s = now_s
        left = f", {left_s:.0f} s left" if done < total and left_s == left_s else ""
        console.print(f"{title}: {done:,}/{total:,} {unit}, {rate:.1f}/s{left}  {note}".rstrip(), markup=False)

    return advance
