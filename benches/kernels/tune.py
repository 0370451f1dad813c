"""Looks for faster launches around the shipped ones, kernel by kernel, and writes the table.

A candidate counts when it compiles within the gate's limits, agrees with the shipped launch, and is at least 3 %
faster over all of a key's problems. Compiling takes longest: it is done in processes that leave their results in
Triton's cache, where this one finds them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import Any

import torch
from attention_rows import AGREEMENT, relative
from compiling import Candidate, refusals
from ours import Kernels, shipped_launches
from problems import Problem, causal, packed
from table import Launches, affordable, collapsed, with_entries
from timing import Call, Clock, in_turns

from stategpt.kernels._shared.configs import Key, Launch, Table
from stategpt.kernels.attention.launch import LONG_ROWS, architecture_of, bits
from stategpt.kernels.attention.signatures import tabled_width

Grid = dict[str, tuple[tuple[int, int, int, int], ...]]
FASTER = 1.03
"""What a launch must gain to take the shipped one's place: more than times of one launch differ."""
ROUNDS, REHEARSED_ROUNDS = 7, 1
GRID: Grid = {
    "forward": (
        *((128, 128, 8, 2), (128, 128, 8, 3), (128, 64, 8, 2), (128, 64, 8, 3), (128, 64, 8, 4)),
        *((128, 64, 4, 2), (64, 128, 4, 2), (64, 64, 4, 2), (64, 64, 4, 3)),
    ),
    "backward_q": (
        *((128, 128, 8, 2), (128, 64, 8, 2), (128, 64, 8, 3), (128, 32, 8, 3)),
        *((64, 128, 4, 2), (64, 64, 4, 2), (64, 64, 4, 3)),
    ),
    "backward_kv": (
        *((64, 128, 8, 2), (64, 128, 8, 3), (32, 128, 8, 2), (32, 128, 8, 3), (32, 128, 8, 4)),
        *((64, 64, 4, 2), (64, 64, 4, 3), (64, 64, 8, 3), (32, 64, 4, 3)),
    ),
}
"""(block_q, block_k, warps, stages) tried beside what is shipped."""
SMALL_GRID: Grid = dict.fromkeys(GRID, ((32, 16, 4, 1),))


@dataclass(frozen=True)
class Workload:
    """What a key of the table stands for while it is tuned."""

    mask: str
    length: str
    problems: tuple[Problem, ...]

    @property
    def head_dim(self) -> int:
        """The same for all problems."""
        return self.problems[0].head_dim


@dataclass(frozen=True)
class Trial:
    """One launch of one kernel on one workload."""

    kernel: str
    launch: Launch
    ms: float | None
    refused: str = ""


