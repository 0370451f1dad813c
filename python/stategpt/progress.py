"""Progress with rate and time left: a live line on a terminal, a line every ten seconds in a log.

On a terminal the line is shortened to fit: the least important parts are left out first, the count and the time left
never. Below it is the progress of the whole run, while `overall` has one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, RenderableType
from rich.progress import Progress, ProgressColumn, Task
from rich.text import Text

from stategpt.quantities import duration
from stategpt.shown_fields import documented

LOG_EVERY_S = 10.0
_BELIEVED_SHARE = 0.1
Advance = Callable[[int, str], None]
"""Called with the units done so far and a short note (a loss, say)."""

console = Console(stderr=True, highlight=False)


@documented
@dataclass
class RunProgress:
    """Progress of a run over all its steps, with the time left.

    The plan knows the shares of the steps better than the speed of the machine: the measured times of finished steps
    correct it. A step that is next to nothing of the plan says little: starting takes it some seconds on any machine.
    Until steps of a tenth of the plan are measured, the plan counts for the rest of that tenth.
    """

    planned_s: Sequence[float] = ()
    """Planned seconds of each step, in order; empty while no run is active."""
    step: int = 0
    """The current step, from 0."""
    measured: dict[int, float] = field(default_factory=dict)
    """Seconds that finished steps took, by step, those of earlier calls included."""

    def begin(self, step: int, planned_s: Sequence[float]) -> None:
        """Starts step number `step`."""
        self.step, self.planned_s = step, tuple(planned_s)

    def finish(self, seconds: float | None) -> None:
        """Ends the current step, which took `seconds`; None if they were not measured."""
        if seconds:
            self.measured[self.step] = seconds

    def end(self) -> None:
        """Ends the run."""
        self.step, self.planned_s = 0, ()
        self.measured.clear()

    def left_s(self, step_left_s: float = math.nan) -> float:
        """Seconds that the rest of the run may take; `step_left_s` is the current step's own estimate."""
        expected = math.fsum(self.planned_s[step] for step in self.measured)
        believed = max(0.0, _BELIEVED_SHARE * math.fsum(self.planned_s) - expected)
        weight = expected + believed
        pace = (math.fsum(self.measured.values()) + believed) / weight if weight else 1.0
        current_s = self.planned_s[self.step] * pace if math.isnan(step_left_s) else step_left_s
        return current_s + pace * math.fsum(self.planned_s[self.step + 1 :])

    def line(self, step_left_s: float = math.nan) -> str:
        """As in "step 4 of 7, about 3 min 04 s left in total"; empty while no run is active."""
        if not self.planned_s:
            return ""
        left = duration(self.left_s(step_left_s))
        return f"step {self.step + 1} of {len(self.planned_s)}, about {left} left in total"


overall = RunProgress()
"""The progress of the active run; `stategpt.run` updates it."""
_OUTER: list[str] = []
_TITLE_WIDTH, _SHORTEST_TITLE, _BAR_WIDTH = 22, 10, 20


@contextmanager
def progress(title: str, total: int, unit: str) -> Iterator[Advance]:
    """Shows the progress of `total` units of `unit` (0: unknown); yields the function to call with the count so far.

    Work within work (an evaluation during training) is part of the outer work and shows no bar.
    """
    if _OUTER:
        yield _ignore_progress
        return
    _OUTER.append(title)
    try:
        with _shown(title, total, unit) as advance:
            yield advance
    finally:
        _OUTER.pop()


def note_of(values: Mapping[str, float], loss_unit: str) -> str:
    """Summarizes a step's metrics: reward and KL of a policy, whose loss means little; else the loss.

    A step without an update has no loss.
    """
    if "reward_mean" in values and "kl_nats_per_completion" in values:
        return f"reward {values['reward_mean']:.2f}, kl {values['kl_nats_per_completion']:.2f}"
    return f"loss {values[loss_unit]:.3f}" if loss_unit in values else ""


