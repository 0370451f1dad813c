#!/usr/bin/env python3
"""Curation and data preparation beside their peers, in one run: figures first checked, then timed.

    python benches/peers/data.py --quick             some minutes on two cores
    python benches/peers/data.py                     more text, more rounds; 12 GB of temporary files

Needs the package (with its compiled module) and, for a peer's column, the peer: `pip install rensa datasketch`. A peer
that is not installed is named, and its column is empty. Writes DATE-data-*.json and the same as a table into
benches/records. To add a section, write `data_sections/NAME.py` with `rows(bench) -> Iterator[Row]` and add NAME below.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import sysconfig
import time
from pathlib import Path

import record
from data_sections.bench import Bench, Row

SECTIONS = ("rules", "duplicates", "contamination", "sharding", "packing", "loader", "memory")

ROOT = Path(__file__).resolve().parents[2]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="8 MB of text and three rounds instead of 60 MB and five")
    parser.add_argument("--only", default=",".join(SECTIONS), help=f"sections, of {','.join(SECTIONS)}")
    parser.add_argument(
        "--texts", type=Path, default=Path(sysconfig.get_path("stdlib")), help="folder of .py, .md, .rst and .txt files"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "benches" / "records", help="folder of the record")
    parser.add_argument("--machine", help="name of this machine in the record's file name")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    before = record.load_average()
    bench = Bench(options.texts, megabytes=8 if options.quick else 60, rounds=3 if options.quick else 5)
    measured: dict[str, list[Row]] = {}
    for name in SECTIONS:
        if name not in options.only.split(","):
            continue
        section = importlib.import_module(f"data_sections.{name}")
        measured[name] = []
        for row in section.rows(bench):
            measured[name].append(row)
            print(f"{time.strftime('%H:%M:%S')} {name}: {row.what}: {row.figure:.4g} {row.unit}", flush=True)
    made = {
        "what": "curation and data preparation beside their peers",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "command": " ".join(["python", "benches/peers/data.py", *sys.argv[1:]]),
        "machine": record.machine() | {"load_average_before": before, "load_average_after": record.load_average()},
        "versions": bench.versions,
        "missing": sorted(bench.missing),
        "texts": {"megabytes": round(bench.bytes / 1e6, 1), "documents": len(bench.documents)},
        "rounds": bench.rounds,
        "rows": [{"section": name, **row.as_json()} for name, rows in measured.items() for row in rows],
    }
    paths = write(made, measured, options)
    print(table(measured))
    if bench.missing:
        print(f"not installed, so not measured: {', '.join(sorted(bench.missing))}")
    print(f"written: {', '.join(map(str, paths))}")


def write(made: dict[str, object], measured: dict[str, list[Row]], options: argparse.Namespace) -> tuple[Path, Path]:
    options.out.mkdir(parents=True, exist_ok=True)
    cores = record.machine()["cores"]
    machine = options.machine or f"{cores}-cores"
    stem = f"{made['date']}-data-{'quick-' if options.quick else ''}{machine}"
    data, page = options.out / f"{stem}.json", options.out / f"{stem}.md"
    data.write_text(json.dumps(made, indent=1) + "\n")
    head = (
        f"# Curation and data preparation, {made['date']}\n\n* `{made['command']}`\n* {made['machine']}\n"
        f"* {made['versions']}; not installed: {made['missing']}\n* texts: {made['texts']}\n\n"
        "Figures are per second of CPU time of one core: medians of rounds that visit all libraries in turn.\n\n"
    )
    page.write_text(head + table(measured))
    return data, page


def table(measured: dict[str, list[Row]]) -> str:
    lines = ["| section | what | unit | stategpt | reach | peers |", "|---" * 6 + "|"]
    for name, rows in measured.items():
        for row in rows:
            peers = ", ".join(f"{peer} {figure:.4g}" for peer, figure in row.peers.items()) or "-"
            reach = row.reach or "-"
            lines.append(f"| {name} | {row.what} | {row.unit} | {row.figure:.4g} | {reach} | {peers} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
