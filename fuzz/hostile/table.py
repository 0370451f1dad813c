"""The counts as a Markdown table, and its place in SECURITY.md."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness import FAULTS, OUTCOMES, Count, Kind

BEGIN, END = "<!-- hostile inputs: begin -->", "<!-- hostile inputs: end -->"
HEADER = (
    "| kind of input | before: tries | refused | accepted | faults "
    "| now: tries | refused | same | different | raw error | panic | signal | hang |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
)


def table(kinds: Sequence[Kind], counts: Mapping[str, Count]) -> str:
    """One row a kind, and the sum."""
    rows, sums = [], [0] * 12
    for kind in kinds:
        tries, typed, same, different, *faults = kind.before
        outcomes = counts[kind.name].outcomes
        numbers = [
            tries,
            typed,
            same + different,
            sum(faults),
            outcomes.total(),
            *(outcomes[name] for name in OUTCOMES),
        ]
        sums = [a + b for a, b in zip(sums, numbers, strict=True)]
        rows.append(f"| {kind.name} | " + " | ".join(f"{number:,}" for number in numbers) + " |")
    rows.append("| **sum** | " + " | ".join(f"**{number:,}**" for number in sums) + " |")
    return "\n".join([HEADER, *rows])


def kinds_in(page: str) -> list[str]:
    """The kinds that the table of a page has rows for; the header must be ours."""
    inside = page.split(BEGIN)[1].split(END)[0]
    if HEADER not in inside:
        raise ValueError("the header of the table is another one")
    return list(re.findall(r"^\| (.+?) \| [\d,]+ \|", inside, re.MULTILINE))


def write_into(path: Path, text: str) -> None:
    """Replaces what stands between the marks."""
    page = path.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
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
