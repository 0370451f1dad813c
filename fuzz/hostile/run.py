"""Hostile inputs of every kind for everything that reads a file or an argument: refused with an error of ours, or read.

    python fuzz/hostile/run.py [--tries N] [--seed N] [--kind TEXT] [--write SECURITY.md]

Exit status: 0 without faults; 1 where a case ended in another exception, a panic, a signal or a hang; 2 where the
harness itself fails. Cases are functions of (seed, kind, number): what is printed for a fault repeats it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: the parent of all forks has one thread
sys.path.insert(0, str(Path(__file__).parent))

import data_kinds
import model_kinds
import run_kinds
import tokenizer_kinds
import workplace
from harness import HarnessError, Kind, in_child, run
from table import faults, has_faults, table, write_into

KINDS: list[Kind] = [*tokenizer_kinds.KINDS, *data_kinds.KINDS, *model_kinds.KINDS, *run_kinds.KINDS]


def main(arguments: Sequence[str]) -> int:
    """Runs the chosen kinds; prints the table and the faults."""
    parser = argparse.ArgumentParser(description="Hostile inputs of every kind, each in a separate child process.")
    parser.add_argument("--tries", type=int, default=200, help="cases of each kind that is drawn (default: 200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", default="", metavar="TEXT", help="kinds whose name holds TEXT")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="children at a time")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table between the marks of this page")
    options = parser.parse_args(arguments)
    page = options.write and options.write.resolve()  # the folder changes below
    kinds = [kind for kind in KINDS if options.kind in kind.name]
    if options.write and len(kinds) < len(KINDS):
        parser.error("--write needs all kinds")
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        place, scratch = Path(folder) / "inputs", Path(folder) / "cases"
        place.mkdir()
        scratch.mkdir()
        workplace.set_place(place)
        os.chdir(folder)  # a relative path of a case stays in here
        try:
            in_child(workplace.make_all)
            if run_kinds.needs_finished_run(kinds):
                in_child(run_kinds.make_finished_run)
            counts = run(kinds, options.tries, options.seed, scratch, options.jobs, log=sys.stderr)
        except HarnessError as error:
            print(f"harness: {error}", file=sys.stderr)
            return 2
        finally:
            os.chdir("/")
    text = table(kinds, counts)
    print(text)
    print("\n".join(faults(counts)))
    print(f"{sum(count.outcomes.total() for count in counts.values()):,} cases in {time.monotonic() - began_s:.0f} s")
    if page:
        write_into(page, text)
    return int(has_faults(counts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
