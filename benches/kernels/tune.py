"""Looks for faster launches around the shipped ones, kernel by kernel, and writes the table.

A candidate counts when it compiles within the gate's limits, agrees with the shipped launch, and is at least 3 %
faster over all of a key's problems. Compiling takes longest: it is done in processes that leave their results in
Triton's cache, where this one finds them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures import TimeoutError as NotDone
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from attention_rows import AGREEMENT, relative
from ours import Kernels, compiled, shipped_launches
from problems import Problem, causal, packed
from table import Launches, with_entries
from timing import Call, Clock, in_turns

from stategpt.kernels._shared.configs import MOST_ENTRIES, Key, Launch, Table
from stategpt.kernels._shared.gate import MOST_SHARED, most_spills
from stategpt.kernels.attention.launch import LONG_ROWS, architecture_of, bits
from stategpt.kernels.attention.signatures import tabled_width

FASTER = 1.03
PROCESSES = 14
ROUNDS, REHEARSED_ROUNDS = 7, 1
GRID = {
    "forward": ((128, 128, 8, 2), (128, 64, 8, 2), (128, 64, 8, 3), (128, 64, 4, 2), (64, 128, 4, 2), (64, 64, 4, 3)),
    "backward_q": (
        (128, 128, 8, 2),
        (128, 64, 8, 2),
        (128, 64, 8, 3),
        (128, 32, 8, 3),
        (64, 128, 4, 2),
        (64, 64, 4, 2),
    ),
    "backward_kv": (
        (64, 128, 8, 2),
        (32, 128, 8, 2),
        (32, 128, 8, 3),
        (64, 64, 4, 2),
        (64, 64, 8, 3),
        (128, 128, 8, 2),
    ),
}
"""(block_q, block_k, warps, stages) tried beside what is shipped."""
SMALL_GRID = dict.fromkeys(GRID, ((32, 16, 4, 1),))


@dataclass(frozen=True)
class Workload:
    """What a key of the table stands for while it is tuned."""

    mask: str
    length: str
    problems: tuple[Problem, ...]

    @property
    def head_width(self) -> int:
        """The same for all problems."""
        return self.problems[0].head_width


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
        small = {"heads": 2, "kv_heads": 1, "head_width": 16}
        yield Workload("causal", "short", (packed(1, 32, 0, **small),))
        return
    tokens = 2 * LONG_ROWS
    for width in (128, 64):
        for length, T in (("short", 4096), ("long", tokens)):
            rows, shape = tokens // T, {"head_width": width}
            plain, documents = causal(rows, T, **shape), packed(rows, T, 0, **shape)
            yield Workload("causal", length, (plain, documents))
            yield Workload("window", length, (replace(plain, window=1024),))
            branches = ((T - T // 4) // 6,) * 6
            yield Workload("prefix", length, (Problem((branches,) * rows, T, head_width=width, prefix=T // 4),))


def tune(
    table: Table, device: torch.device, dtype: torch.dtype, rehearsal: bool, clock: Clock, said: Callable[[str], None]
) -> tuple[Table, list[dict[str, Any]]]:
    """The table with what is faster, and all trials for the record."""
    grid = SMALL_GRID if rehearsal else GRID
    wanted = [(load, shipped_launches(load.problems[0], load.mask, device, dtype)) for load in workloads(rehearsal)]
    fits = _always if rehearsal else _compiled_ahead(wanted, grid, device, dtype, clock, said)
    best: dict[Key, Launches] = {}
    gains: dict[Key, float] = {}
    record = []
    for load, shipped in wanted:
        if clock.over:
            said(f"tuning stops: {clock.seconds:.0f} s are over")
            break
        said(f"tuning d{load.head_width} {load.mask} {load.length}")
        key = _key(table, load, device, dtype)
        best[key], gains[key] = dict(shipped), 1.0
        runs = [Kernels(problem, device, dtype) for problem in load.problems]
        for kernel, numbers in grid.items():
            candidates = [Launch(*n) for n in numbers if Launch(*n) != shipped[kernel]]
            trials = list(_trials(runs, kernel, shipped, candidates, lambda k, c, load=load: fits(load, k, c)))
            kept, gain = winner(trials)
            best[key][kernel] = kept
            gains[key] = max(gains[key], gain)
            record.append(_as_json(key, kernel, trials, kept, gain))
    return with_entries(table, affordable(table, collapsed(table, best), gains)), record


def _key(table: Table, load: Workload, device: torch.device, dtype: torch.dtype) -> Key:
    values = {
        "arch": architecture_of(device),
        "dtype": bits(dtype),
        "head_width": str(tabled_width(load.head_width)),
        "mask": load.mask,
        "length": load.length,
    }
    return tuple(values.get(field, "*") for field in table.fields)


def _trials(
    runs: list[Kernels],
    kernel: str,
    shipped: Launches,
    candidates: Iterable[Launch],
    refusal: Callable[[str, Launch], str],
) -> Iterator[Trial]:
    """The shipped launch first, then every candidate."""
    device, dtype = runs[0].device, runs[0].dtype
    good = [shipped[kernel]]
    expected = runs[0].run(kernel, shipped[kernel], shipped)
    for launch in candidates:
        refused = refusal(kernel, launch) or _fault(runs[0], kernel, launch, shipped, expected, dtype)
        if refused:
            yield Trial(kernel, launch, None, refused)
        else:
            good.append(launch)
    totals = dict.fromkeys(good, 0.0)
    for run in runs:
        calls = {
            str(i): Call(lambda _, run=run, launch=launch: run.run(kernel, launch, shipped))
            for i, launch in enumerate(good)
        }
        for i, rounds in in_turns(calls, device, ROUNDS).items():
            totals[good[int(i)]] += sorted(rounds)[len(rounds) // 2]
    yield from (Trial(kernel, launch, ms) for launch, ms in totals.items())


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


def collapsed(table: Table, best: dict[Key, Launches]) -> dict[Key, Launches]:
    """Entries to write: only what differs from what the table finds, with one key where short and long agree."""
    changed = {}
    for key, launches in best.items():
        length = table.fields.index("length")
        other = (*key[:length], "short" if key[length] == "long" else "long", *key[length + 1 :])
        both = (*key[:length], "*", *key[length + 1 :])
        if best.get(other) == launches:
            key = both
        found = table.find(**dict(zip(table.fields, key, strict=True)))
        if found != launches and key not in changed:
            changed[key] = launches
    return changed


def affordable(table: Table, changed: dict[Key, Launches], gains: dict[Key, float]) -> dict[Key, Launches]:
    """As many as the tables of all operations have room for, the largest gains first."""
    length = table.fields.index("length")

    def gain(key: Key) -> float:
        return max(gains.get((*key[:length], part, *key[length + 1 :]), 1.0) for part in ("short", "long"))

    room = MOST_ENTRIES - entries_of_all(table)
    kept: dict[Key, Launches] = {}
    for key in sorted(changed, key=gain, reverse=True):
        if key in table.entries or room > 0:
            kept[key] = changed[key]
            room -= key not in table.entries
    return kept


def entries_of_all(table: Table) -> int:
    """Entries of this table and of the other operations' tables."""
    from stategpt import kernels as package  # the folder of all operations
    from stategpt.kernels._shared.configs import read_table

    folder = Path(next(iter(package.__path__))).resolve()
    others = [path for path in folder.glob("*/configs.json") if path.parent.name != "attention"]
    return len(table.entries) + sum(len(read_table(path).entries) for path in others)


