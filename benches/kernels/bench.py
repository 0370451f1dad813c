"""Measures the kernels on a CUDA device: correctness first, then speed beside peers, then faster launches.

    python benches/kernels/bench.py [--only correctness,peers,decode,training,tune] [--out FOLDER]

Needs torch, triton, numpy and the compiled module. It writes DATE-kernels-DEVICE.json and .md into the folder, and
the tuned table into triton_kernels/attention/configs.json (--table). Exit status 1: an output is wrong, and nothing is
timed; 3: there is no CUDA device. `--rehearse` tries all of it at tiny sizes in Triton's interpreter.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "triton_kernels" / "attention" / "configs.json"
SECONDS = {"correctness": 80.0, "peers": 180.0, "decode": 30.0, "training": 20.0, "tune": 110.0}
"""Each part and its share of the eight minutes; a row that began is finished."""
WRONG, NO_DEVICE = 1, 3
ROUNDS, REHEARSED_ROUNDS = 30, 1


@dataclass(frozen=True)
class Run:
    """What the parts need to know."""

    device: torch.device
    dtype: torch.dtype
    rehearsal: bool
    rounds: int
    table: Path
    scale: float

    def seconds(self, part: str) -> float:
        """The part's share."""
        return SECONDS[part] * self.scale


def say(text: str) -> None:
    """One line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def correctness(run: Run) -> list[dict[str, Any]]:
    """The tests' cases, and a hundred equal runs."""
    from correctness import check_all
    from timing import Clock

    results = list(check_all(run.device, run.dtype, run.rehearsal, Clock(run.seconds("correctness"))))
    for result in results:
        if not result.good:
            say(f"WRONG {result.name}: {result.fault or result.errors}")
    say(f"{sum(result.good for result in results)} of {len(results)} good")
    return [result.as_json() for result in results]


def peers(run: Run) -> list[dict[str, Any]]:
    """Attention beside its peers."""
    from attention_rows import Setting, rows
    from peers import every_peer
    from timing import Clock

    setting = Setting(run.device, run.dtype, run.rounds, every_peer(run.device, run.rehearsal))
    return [row.as_json() for row in rows(setting, run.rehearsal, Clock(run.seconds("peers")), say)]


def decode(run: Run) -> list[dict[str, Any]]:
    """Decoding over pages."""
    from decode import REHEARSED, Sizes, rows
    from timing import Clock

    sizes = REHEARSED if run.rehearsal else Sizes()
    return [row.as_json() for row in rows(sizes, run.device, run.dtype, run.rounds, Clock(run.seconds("decode")), say)]


def training(run: Run) -> list[dict[str, Any]]:
    """A training step of a GPT."""
    from rows import OURS, Row
    from training import REHEARSED, Sizes, row

    try:
        return [row(REHEARSED if run.rehearsal else Sizes(), run.device, min(run.rounds, 10)).as_json()]
    except (ImportError, RuntimeError) as error:  # a package that the model needs, or memory
        return [Row("training step", "", "tokens/s", failed={OURS: f"{type(error).__name__}: {error}"[:300]}).as_json()]


def tune(run: Run) -> list[dict[str, Any]]:
    """Faster launches, written into the table."""
    from table import text_of
    from timing import Clock
    from tune import tune

    from stategpt.kernels._shared.configs import read_table

    before = read_table(TABLE)
    after, record = tune(before, run.device, run.dtype, run.rehearsal, Clock(run.seconds("tune")), say)
    run.table.parent.mkdir(parents=True, exist_ok=True)
    run.table.write_text(text_of(after), encoding="utf-8")
    changed = sum(before.entries.get(key) != after.entries.get(key) for key in before.entries | after.entries)
    say(
        f"{run.table}: {changed} entries differ from before" + ("; now `make aot` must compile them" if changed else "")
    )
    return record


PARTS: dict[str, Callable[[Run], list[dict[str, Any]]]] = {
    "correctness": correctness,
    "peers": peers,
    "decode": decode,
    "training": training,
    "tune": tune,
}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default=",".join(PARTS), metavar="PARTS", help=f"some of {','.join(PARTS)}")
    parser.add_argument("--out", type=Path, help="folder of the record (default: benches/records)")
    parser.add_argument("--table", type=Path, help="file for the tuned table (default: the one in the sources)")
    parser.add_argument("--time", type=float, default=1.0, metavar="FACTOR", help="of each part's share of the time")
    parser.add_argument("--rounds", type=int, help=f"rounds of each row (default: {ROUNDS})")
    parser.add_argument("--commit", help="of the sources, where they are no git checkout")
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes on the CPU; needs --out")
    given = parser.parse_args()
    given.only = [part for part in given.only.split(",") if part]
    if not given.only:
        parser.error(f"--only takes some of {','.join(PARTS)}")
    if unknown := [part for part in given.only if part not in PARTS]:
        parser.error(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    if given.rehearse and given.out is None:
        parser.error("--rehearse needs --out: its figures do not belong among the records")
    return given


def prepare(rehearsal: bool) -> None:
    """Imports come from this checkout where its module is built; the interpreter is for rehearsals alone."""
    if any((ROOT / "python" / "stategpt").glob("_native*.so")):
        sys.path.insert(0, str(ROOT / "python"))
    os.environ.pop("TRITON_INTERPRET", None)
    if rehearsal:
        os.environ["TRITON_INTERPRET"] = "1"


def run_of(given: argparse.Namespace) -> Run:
    """The run that the command line asks for."""
    import torch

    if given.rehearse:
        table = given.table or given.out / "configs.json"
        return Run(torch.device("cpu"), torch.float32, True, given.rounds or REHEARSED_ROUNDS, table, given.time)
    device = torch.device("cuda", 0)
    return Run(device, torch.bfloat16, False, given.rounds or ROUNDS, given.table or TABLE, given.time)


def main() -> int:
    """Runs the parts, writes the record after each. -> the exit status"""
    given = arguments()
    prepare(given.rehearse)
    import torch

    if not given.rehearse and not torch.cuda.is_available():
        print("no CUDA device here: the kernels are measured on one (--rehearse --out FOLDER tries the script without)")
        return NO_DEVICE
    import record

    run, done = run_of(given), {}
    for name in (part for part in PARTS if part in given.only):
        say(f"== {name}, about {run.seconds(name):.0f} s")
        began = time.monotonic()
        rows = PARTS[name](run)
        done[name] = {"seconds": round(time.monotonic() - began, 1), "rows": rows}
        files = record.write(record.build(run.device, done, given.commit), given.out or ROOT / "benches" / "records")
        if not all(row.get("good", True) for row in rows):
            say(f"an output is wrong: nothing was timed; {files[1]}")
            return WRONG
    print(files[1].read_text(encoding="utf-8"))
    say(f"wrote {files[0]} and {files[1]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
