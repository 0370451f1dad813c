"""The record: device, versions, commit, command, rows of each part; as JSON, and as tables to read."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import torch
import triton

ROOT = Path(__file__).resolve().parents[2]
Record = dict[str, Any]
QUERY = ("name", "driver_version", "clocks.sm", "clocks.mem", "clocks.max.sm", "power.limit", "temperature.gpu")


def build(device: torch.device, parts: Record, commit: str | None = None) -> Record:
    """Everything that is known about this run."""
    return {
        "what": "attention kernels beside their peers",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": commit or _output("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD") or "unknown",
        "changed_since_commit": None if commit else _changed(),
        "command": " ".join(["python", "benches/kernels/bench.py", *sys.argv[1:]]),
        "device": device_of(device),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "triton": triton.__version__,
            "numpy": numpy.__version__,
            "cuda": torch.version.cuda,
            "cudnn": _cudnn() if device.type == "cuda" else None,
        },
        "parts": parts,
    }


def _changed() -> bool:
    """Has anything that is measured changed since the commit?"""
    measured = ("python", "rust", "triton_kernels", "benches/kernels")
    return bool(_output("git", "-C", str(ROOT), "status", "--porcelain", "--", *measured))


def _cudnn() -> int | None:
    version: Callable[[], int | None] = torch.backends.cudnn.version
    return version()


def device_of(device: torch.device) -> Record:
    """What nvidia-smi says of the device as this run leaves it."""
    if device.type != "cuda":
        return {"name": "cpu interpreter", "cpu": platform.machine()}
    values = _output(
        "nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader", f"--id={device.index or 0}"
    )
    found = dict(zip(QUERY, (part.strip() for part in values.split(",")), strict=False))
    properties = torch.cuda.get_device_properties(device)
    return found | {"name": properties.name, "multiprocessors": properties.multi_processor_count}


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def write(made: Record, folder: Path) -> tuple[Path, Path]:
    """The two files of the record; parts that an earlier run of this commit and day left there stay in it."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{made['date']}-kernels-{_slug(made['device']['name'])}"
    data, page = folder / f"{stem}.json", folder / f"{stem}.md"
    if data.exists():
        held = json.loads(data.read_text(encoding="utf-8"))
        if all(held[name] == made[name] for name in ("commit", "changed_since_commit", "versions")):
            made = made | {"parts": held["parts"] | made["parts"]}
    data.write_text(_compact(made) + "\n", encoding="utf-8")
    page.write_text(text_of(made), encoding="utf-8")
    return data, page


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _compact(made: Record) -> str:
    """JSON with a row on a line."""
    head = json.dumps({name: value for name, value in made.items() if name != "parts"}, indent=1)
    parts = ",\n".join(_part(name, part) for name, part in made["parts"].items())
    return f'{head[:-2]},\n "parts": {{\n{parts}\n }}\n}}'


def _part(name: str, part: Record) -> str:
    rows = ",\n".join(f"   {json.dumps(row)}" for row in part["rows"])
    head = json.dumps({key: value for key, value in part.items() if key != "rows"})
    return f'  {json.dumps(name)}: {head[:-1]}, "rows": [\n{rows}\n  ]}}'


def text_of(made: Record) -> str:
    """The page."""
    lines = [
        f"# {made['what'].capitalize()}, {made['date']}",
        "",
        f"* `{made['command']}` at {made['commit']}{' with changes' if made['changed_since_commit'] else ''}",
        f"* {', '.join(f'{name} {value}' for name, value in made['device'].items())}",
        f"* {', '.join(f'{name} {value}' for name, value in made['versions'].items() if value)}",
        "",
        "Medians of interleaved rounds on normal random numbers, the L2 cache overwritten before each call. TFLOP/s "
        "count visible pairs alone: two products forward, five backward. A ratio above 1 means that we are faster; in "
        "brackets the quartiles of the single rounds' ratios.",
        "",
    ]
    for name, part in made["parts"].items():
        lines += [
            f"## {name.capitalize()} ({part['seconds']:.0f} s)",
            "",
            *_TABLES.get(name, _speeds)(part["rows"]),
            "",
        ]
    return "\n".join(lines)


def _speeds(rows: list[Record]) -> Iterator[str]:
    yield "| what | input | stategpt | peers | ratio | reach | aim |"
    yield "|---|---|---|---|---|---|---|"
    for row in rows:
        yield f"| {' | '.join(_cells(row))} |"
    notes = {f"{name}: {note}" for row in rows for name, note in row["notes"].items()}
    yield from ("", *(f"* {note}" for note in sorted(notes)))


def _cells(row: Record) -> Iterator[str]:
    yield row["axis"]
    yield row["input"]
    yield _figure(row, "stategpt") if "stategpt" in row["values"] else row["failed"].get("stategpt", "-")
    peers = [f"{name} {_figure(row, name)}" for name in row["values"] if name != "stategpt"]
    peers += [f"{name}: {why}" for name, why in row["failed"].items() if name != "stategpt"]
    yield ", ".join(peers).replace("|", "/") or "-"
    yield (
        ", ".join(f"{name} **{m:.2f}** ({low:.2f}-{high:.2f})" for name, (m, low, high) in row["ratios"].items()) or "-"
    )
    yield ", ".join(_asked(goal, "reach", "reached") for goal in row["goals"]) or "-"
    yield ", ".join(_asked(goal, "aim", "aimed") for goal in row["goals"] if goal["aim"] is not None) or "-"


def _figure(row: Record, library: str) -> str:
    return f"{row['values'][library]:,.4g} {row['unit']} ({row['ms'][library][0]:.4g} ms)"


def _asked(goal: Record, what: str, met: str) -> str:
    said = {True: "yes", False: "no", None: "not measured"}[goal[met]]
    return f"{goal['peer']} {goal[what]:g}: {said}"


def _correctness(rows: list[Record]) -> Iterator[str]:
    bad = [row for row in rows if not row["good"]]
    yield f"{len(rows) - len(bad)} of {len(rows)} good."
    yield from (f"* {row['case']}: {row.get('fault') or row['errors']}" for row in bad)


def _tuning(rows: list[Record]) -> Iterator[str]:
    yield "| key | kernel | kept | gain | trials: [block_q, block_k, warps, stages] ms |"
    yield "|---|---|---|---|---|"
    for row in rows:
        trials = ", ".join(f"{launch} {figure}" for launch, figure in row["trials"].items()).replace("|", "/")
        yield f"| {row['key']} | {row['kernel']} | {row['kept']} | {row['gain']:.2f} | {trials} |"


_TABLES = {"correctness": _correctness, "tune": _tuning}
