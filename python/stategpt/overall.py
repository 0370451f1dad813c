"""Tracks how far a run is over all its steps, and estimates the time left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from stategpt.quantities import duration
from stategpt.shown_fields import documented


@documented
@dataclass
class Overall:
    """The steps of a run with the planned seconds of each.

    The plan predicts the shares of the steps better than the speed of the machine, so the measured seconds of finished
    steps scale it.
    """

    planned_s: Sequence[float] = ()
    """Planned seconds of each step, in order; empty where no run is under way."""
    step: int = 0
    """The current step, from 0."""
    measured: dict[int, float] = field(default_factory=dict)
    """Seconds that finished steps took, by step, those of earlier calls included."""

    def begin(self, step: int, planned_s: Sequence[float]) -> None:
        """Begins step number `step`."""
        self.step, self.planned_s = step, tuple(planned_s)

    def finish(self, seconds: float | None) -> None:
        """Finishes the current step; None where its seconds were not measured."""
        if seconds:
            self.measured[self.step] = seconds

    def end(self) -> None:
        """Ends the run."""
        self.step, self.planned_s = 0, ()
        self.measured.clear()

    def left_s(self, step_left_s: float = math.nan) -> float:
        """Estimates the seconds left of the run; `step_left_s` is the current step's own estimate."""
        expected = sum(self.planned_s[step] for step in self.measured)
        pace = sum(self.measured.values()) / expected if expected else 1.0
        current_s = self.planned_s[self.step] * pace if math.isnan(step_left_s) else step_left_s
        return current_s + pace * math.fsum(self.planned_s[self.step + 1 :])

    def line(self, step_left_s: float = math.nan) -> str:
        """Returns a line like "step 4 of 7, about 3 min 04 s left in total"; empty where no run is under way."""
        if not self.planned_s:
            return ""
        left = duration(self.left_s(step_left_s))
        return f"step {self.step + 1} of {len(self.planned_s)}, about {left} left in total"
