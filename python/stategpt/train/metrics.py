"""A stage's `metrics.jsonl`: one line a logged step, truncated to the resumed step so that no step is logged twice."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stategpt.artifacts import append_line, publish_file, read_lines
from stategpt.artifacts.measurement_kinds import METRICS_LINE
from stategpt.json_reader import Kind

ENDED_EARLY = "ended_early"
"""Metric of the last line where a task ended before its last step."""


def early_end(path: Path) -> dict[str, Any] | None:
    """Returns the last line of a stage's metrics.jsonl if its task ended early; else None.

    Raises:
        DataError: a line is none of metrics.
    """
    lines: list[dict[str, Any]] = read_lines(path, METRICS_LINE)
    return lines[-1] if lines and lines[-1].get(ENDED_EARLY) else None


def cut_back(path: Path, kind: Kind, last_step: int) -> list[dict[str, Any]]:
    """Truncates a log to the lines with a `step` of at most `last_step` and returns them; [] if there is no log.

    Raises:
        DataError: a line is not of `kind`.
    """
    lines: list[dict[str, Any]] = read_lines(path, kind)
    kept = [line for line in lines if line["step"] is not None and line["step"] <= last_step]
    if path.exists():
        publish_file(path, "".join(json.dumps(line) + "\n" for line in kept).encode())
    return kept


class MetricsLog:
    """Appends lines of metrics with the elapsed time.

    `start_step` counts the steps already done: lines beyond it come from a run that was cut off after
    its last checkpoint, and are dropped.
    """

    def __init__(self, path: Path, start_step: int = 0) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = cut_back(path, METRICS_LINE, start_step)
        self.elapsed_before_s = float(kept[-1].get("elapsed_s") or 0.0) if kept else 0.0
        self._began_s = time.perf_counter()

    @property
    def elapsed_s(self) -> float:
        """Seconds spent in this stage's loop, earlier runs of it included."""
        return self.elapsed_before_s + time.perf_counter() - self._began_s

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Adds one line for `step`; a value that is not finite is written as null, since JSON has no NaN."""
        finite = {key: value if math.isfinite(value) else None for key, value in values.items()}
        append_line(self.path, {"step": step, **finite, "elapsed_s": round(self.elapsed_s, 3)})
