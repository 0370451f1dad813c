"""The counts as a Markdown table, and its place in SECURITY.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harness import FAULTS, OUTCOMES, Count, Kind

BEGIN, END = "<!-- hostile inputs: begin -->", "<!-- hostile inputs: end -->"
_ROW = r"^(\| (.+?) \| (?:[\d,]+|-) \|.*\|)$"
HEADER = (
    "| kind of input | before: tries | refused | accepted | faults "
    "| now: tries | refused | same | different | raw error | panic | signal | hang |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
)


def rows_of(kinds: Sequence[Kind], counts: Mapping[str, Count]) -> dict[str, str]:
    """The row of each kind that was run, by its name."""
    rows = {}
    for kind in kinds:
        outcomes = counts[kind.name].outcomes
        before = [f"{number:,}" for number in _before(kind)] if kind.before else ["-"] * 4
        now = [f"{number:,}" for number in (outcomes.total(), *(outcomes[name] for name in OUTCOMES))]
        rows[kind.name] = f"| {kind.name} | " + " | ".join([*before, *now]) + " |"
    return rows


def table(rows: Iterable[str]) -> str:
    """The rows below the header, and their sum."""
    listed = list(rows)
    numbers = [[0 if cell == "-" else int(cell.replace(",", "")) for cell in _cells(row)[1:]] for row in listed]
    sums = [sum(column) for column in zip(*numbers, strict=True)]
    return "\n".join([HEADER, *listed, "| **sum** | " + " | ".join(f"**{number:,}**" for number in sums) + " |"])


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|").split("|")]


def _before(kind: Kind) -> list[int]:
    """Tries, refused, accepted and faults of the outside review."""
    if not kind.before:
        return [0] * 4
    tries, typed, same, different, *faults = kind.before
    return [tries, typed, same + different, sum(faults)]


def rows_in(page: str) -> dict[str, str]:
    """The rows of the table of a page by kind, without the sum; the header must be ours."""
    inside = page.split(BEGIN)[1].split(END)[0]
    if HEADER not in inside:
        raise ValueError("the header of the table is another one")
    return {name: row for row, name in re.findall(_ROW, inside, re.MULTILINE)}


def write_into(path: Path, rows: Mapping[str, str], names: Sequence[str]) -> None:
    """Replaces rows of the page by new ones, in the order of `names`; a kind that was never run has no row."""
    page = path.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    known = {**rows_in(page), **rows}
    text = table(known[name] for name in names if name in known)
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")


def faults(counts: Mapping[str, Count], most: int = 12) -> list[str]:
    """The first faults of each kind, with the number that repeats them."""
    lines = []
    for name, count in counts.items():
        lines += [f"{name}: {fault}" for fault in count.faults[:most]]
        if len(count.faults) > most:
            lines.append(f"{name}: and {len(count.faults) - most} more")
    return lines


def has_faults(counts: Mapping[str, Count]) -> bool:
    """Did anything end other than by an error of ours or a result?"""
    return any(count.outcomes[name] for count in counts.values() for name in FAULTS)
