"""What the jobs of `turns.py` say: how many times as fast we are, with the spread that the machine gives.

Seconds of processes that took turns are compared round by round: a ratio is `theirs / ours`, above 1 where we are
faster.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

from jobs import OURS

Entry = dict[str, Any]
Record = dict[str, Any]

KIND_NAMES = {"prose": "prose", "code": "code", "multi": "many languages"}
# Titles of the README's lines: axis, mode and what of a fresh process is timed.
LINES = (
    ("warm, a call for each document", "turns", "one", ""),
    ("warm, one call for all", "turns", "batch", ""),
    ("cold, a call for each document: the first pass alone", "fresh", "one", "pass"),
    ("cold, one call for all: the first pass alone", "fresh", "batch", "pass"),
    ("cold, a call for each: with import, load and first call", "fresh", "one", "load"),
    ("cold, a call for each: the whole process", "fresh", "one", "process"),
)
# What one thread is compared with. Twice the CPU ratio is the speed-up of a machine on which nobody else is at work.
SCALING = (
    ("two threads over one, wall clock", "two threads"),
    ("two processes over one, wall clock", "two processes"),
    ("CPU time of one thread over that of two", "two threads, CPU"),
    ("CPU time of one thread over that of two processes", "two processes, CPU"),
)


@dataclass(frozen=True)
class Ratio:
    """How two lists of seconds that were measured in turns stand to each other.

    Attributes:
        of_minima: the least of theirs over the least of ours.
        of_medians: the same of medians.
        quartiles: of the rounds' ratios: a quarter lies below the first, half below the second.
    """

    of_minima: float
    of_medians: float
    quartiles: tuple[float, float, float]

    @staticmethod
    def of(ours: list[float], theirs: list[float]) -> Ratio:
        """The ratios `theirs / ours` of two lists of as many rounds, two or more."""
        rounds = [there / here for here, there in zip(ours, theirs, strict=True)]
        low, middle, high = quantiles(rounds, n=4, method="inclusive")
        return Ratio(min(theirs) / min(ours), median(theirs) / median(ours), (low, middle, high))

    def text(self) -> str:
        """The median of the rounds' ratios, and the quartiles in brackets."""
        low, middle, high = self.quartiles
        return f"{middle:.2f} ({low:.2f}-{high:.2f})"


def paired_rows(entries: list[Entry]) -> list[Record]:
    """A row for each job that took turns: its seconds, and the ratios to each contender called as we are."""
    rows = []
    for entry in entries:
        job = entry["job"]
        if job["job"] not in ("turns", "fresh", "scaling"):
            continue
        row: Record = {name: job[name] for name in ("job", "kind", "vocabulary", "turns")}
        if job["job"] == "scaling":
            row["library"] = job["library"]
        rows.append(row | (entry["result"] if "result" in entry else {"error": entry["error"]}))
    return [row | _ratios(row) for row in rows]


def _ratios(row: Record) -> Record:
    if "seconds" not in row:
        return {}
    found = [{"name": name, **_as_json(ratio)} for name, ratio in ratios(row)]
    return {"ratios": found}


def ratios(row: Record) -> Iterator[tuple[str, Ratio]]:
    """The ratios that a row's seconds give, by name: peer and mode, and what of a fresh process is timed.

    For scaling: how many times as fast as one thread two are, and how much CPU time one takes of what two take.
    """
    seconds = row["seconds"]
    if row["job"] == "scaling":
        for label in ("two threads", "two processes"):
            yield label, Ratio.of(seconds[label], seconds["one thread"])
            yield f"{label}, CPU", Ratio.of(row["cpu"][label], row["cpu"]["one thread"])
        return
    for name, theirs in seconds.items():
        library, mode = name.rsplit(" ", 1)
        ours = seconds.get(f"{OURS} {mode}")
        if library == OURS or ours is None:
            continue
        if row["job"] == "turns":
            yield name, Ratio.of(ours, theirs)
        else:
            for part, timed in theirs.items():
                yield f"{name}, {part}", Ratio.of(ours[part], timed)


def _as_json(ratio: Ratio) -> Record:
    return {
        "of_minima": round(ratio.of_minima, 3),
        "of_medians": round(ratio.of_medians, 3),
        "quartiles": [round(part, 3) for part in ratio.quartiles],
    }


def best(row: Record, mode: str, part: str = "") -> tuple[str, Ratio] | None:
    """The peer, called by that mode, that comes nearest to us or farthest ahead, and our ratio to it."""
    ending = f" {mode}, {part}" if part else f" {mode}"
    found = [(name.removesuffix(ending), ratio) for name, ratio in ratios(row) if name.endswith(ending)]
    return min(found, key=lambda pair: pair[1].quartiles[1], default=None)


def table(rows: list[Record], vocabulary: str = "cl100k") -> str:
    """The ratios to the best peer as a Markdown table: a line for each way to time, a column for each corpus."""
    lines = [f"| {vocabulary} | {' | '.join(KIND_NAMES.values())} |", "|---" * 4 + "|"]
    for title, job, mode, part in LINES:
        cells = [_cell(rows, vocabulary, kind, (job, mode, part)) for kind in KIND_NAMES]
        if any(cells):
            lines.append(f"| {title} | {' | '.join(cell or '-' for cell in cells)} |")
    for title, label in SCALING:
        cells = [_scaling_cell(rows, vocabulary, kind, label) for kind in KIND_NAMES]
        if any(cells):
            lines.append(f"| {title} | {' | '.join(cell or '-' for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _cell(rows: list[Record], vocabulary: str, kind: str, line: tuple[str, str, str]) -> str:
    job, mode, part = line
    for row in rows:
        if (row["job"], row["vocabulary"], row["kind"]) != (job, vocabulary, kind) or "seconds" not in row:
            continue
        if found := best(row, mode, part):
            return f"{found[1].text()} of {found[0]}"
    return ""


def _scaling_cell(rows: list[Record], vocabulary: str, kind: str, label: str) -> str:
    for row in rows:
        if (row["job"], row["vocabulary"], row["kind"]) != ("scaling", vocabulary, kind) or "seconds" not in row:
            continue
        if row["library"] == OURS:
            return dict(ratios(row))[label].text()
    return ""
