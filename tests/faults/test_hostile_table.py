"""The table of hostile inputs in SECURITY.md has the rows that `make fuzz` fills; the harness tells endings apart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the harness makes models")

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = ROOT / "fuzz" / "hostile"


def harness(program: str) -> str:
    """What a program prints that has the harness's folder on its path; in a process of its own, for it forks."""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(HOSTILE)!r})\n{program}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_table_in_security_md_has_a_row_for_each_kind() -> None:
    program = f"""
from pathlib import Path
import run, table
page = Path({str(ROOT / "SECURITY.md")!r}).read_text(encoding="utf-8")
assert list(table.rows_in(page)) == [kind.name for kind in run.KINDS], "make fuzz writes the table"
assert table.table(table.rows_in(page).values()) in page, "the sum is that of the rows"
"""
    harness(program)


def test_every_ending_of_a_case_is_told_apart(tmp_path: Path) -> None:
    program = f"""
import os, time, sys
from collections import Counter
from pathlib import Path
from harness import FAULTS, Kind, run
from stategpt.errors import DataError

class PanicException(BaseException): pass

def attempt(case):
    if case.is_good: return 1
    way = case.number % 7
    if way == 0: raise DataError("typed")
    if way == 1: return 1
    if way == 2: return 2
    if way == 3: raise KeyError("raw")
    if way == 4: raise PanicException("panic")
    if way == 5: os.kill(os.getpid(), {int(signal.SIGSEGV)})
    time.sleep(3600)

kind = Kind("all", attempt, (0,) * 8, fixed=14, timeout_s=5.0)
counts = run([kind], 0, 0, Path({str(tmp_path)!r}), jobs=2)["all"]
assert counts.outcomes == Counter(typed=2, same=2, different=2, raw=2, panic=2, signal=2, hang=2), counts
assert len(counts.faults) == 2 * len(FAULTS)
assert not list(Path({str(tmp_path)!r}).iterdir()), "folders of cases are removed"

large = Kind("large", lambda case: len(bytearray(3 << 30)), (0,) * 8, fixed=1, has_good=False)
assert run([large], 0, 0, Path({str(tmp_path)!r}), jobs=1)["large"].outcomes == Counter(raw=1), "memory is bounded"
"""
    harness(program)


def test_rows_that_were_run_replace_those_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text((ROOT / "SECURITY.md").read_text(encoding="utf-8"), encoding="utf-8")
    program = f"""
from collections import Counter
from pathlib import Path
import harness, table
path = Path({str(tmp_path / "page.md")!r})
before = table.rows_in(path.read_text(encoding="utf-8"))
first, *others = before
kind = harness.Kind(first, print)
rows = table.rows_of([kind], {{first: harness.Count(Counter(typed=1234, raw=5))}})
table.write_into(path, rows, list(before))
after = table.rows_in(path.read_text(encoding="utf-8"))
assert after[first] == f"| {{first}} | - | - | - | - | 1,239 | 1,234 | 0 | 0 | 5 | 0 | 0 | 0 |"
assert list(after) == list(before) and all(after[name] == before[name] for name in others)
"""
    harness(program)


def test_the_same_seed_makes_the_same_cases() -> None:
    program = """
import random
from changes import flipped, retyped
def made(seed):
    draw = random.Random(seed)
    values = [repr(retyped({"a": [1, {"b": "x"}]}, draw)) for _ in range(50)]
    return [flipped(bytes(range(256)), draw) for _ in range(50)], values
assert made("0/kind/1") == made("0/kind/1") != made("0/kind/2")
assert len(set(made("0/kind/1")[0])) > 40
"""
    harness(program)