def fitted_line(title: str, done: int, total: int, unit: str, pace: tuple[float, float], note: str, width: int) -> str:
    """One line of at most `width` characters: title, bar, count, rate, time left, note.

    Args:
        pace: units a second, and seconds left (not a number: unknown).
    """
    rate, left_s = pace
    left = "" if math.isnan(left_s) else f"{duration(left_s)} left"
    count = _count(done, total)
    filled = round(_BAR_WIDTH * min(1.0, done / total)) if total else _BAR_WIDTH
    bar = "━" * filled + "╌" * (_BAR_WIDTH - filled)
    parts = {"title": f"{title:<{_TITLE_WIDTH}}", "bar": bar, "count": count, "unit": unit}
    parts |= {"rate": f"{rate:.1f}/s", "left": left, "note": note}
    for less in ("", "unit", "bar", "title", "rate", "note"):
        parts[less] = title[:_SHORTEST_TITLE] if less == "title" else ""
        line = " ".join(part for part in parts.values() if part)
        if len(line) <= width:
            return line
    return f"{count} {left}".rstrip()[:width]


def _count(done: int, total: int) -> str:
    """As in "3/10"; without the total where it is not known."""
    return f"{done:,}/{total:,}" if total else f"{done:,}"


def _ignore_progress(done: int, note: str = "") -> None:
    """Takes the progress of work inside other work."""


class _Line(ProgressColumn):
    """The fitted line of a task, as wide as the terminal."""

    max_refresh = None

    def render(self, task: Task) -> Text:
        """Returns the line of a task, cut to the width of the terminal."""
        known = task.fields
        done, total = int(task.completed), int(task.total or 0)
        line = fitted_line(task.description, done, total, known["unit"], known["pace"], known["note"], console.width)
        return Text(line, no_wrap=True, overflow="crop")


class _Lines(Progress):
    """The current work and, below it, the whole run."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yields the tasks, then the line of the whole run."""
        yield self.make_tasks_table(self.tasks)
        left_s = self.tasks[0].fields["pace"][1] if self.tasks else math.nan
        if line := overall.line(left_s):
            yield Text(line, style="dim", no_wrap=True, overflow="ellipsis")


@contextmanager
def _shown(title: str, total: int, unit: str) -> Iterator[Advance]:
    if console.is_terminal:
        with _Lines(_Line(), console=console) as bar:
            task = bar.add_task(title, total=total, unit=unit, pace=(0.0, math.nan), note="")
            pace = _Pace(total)

            def advance(done: int, note: str = "") -> None:
                """Shows that `done` units are done."""
                bar.update(task, completed=done, pace=(pace.rate(done), pace.left_s(done)), note=note)

            yield advance
    else:
        yield _line_logger(title, total, unit)


class _Pace:
    """Units a second since the first report: neither what a resumed stage skipped nor its start counts."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.first: tuple[int, float] | None = None

    def rate(self, done: int) -> float:
        """Returns units per second since the first report."""
        now_s = time.perf_counter()
        self.first = self.first or (done, now_s)
        return (done - self.first[0]) / max(1e-9, now_s - self.first[1])

    def left_s(self, done: int) -> float:
        """Returns the seconds left; NaN while nothing is known."""
        rate = self.rate(done)
        return (self.total - done) / rate if rate > 0 and self.total else math.nan


def _line_logger(title: str, total: int, unit: str) -> Advance:
    pace = _Pace(total)
    last_s = time.perf_counter()

    def advance(done: int, note: str = "") -> None:
        """Shows that `done` units are done."""
        nonlocal last_s
        now_s = time.perf_counter()
        rate, left_s = pace.rate(done), pace.left_s(done)
        if (done < total or not total) and now_s - last_s < LOG_EVERY_S:
            return
        last_s = now_s
        left = f", {duration(left_s)} left" if done < total and not math.isnan(left_s) else ""
        console.print(f"{title}: {_count(done, total)} {unit}, {rate:.1f}/s{left}  {note}".rstrip(), markup=False)

    return advance
