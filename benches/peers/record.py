"""The record: machine, versions, commit, command, rows; as JSON, and as a table to read."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paired
from corpora import Corpus
from environment import PEERS, ROOT, Environment
from jobs import OURS, Plan
from rows import Row, rows

Record = dict[str, Any]


def build(
    entries: list[dict[str, Any]],
    plan: Plan,
    made: Environment,
    texts: dict[str, Corpus],
    sources: dict[str, str],
    load_before: list[float],
) -> Record:
    """Everything that is known about this run."""
    return {
        "what": "the tokenizer beside its peers",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": _git("rev-parse", "--short", "HEAD"),
        "changed_since_commit": bool(_git("status", "--porcelain", "--", "rust", "python", "Cargo.lock")),
        "command": " ".join(["python", "benches/peers/tokenizer.py", *sys.argv[1:]]),
        "machine": machine() | {"load_average_before": load_before, "load_average_after": load_average()},
        "versions": {name: made.versions[name] for name in ("python", OURS, *PEERS, "numpy") if name in made.versions},
        "missing": made.missing,
        "corpora": {kind: corpus.__dict__ | {"path": Path(corpus.path).name} for kind, corpus in texts.items()},
        "vocabularies": sources,
        "megabytes_encoded": plan.megabytes,
        "rounds": plan.rounds,
        "paired": paired.paired_rows(entries),
        "rows": [row.as_json() for row in rows(entries, plan.quick)],
    }


def machine() -> Record:
    """Processor, cores, memory, system."""
    with open("/proc/cpuinfo") as file:
        text = file.read()
    flags = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    name = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    known = flags[1].split() if flags else []
    return {
        "cpu": name[1] if name else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "vectors": [flag for flag in ("avx2", "avx512bw", "avx512vbmi2") if flag in known],
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release()}, {' '.join(platform.libc_ver())}",
    }


def load_average() -> list[float]:
    """Of one, five and fifteen minutes: above the cores that are used, others were at work."""
    return [round(part, 2) for part in os.getloadavg()]


def engine_hash(python: str) -> str:
    """Of our compiled module as installed beside `python`."""
    found = sorted(Path(python).parent.parent.glob("lib/python*/site-packages/stategpt/_native*"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in found)).hexdigest()


def write(made: Record, folder: Path, quick: bool, name: str | None) -> tuple[Path, Path]:
    """The two files of the record."""
    folder.mkdir(parents=True, exist_ok=True)
    name = name or _slug(f"{made['machine']['cpu']}-{made['machine']['cores']}-cores")
    stem = f"{made['date']}-tokenizer-{'quick-' if quick else ''}{name}"
    json_file, page = folder / f"{stem}.json", folder / f"{stem}.md"
    json_file.write_text(_compact(made) + "\n")
    tables = f"{paired_table(made)}\n{table(made)}"
    page.write_text(f"# {made['what'].capitalize()}, {made['date']}\n\n{_preface(made)}\n{tables}")
    return json_file, page


def _compact(made: Record) -> str:
    """JSON with a row on a line."""
    rows_of = ",\n".join(f"  {json.dumps(row)}" for row in made["rows"])
    pairs = ",\n".join(f"  {json.dumps(row)}" for row in made["paired"])
    head = json.dumps({name: value for name, value in made.items() if name not in ("rows", "paired")}, indent=1)
    return f'{head[:-2]},\n "paired": [\n{pairs}\n ],\n "rows": [\n{rows_of}\n ]\n}}'


def _preface(made: Record) -> str:
    machine_of, versions = made["machine"], made["versions"]
    sources = "; ".join(f"{kind} {corpus['megabytes']} MB" for kind, corpus in made["corpora"].items())
    return "\n".join(
        [
            f"* `{made['command']}` at {made['commit']}{' with changes' if made['changed_since_commit'] else ''}",
            f"* {machine_of['cpu']}, {machine_of['cores']} cores ({', '.join(machine_of['vectors'])}), "
            f"{machine_of['memory_gib']} GiB, {machine_of['system']}; load average {machine_of['load_average_before']} "
            f"before, {machine_of['load_average_after']} after",
            f"* {', '.join(f'{name} {version}' for name, version in versions.items())}",
            *(f"* not installed: {name} ({reason})" for name, reason in made["missing"].items()),
            f"* corpora: {sources}; the first {made['megabytes_encoded']:g} MB are encoded",
            "",
            "Figures are per second of CPU time, with the wall clock's in brackets where it is a time: medians of "
            f"{made['rounds']} interleaved rounds (of one round for libraries far behind), each in a process of its "
            "own. A ratio above 1 means that we are better than the best peer whose ids or merges are the format "
            "owner's. *Cold* is the first pass over the documents in a fresh process, *warm* a later one. Of document "
            "by document and the batch call the better one counts.",
            "",
        ]
    )


def paired_table(made: Record) -> str:
    """What processes that took turns say, as Markdown; empty where none did."""
    vocabularies = dict.fromkeys(row["vocabulary"] for row in made["paired"])
    if not vocabularies:
        return ""
    head = (
        "Processes that took turns on the same text: how many times as fast as the best peer we are, as the median of "
        "the rounds' ratios with their quartiles in brackets. Warm passes are over text encoded before, cold ones are "
        "each in a new process; CPU time. Two processes have half of the documents each.\n"
    )
    tables = (paired.table(made["paired"], vocabulary) for vocabulary in vocabularies)
    return "\n".join([head, *tables])


def table(made: Record) -> str:
    """The rows as a Markdown table."""
    head = "| axis | input | unit | stategpt | best peer | ratio | reach | the others |\n" + "|---" * 8 + "|\n"
    return head + "".join(f"| {' | '.join(_cells(row))} |\n" for row in made["rows"])


def _cells(row: Record) -> Iterator[str]:
    best = row["best_peer"]
    yield from (row["axis"], row["input"], row["unit"], _figure(row, OURS))
    yield f"{best} {_figure(row, best)}" if best else "-"
    yield f"**{row['ratio']:.2f}**" if row["ratio"] else "-"
    yield _reached(row)
    others = [name for name in row.get("values", {}) if name not in (OURS, best)]
    others.sort(key=row["values"].__getitem__, reverse=row["more_is_better"])
    said = [f"{name} {_figure(row, name)}" for name in others]
    said += [f"{name} failed" for name in row.get("failed", {}) if name not in row.get("values", {})]
    yield ", ".join(said) or "-"


def _figure(row: Record, library: str) -> str:
    value = row.get("values", {}).get(library)
    if value is None:
        return "failed" if library in row.get("failed", {}) else "-"
    wall = row["wall"].get(library)
    text = _number(value)
    if wall is not None and wall != value and row["unit"] in ("MB/s", "s", "us"):
        text += f" ({_number(wall)})"
    return text + (f" *{row['differ'][library]} differ*" if library in row.get("differ", {}) else "")


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _reached(row: Record) -> str:
    """What was asked of the row, and whether it is met."""
    reach = row.get("reach", "")
    found = re.search(r"([\d.]+)x?(?: \w+)?$", reach)
    if not found or OURS not in row.get("values", {}):
        return reach or "-"
    limit = float(found[1])
    if "x" in reach:
        met = row["ratio"] is not None and row["ratio"] >= limit
    else:
        met = row["values"][OURS] >= limit if row["more_is_better"] else row["values"][OURS] <= limit
    return f"{reach} {'yes' if met else 'no'}"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"\((R|TM|tm)\)|@.*?-", " ", text).lower()).strip("-")


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, check=False, capture_output=True, text=True)
    return done.stdout.strip()


__all__ = ["Row", "build", "engine_hash", "load_average", "machine", "paired_table", "table", "write"]
