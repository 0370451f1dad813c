"""Rows of the record: one input, what each library took for it, how we stand to each, and what was asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from timing import Spread, ratio

OURS = "stategpt"


@dataclass(frozen=True)
class Goal:
    """How many times as fast as a peer we want to be."""

    peer: str
    reach: float
    aim: float | None = None


@dataclass
class Row:
    """One input.

    Attributes:
        axis: what is measured.
        input: on what.
        unit: of the values; more is better.
        values: by library, from the median time.
        ms: milliseconds by library.
        ratios: how many times as fast as each peer we are.
        goals: what was asked of the ratios.
        failed: libraries without a figure, and why.
        notes: what a reader must know, by library.
    """

    axis: str
    input: str
    unit: str
    values: dict[str, float] = field(default_factory=dict)
    ms: dict[str, Spread] = field(default_factory=dict)
    ratios: dict[str, Spread] = field(default_factory=dict)
    goals: tuple[Goal, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def add(self, times_ms: dict[str, list[float]], work: float, ours: str = OURS) -> None:
        """Takes every library's rounds; `work` over milliseconds is the unit."""
        for library, rounds in times_ms.items():
            self.ms[library] = Spread.of(rounds)
            self.values[library] = work / self.ms[library].median
            if library != ours and ours in times_ms:
                self.ratios[library] = ratio(rounds, times_ms[ours])

    def met(self, goal: Goal) -> tuple[bool | None, bool | None]:
        """Are reach and aim met? None where there is no figure, or no aim."""
        if goal.peer not in self.ratios:
            return None, None
        found = self.ratios[goal.peer].median
        return found >= goal.reach, None if goal.aim is None else found >= goal.aim

    def as_json(self) -> dict[str, Any]:
        """For the record."""
        goals = [
            {"peer": goal.peer, "reach": goal.reach, "aim": goal.aim}
            | dict(zip(("reached", "aimed"), met, strict=True))
            for goal, met in ((goal, self.met(goal)) for goal in self.goals)
        ]
        return {
            "axis": self.axis,
            "input": self.input,
            "unit": self.unit,
            "values": {name: float(f"{value:.4g}") for name, value in self.values.items()},
            "ms": {name: spread.as_json() for name, spread in self.ms.items()},
            "ratios": {name: spread.as_json() for name, spread in self.ratios.items()},
            "goals": goals,
            "failed": self.failed,
            "notes": self.notes,
        }
