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
import document_kinds
import model_kinds
import record_kinds
import run_kinds
import tokenizer_kinds
import torch._dynamo  # noqa: F401  an optimizer's first step imports it, which each child would do by itself
import user_kinds
import workplace
from harness import HarnessError, Kind, in_child, run
from table import faults, has_faults, rows_of, table, write_into

MODULES = (tokenizer_kinds, data_kinds, document_kinds, record_kinds, user_kinds, model_kinds, run_kinds)
KINDS: list[Kind] = [kind for module in MODULES for kind in module.KINDS]


def main(arguments: Sequence[str]) -> int:
    """Runs the chosen kinds; prints the table and the faults."""
    parser = argparse.ArgumentParser(description="Hostile inputs of every kind, each in a separate child process.")
    parser.add_argument("--tries", type=int, default=200, help="cases of each kind that is drawn (default: 200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", default="", metavar="TEXT", help="kinds whose name holds TEXT")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="children at a time")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the rows into the table of this page")
    options = parser.parse_args(arguments)
    page = options.write and options.write.resolve()  # the folder changes below
    kinds = [kind for kind in KINDS if options.kind in kind.name]
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        place, scratch = Path(folder) / "inputs", Path(folder) / "cases"
        place.mkdir()
        scratch.mkdir()
        workplace.set_place(place)
        os.chdir(folder)  # a relative path of a case stays in here
        try:
            in_child(workplace.make_all)
            in_child(user_kinds.make_user_files)
            if run_kinds.needs_finished_run(kinds):
                in_child(run_kinds.make_finished_run)
            counts = run(kinds, options.tries, options.seed, scratch, options.jobs, log=sys.stderr)
        except HarnessError as error:
            print(f"harness: {error}", file=sys.stderr)
            return 2
        finally:
            os.chdir("/")
    rows = rows_of(kinds, counts)
    print(table(rows.values()))
    print("\n".join(faults(counts)))
    print(f"{sum(count.outcomes.total() for count in counts.values()):,} cases in {time.monotonic() - began_s:.0f} s")
    if page:
        write_into(page, rows, [kind.name for kind in KINDS])
    return int(has_faults(counts))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
