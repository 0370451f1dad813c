#!/usr/bin/env python3
"""A record in a dozen lines, for the README: `python benches/peers/summary.py benches/records/RECORD.json`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

Row = dict[str, Any]

OURS = "stategpt"
# Title, axis, and how the inputs that stand in one line begin.
LINES = (
    ("encode, warm, MB/s", "encode warm, 1 thread", ("prose, cl100k", "code, cl100k", "multi, cl100k")),
    ("encode, cold, MB/s", "encode cold, 1 thread", ("prose, cl100k", "code, cl100k", "multi, cl100k")),
    ("2 threads over 1, batch, warm", "2 threads over 1, batch", ("prose, warm", "code, warm", "multi, warm")),
    ("2 Python threads, one object", "2 Python threads, one object", ("prose", "code", "multi")),
    ("worst of 12 floods of 1 MB, s", "worst of the floods", ("of",)),
    ("short strings of 5 / 60 / 1000 B, us a call", "short strings, per call", ("5 B", "60 B", "1000 B")),
    ("decode from a list, MB/s", "decode from list", ("prose", "code", "multi")),
    ("decode from an array, MB/s", "decode from array", ("prose", "code", "multi")),
    ("train 32k, gpt2 pattern, CPU s", "train 32k", ("prose, gpt2, lines", "code, gpt2, lines", "multi, gpt2, lines")),
    ("train 32k, gpt4 pattern, CPU s", "train 32k", ("prose, gpt4", "code, gpt4", "multi, gpt4")),
    ("train 32k on 1 GB, CPU s", "train 32k", ("1 GB",)),
    ("the same, peak MB", "train 32k, peak memory", ("1 GB",)),
    ("memory of a 100k vocabulary, MB", "memory of the tokenizer", ("cl100k",)),
    ("load a tokenizer.json of 128k, s", "load tokenizer.json", ("llama3",)),
)


def summary(record: Row) -> str:
    """The lines whose rows the record has, as a Markdown table."""
    lines = ["| prose / code / many languages | stategpt | best peer | ratio |", "|---|---|---|---|"]
    for title, axis, inputs in LINES:
        found = [_row(record["rows"], axis, begin) for begin in inputs]
        rows = [row for row in found if row and OURS in row.get("values", {})]
        if rows:
            lines.append(f"| {' | '.join((title, *_cells(rows)))} |")
    return "\n".join(lines)


def _row(rows: list[Row], axis: str, begin: str) -> Row | None:
    """The first row of the axis whose input begins so, whatever the amount of text before it."""
    for row in rows:
        held = row["input"].split(" MB of ", 1)[-1]
        if row["axis"] == axis and held.startswith(begin):
            return row
    return None


def _cells(rows: list[Row]) -> tuple[str, str, str]:
    bests = [row["best_peer"] for row in rows]
    ours = " / ".join(_number(row["values"][OURS]) for row in rows)
    if len(set(bests)) == 1 and bests[0]:
        theirs = f"{bests[0]} " + " / ".join(_number(row["values"][bests[0]]) for row in rows)
    else:
        pairs = zip(rows, bests, strict=True)
        theirs = " / ".join(f"{best} {_number(row['values'][best])}" if best else "-" for row, best in pairs)
    return ours, theirs, " / ".join(f"{row['ratio']:.2f}" if row["ratio"] else "-" for row in rows)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}" if value < 1 else f"{value:.3g}"


def main() -> None:
    path = Path(sys.argv[1])
    record = json.loads(path.read_text())
    print(summary(record))
    machine = record["machine"]
    row = (record["date"], record["what"], f"{machine['cores']} cores of {machine['cpu']}", "see the table")
    print(f"\nFor records/index.md:\n| {' | '.join(row)} | [table]({path.stem}.md), [record]({path.name}) |")


if __name__ == "__main__":
    main()
