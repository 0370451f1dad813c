"""The files of a run folder, read for the report. A file that is not there is None or empty: the run may be partial."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from stategpt.artifacts import read_lines
from stategpt.config import Run
from stategpt.config.toml import load
from stategpt.errors import ConfigError, DataError

from .wording import STAGE_LABELS

Json = Mapping[str, Any]


@dataclass(frozen=True)
class RunFiles:
    """Read access to one run folder."""

    root: Path
    """The run folder."""

    def json(self, name: str) -> Any:
        """Content of a JSON file; None when it does not exist. Raises `DataError` when it is no JSON."""
        path = self.root / name
        if not path.is_file():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{path} is not JSON ({error}); run the stage again to write it anew") from error

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Lines of a JSONL log; none when it does not exist. A torn last line is left out."""
        return read_lines(self.root / name)

    def text(self, name: str) -> str | None:
        """A text file; None when it does not exist."""
        path = self.root / name
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None

    def evaluation(self, stage: str) -> Json:
        """The stage's evaluation.json, {} when it has none."""
        found = self.json(f"{stage}/evaluation.json")
        return found if isinstance(found, dict) else {}

    def metrics(self, stage: str) -> list[dict[str, Any]]:
        """The stage's metrics.jsonl."""
        return self.lines(f"{stage}/metrics.jsonl")

    @cached_property
    def run(self) -> Run | None:
        """The run's configuration; None when run.toml is missing or from a version with other settings."""
        path = self.root / "run.toml"
        try:
            return load(path) if path.is_file() else None
        except ConfigError:
            return None

    @cached_property
    def name(self) -> str:
        """Name of the recipe, else of the folder."""
        text = self.text("run.toml")
        try:
            name = tomllib.loads(text).get("name") if text else None
        except tomllib.TOMLDecodeError:
            name = None
        return str(name or self.root.resolve().name)

    def seconds(self) -> dict[str, float]:
        """Seconds of each stage that says so, in the order of the work."""
        found = {}
        for stage in STAGE_LABELS:
            # A published folder takes no later file, so the comparison's time lies beside it.
            timing = self.json(f"{stage}/timing.json") or self.json(f"{stage}_timing/timing.json")
            seconds = number(timing, "seconds")
            if seconds is not None:
                found[stage] = seconds
        return found

    def tokens(self, stage: str) -> int | None:
        """Tokens a stage trained on, from its log or else its timing."""
        log = self.metrics(stage)
        if log and isinstance(log[-1].get("tokens"), int):
            return int(log[-1]["tokens"])
        tokens = number(self.json(f"{stage}/timing.json"), "tokens")
        return None if tokens is None else round(tokens)


def field(data: Any, *keys: str) -> Any:
    """data[key]... where every step is a mapping that has the key; else None."""
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data


def number(data: Any, *keys: str) -> float | None:
    """`field` when it is a number, or the mean when it is an interval; else None."""
    value = field(data, *keys)
    if isinstance(value, Mapping):
        value = value.get("mean")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