def _as_json(key: Key, kernel: str, trials: list[Trial], kept: Launch, gain: float) -> dict[str, Any]:
    said = {str(trial.launch.numbers()): trial.refused or float(f"{trial.ms:.4g}") for trial in trials}
    return {"key": "/".join(key), "kernel": kernel, "kept": kept.numbers(), "gain": round(gain, 3), "trials": said}


def _always(load: Workload, kernel: str, launch: Launch) -> str:
    return ""


def _compiled_ahead(
    wanted: list[tuple[Workload, Launches]],
    grid: dict[str, tuple[tuple[int, ...], ...]],
    device: torch.device,
    dtype: torch.dtype,
    clock: Clock,
    said: Callable[[str], None],
) -> Callable[[Workload, str, Launch], str]:
    """Compiles every candidate in other processes. -> what says why one is refused, or nothing."""
    jobs = {
        (load.head_width, bool(load.problems[0].prefix), kernel, Launch(*numbers))
        for load, _ in wanted
        for kernel, several in grid.items()
        for numbers in several
    }
    said(f"compiling {len(jobs)} candidates")
    refusals: dict[tuple[int, bool, str, Launch], str] = dict.fromkeys(jobs, "not compiled in time")
    workers = ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn"))
    futures = {workers.submit(_compile, *job, str(device), dtype): job for job in jobs}
    try:
        for future in as_completed(futures, timeout=max(clock.left * 0.6, 0.1)):
            refusals[futures[future]] = f"{error}"[:200] if (error := future.exception()) else future.result()
    except NotDone:
        said("not all candidates were compiled in time")
    workers.shutdown(wait=False, cancel_futures=True)
    return lambda load, kernel, launch: refusals[load.head_width, bool(load.problems[0].prefix), kernel, launch]


def _compile(head_width: int, prefix: bool, kernel: str, launch: Launch, device: str, dtype: torch.dtype) -> str:
    """Runs a launch on a few tokens, which compiles it. -> why it is refused, or nothing."""
    where = torch.device(device)
    problem = (
        Problem(((64, 64),), 192, head_width=head_width, prefix=64)
        if prefix
        else packed(1, 192, 0, head_width=head_width)
    )
    shipped = shipped_launches(problem, "prefix" if prefix else "causal", where, dtype)
    try:
        Kernels(problem, where, dtype).run(kernel, launch, shipped)
    except Exception as error:  # as in `_fault`
        return f"{type(error).__name__}: {error}"[:200]
    made = compiled(kernel, where)
    stack, _ = most_spills("")
    if made.n_spills * 4 > stack:
        return f"spills {made.n_spills * 4} bytes a thread"
    most = MOST_SHARED[architecture_of(where)]
    return f"takes {made.metadata.shared} bytes of shared memory" if made.metadata.shared > most else ""
