#!/usr/bin/env python3
"""How many instructions three fixed jobs of the tokenizer take, beside the goldens: speed that noise does not blur.

    python benches/instructions.py             compare; exits 1 where a job takes more than the tolerance allows
    python benches/instructions.py --update    write what is counted now into instructions.json

Counted by valgrind's callgrind (Debian: apt install valgrind). It has no AVX-512, so what is counted is the AVX2 tier.
Another compiler gives other counts: goldens hold for the one they name.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GOLDENS = Path(__file__).with_name("instructions.json")

# Name of a job, and two numbers of repeats: their difference is its cost (the first warm pass is not counted).
JOBS = {"encode_warm": (1, 2), "encode_cold": (0, 1), "train": (0, 1)}
TOLERANCE = 0.03


def obstacle() -> str:
    """Why instructions cannot be counted or compared here; empty if they can."""
    if platform.machine() != "x86_64" or "avx2" not in Path("/proc/cpuinfo").read_text().split():
        return "goldens are of x86-64 with AVX2"
    for tool in ("valgrind", "cargo"):
        if not shutil.which(tool):
            return f"{tool} is not installed"
    if GOLDENS.exists() and (wanted := json.loads(GOLDENS.read_text())["rustc"]) != compiler():
        return f"goldens are of {wanted}, this is {compiler()}; run `python benches/instructions.py --update`"
    return ""


def compiler() -> str:
    """Its version, as `rustc --version` says it."""
    return _run(["rustc", "--version"]).split(" (")[0].strip()


def count() -> dict[str, int]:
    """Instructions of every job."""
    _run(["cargo", "build", "--release", "--locked", "-p", "stategpt-benches", "--bin", "instructions"])
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    program = str(target / "release" / "instructions")
    return {name: _count(program, name, high) - _count(program, name, low) for name, (low, high) in JOBS.items()}


def compare(counted: dict[str, int]) -> tuple[list[str], bool]:
    """A line for each job, and whether none takes more than its golden allows."""
    goldens = json.loads(GOLDENS.read_text())["instructions"]
    lines, good = [], True
    for name, instructions in counted.items():
        change = instructions / goldens[name] - 1
        verdict = "ok"
        if change > TOLERANCE:
            verdict, good = f"MORE than {TOLERANCE:.0%} above its golden", False
        elif change < -TOLERANCE:
            verdict = "less: run with --update to keep it"
        lines.append(f"{name}: {instructions:,} instructions, golden {goldens[name]:,} ({change:+.1%}): {verdict}")
    return lines, good


def update(counted: dict[str, int]) -> None:
    """Makes what was counted the goldens."""
    GOLDENS.write_text(json.dumps({"rustc": compiler(), "instructions": counted}, indent=1) + "\n")


def _count(program: str, job: str, repeats: int) -> int:
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, job, str(repeats)]
    found = re.search(r"Collected : (\d+)", _run(command))
    if not found:
        raise SystemExit(f"callgrind says nothing about {job}")
    return int(found[1])


def _run(command: list[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout + done.stderr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="write the goldens anew")
    updating = parser.parse_args().update
    reason = obstacle()
    if reason and not (updating and reason.startswith("goldens are of rustc")):
        print(f"not counted: {reason}")
        return
    counted = count()
    if updating:
        update(counted)
    lines, good = compare(counted)
    print("\n".join(lines))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
