"""Runs jobs in rounds, each in a process of its own, and keeps every result so that a broken-off run goes on."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from jobs import Job

Entry = dict[str, Any]

# Seconds that a job of an axis takes roughly; scaled by what jobs have taken so far.
_GUESS = {"check": 3, "encode": 3, "paired": 20, "threads": 3, "floods": 5, "short": 2, "decode": 4, "memory": 3,
          "load": 1.5, "train": 15, "train_large": 120}  # fmt: skip
_SECONDS_AT_MOST = 1200


class Runner:
    """Measures jobs with the interpreter `python`; results are lines of the file `kept`."""

    def __init__(self, python: str, kept: Path) -> None:
        self._python, self._kept = python, kept
        self._done: dict[str, Entry] = {}
        self._spent: defaultdict[str, list[float]] = defaultdict(list)
        if kept.exists():
            for line in kept.read_text().splitlines():
                entry = json.loads(line)
                self._done[_key(entry["job"], entry["round"])] = entry

    def run(self, jobs: list[Job]) -> list[Entry]:
        """All rounds of all jobs, axis by axis: within an axis every round visits all jobs before the next begins."""
        order = list(_interleaved(jobs))
        todo = [(job, turn) for job, turn in order if _key(job, turn) not in self._done]
        if len(todo) < len(order):
            print(f"{len(order) - len(todo)} of {len(order)} measurements are kept from before in {self._kept}")
        start = time.monotonic()
        for number, (job, turn) in enumerate(todo):
            entry = self._measure(job, turn)
            left = self._left(todo[number + 1 :])
            spent = _minutes(time.monotonic() - start)
            shown = entry.get("error") or _brief(entry["result"])
            print(f"[{number + 1}/{len(todo)}; {spent}, {_minutes(left)} left] {_name(job)}: {shown}", flush=True)
        return [self._done[_key(job, turn)] for job, turn in order]

    def _measure(self, job: Job, turn: int) -> Entry:
        start = time.monotonic()
        entry = {"job": job, "round": turn, **self._process(job)}
        self._spent[job["axis"]].append(time.monotonic() - start)
        self._done[_key(job, turn)] = entry
        with self._kept.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        return entry

    def _process(self, job: Job) -> Entry:
        command = [self._python, str(Path(__file__).with_name("measure.py")), json.dumps(job)]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
        try:
            done = subprocess.run(
                command, env=environment, check=False, capture_output=True, text=True, timeout=_SECONDS_AT_MOST
            )
        except subprocess.TimeoutExpired:
            return {"error": f"not finished after {_SECONDS_AT_MOST} s"}
        if done.returncode == 0:
            return {"result": json.loads(done.stdout.splitlines()[-1])}
        lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
        return {"error": lines[-1][:200]}

    def _left(self, todo: list[tuple[Job, int]]) -> float:
        spent = sum(map(sum, self._spent.values()))
        guessed = sum(_GUESS[axis] * len(times) for axis, times in self._spent.items())
        scale = spent / guessed if guessed else 1.0
        return sum(self._seconds(job["axis"], scale) for job, _ in todo)

    def _seconds(self, axis: str, scale: float) -> float:
        times = self._spent.get(axis)
        return sum(times) / len(times) if times else _GUESS[axis] * scale


def _interleaved(jobs: list[Job]) -> Iterator[tuple[Job, int]]:
    axes = dict.fromkeys(job["axis"] for job in jobs)
    for axis in axes:
        of_axis = [job for job in jobs if job["axis"] == axis]
        for turn in range(max(job["rounds"] for job in of_axis)):
            yield from ((job, turn) for job in of_axis if turn < job["rounds"])


def _key(job: Job, turn: int) -> str:
    return json.dumps([{name: value for name, value in job.items() if name != "rounds"}, turn], sort_keys=True)


def _name(job: Job) -> str:
    fields: Iterable[str] = ("axis", "kind", "vocabulary", "pattern", "documents", "library", "mode")
    words = [str(job[field]) for field in fields if field in job]
    return " ".join([*words, f"{job['threads']} threads"] if job.get("threads", 1) > 1 else words)


def _brief(result: Entry) -> str:
    hidden = ("documents", "floods", "tokens")
    shown = {
        name: value
        for name, value in result.items()
        if name not in hidden and not (name in ("seconds", "cpu") and isinstance(value, dict))
    }
    if "floods" in result:
        shown["worst"] = max((part.get("seconds", [9e9])[0], name) for name, part in result["floods"].items())
    return ", ".join(f"{name} {value}" for name, value in shown.items()) or "done"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds > 100 else f"{seconds:.0f} s"