def workloads(rehearsal: bool) -> Iterator[Workload]:
    """Causal and packed rows, windows, shared prefixes; short and long; the two widths that models train with."""
    if rehearsal:
        small = {"heads": 2, "kv_heads": 1, "head_dim": 16}
        yield Workload("causal", "short", (packed(1, 32, 0, **small),))
        return
    tokens = 2 * LONG_ROWS
    for width in (128, 64):
        for length, T in (("short", 4096), ("long", tokens)):
            rows, shape = tokens // T, {"head_dim": width}
            plain, documents = causal(rows, T, **shape), packed(rows, T, 0, **shape)
            yield Workload("causal", length, (plain, documents))
            yield Workload("window", length, (replace(plain, window=1024),))
            branches = ((T - T // 4) // 6,) * 6
            yield Workload("prefix", length, (Problem((branches,) * rows, T, head_dim=width, prefix=T // 4),))


def tune(
    table: Table, device: torch.device, dtype: torch.dtype, rehearsal: bool, clock: Clock, said: Callable[[str], None]
) -> tuple[Table, list[dict[str, Any]]]:
    """The table with what is faster, and all trials for the record."""
    grid, rounds = (SMALL_GRID, REHEARSED_ROUNDS) if rehearsal else (GRID, ROUNDS)
    wanted = [(load, shipped_launches(load.problems[0], load.mask, device, dtype)) for load in workloads(rehearsal)]
    every = {of(load, kernel, Launch(*n)) for load, _ in wanted for kernel, several in grid.items() for n in several}
    refused = dict.fromkeys(every, "") if rehearsal else refusals(every, device, dtype, clock, said)
    best: dict[Key, Launches] = {}
    gains: dict[Key, float] = {}
    record = []
    for load, shipped in wanted:
        if clock.over:
            said(f"tuning stops: {clock.seconds:.0f} s are over")
            break
        said(f"tuning d{load.head_dim} {load.mask} {load.length}")
        key = _key(table, load, device, dtype)
        best[key], gains[key] = dict(shipped), 1.0
        runs = [Kernels(problem, device, dtype) for problem in load.problems]
        for kernel, numbers in grid.items():
            others = {Launch(*n): refused[of(load, kernel, Launch(*n))] for n in numbers}
            trials = list(_trials(runs, kernel, shipped, others, rounds))
            kept, gain = winner(trials)
            best[key][kernel] = kept
            gains[key] = max(gains[key], gain)
            record.append(_as_json(key, kernel, trials, kept, gain))
    return with_entries(table, affordable(table, collapsed(table, best), gains)), record


def of(load: Workload, kernel: str, launch: Launch) -> Candidate:
    """What a launch of a workload is compiled as."""
    return Candidate(load.head_dim, bool(load.problems[0].prefix), kernel, launch)


def _key(table: Table, load: Workload, device: torch.device, dtype: torch.dtype) -> Key:
    values = {
        "arch": architecture_of(device),
        "dtype": bits(dtype),
        "head_dim": str(tabled_width(load.head_dim)),
        "mask": load.mask,
        "length": load.length,
    }
    return tuple(values.get(field, "*") for field in table.fields)


def _trials(
    runs: list[Kernels],
    kernel: str,
    shipped: Launches,
    others: dict[Launch, str],
    rounds: int,
) -> Iterator[Trial]:
    """The shipped launch and every other one with the reason why it is refused, if it is."""
    device, dtype = runs[0].device, runs[0].dtype
    good = [shipped[kernel]]
    expected = runs[0].run(kernel, shipped[kernel], shipped)
    for launch, reason in others.items():
        if launch == shipped[kernel]:
            continue
        refused = reason or _fault(runs[0], kernel, launch, shipped, expected, dtype)
        if refused:
            yield Trial(kernel, launch, None, refused)
        else:
            good.append(launch)
    totals = dict.fromkeys(good, 0.0)
    for run in runs:
        calls = {str(i): Call(partial(_again, run, kernel, launch, shipped)) for i, launch in enumerate(good)}
        for i, times_ms in in_turns(calls, device, rounds).items():
            totals[good[int(i)]] += median(times_ms)
    yield from (Trial(kernel, launch, ms) for launch, ms in totals.items())


def _again(run: Kernels, kernel: str, launch: Launch, shipped: Launches, _: object) -> None:
    run.run(kernel, launch, shipped)


def _fault(
    run: Kernels, kernel: str, launch: Launch, shipped: Launches, expected: tuple[torch.Tensor, ...], dtype: torch.dtype
) -> str:
    """Why the launch cannot be taken, however fast it is."""
    try:
        found = run.run(kernel, launch, shipped)
    except Exception as error:  # what a launch cannot do is found by trying: too much shared memory, a failed pass
        return f"{type(error).__name__}: {error}"[:200]
    limit = AGREEMENT[dtype]
    worst = max(relative(ours.float(), theirs.float()) for ours, theirs in zip(expected, found, strict=True))
    return "" if worst <= limit else f"differs by {worst:.1e}"


def winner(trials: list[Trial]) -> tuple[Launch, float]:
    """The fastest, if it beats the shipped one (the first with a time) by enough; and by how much."""
    timed = [(trial.ms, trial.launch) for trial in trials if trial.ms is not None]
    shipped_ms, shipped = timed[0]
    ms, launch = min(timed, key=lambda pair: pair[0])
    return (launch, shipped_ms / ms) if shipped_ms / ms >= FASTER else (shipped, 1.0)


def _as_json(key: Key, kernel: str, trials: list[Trial], kept: Launch, gain: float) -> dict[str, Any]:
    said = {str(trial.launch.numbers()): trial.refused or float(f"{trial.ms:.4g}") for trial in trials}
    return {"key": "/".join(key), "kernel": kernel, "kept": kept.numbers(), "gain": round(gain, 3), "trials": said}
