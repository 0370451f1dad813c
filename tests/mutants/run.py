"""Breaks the product in one place after another and runs the tests that must notice. `README.md` describes the entries.

    python tests/mutants/run.py [AREA ...] [--only TEXT] [--folder FOLDER] [--workers 2]

Each worker has a copy of the tree; the first one also compiles Rust, whose target is kept between runs. A named test
must pass on the unchanged copy before a mutant that names it counts. Tests run in forked processes that have pytest,
torch and the like already, and of the product nothing. Exit status: 0 all mutants were noticed, 1 some were not, 2 an
entry or its tests are wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import multiprocessing
import os
import runpy
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path

from entries import Mutant, WrongEntry, read_mutants
from tree import Tree

ROOT = Path(__file__).resolve().parents[2]
KILLED, SURVIVED, WRONG = "killed", "SURVIVED", "WRONG ENTRY"
PLUGINS = "pytest,pytest_timeout,pytest_benchmark.plugin,hypothesis"
PRELOADED = f"{PLUGINS},numpy,torch,torch._dynamo,triton.language,transformers,tokenizers,matplotlib.figure"
CHECK_LIMIT_S = 600.0


@dataclass(frozen=True)
class Check:
    """Tests of one file (or one `cargo test`) on the unchanged copy."""

    tests: tuple[str, ...] = ()
    cargo: str = ""

    @property
    def needs_cargo(self) -> bool:
        """Only the first worker has a target."""
        return bool(self.cargo)

    def run(self, tree: Tree) -> Checked:
        """All tests together; where that fails, each alone."""
        began_s = time.perf_counter()
        why = self._why(tree, self.tests)
        if why and len(self.tests) > 1:
            whys = {test: self._why(tree, (test,)) for test in self.tests}
        else:
            whys = {(self.tests or (self.cargo,))[0]: why}
        wrong = {named: why for named, why in whys.items() if why}
        return Checked(self.tests or (self.cargo,), wrong, time.perf_counter() - began_s)

    def _why(self, tree: Tree, tests: tuple[str, ...]) -> str:
        try:
            if self.cargo:
                fails = tree.cargo_fails(self.cargo)
            else:
                fails = tree.pytest_fails(tests, CHECK_LIMIT_S, is_whole=True)
        except WrongEntry as error:
            return str(error)
        return f"{self.cargo or ', '.join(tests)} fails on the unchanged tree" if fails else ""


@dataclass(frozen=True)
class Checked:
    """What a check found: its tests, those that prove nothing and why, and how long it took."""

    tests: tuple[str, ...]
    wrong: dict[str, str]
    seconds: float


@dataclass(frozen=True)
class Trial:
    """One mutant to be tried within a limit."""

    mutant: Mutant
    limit_s: float

    @property
    def needs_cargo(self) -> bool:
        """Only the first worker has a target."""
        return self.mutant.is_rust or bool(self.mutant.cargo)

    def run(self, tree: Tree) -> Tried:
        """Breaks the tree and looks whether the tests notice."""
        began_s, mutant = time.perf_counter(), self.mutant
        try:
            with tree.broken(mutant):
                cargo, tests = mutant.cargo, mutant.tests
                noticed = tree.cargo_fails(cargo) if cargo else tree.pytest_fails(tests, self.limit_s)
                result, why = (KILLED, "") if noticed else (SURVIVED, f"passed all the same: {mutant.named}")
        except WrongEntry as error:
            result, why = WRONG, str(error)
        return Tried(mutant, result, why, time.perf_counter() - began_s)


@dataclass(frozen=True)
class Tried:
    """How a mutant ended."""

    mutant: Mutant
    result: str
    why: str
    seconds: float


@dataclass
class Plan:
    """What is still to be done, and what was found."""

    mutants: list[Mutant]
    least_limit_s: float
    checks: list[Check] = field(default_factory=list)
    seconds_of: dict[str, float] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    tried: list[Tried] = field(default_factory=list)

    def __post_init__(self) -> None:
        tests = sorted({test for mutant in self.mutants for test in mutant.tests})
        by_file: dict[str, list[str]] = {}
        for test in tests:
            by_file.setdefault(test.partition("::")[0], []).append(test)
        cargo = sorted({mutant.cargo for mutant in self.mutants if mutant.cargo})
        self.checks = [Check(cargo=arguments) for arguments in cargo]
        self.checks += [Check(tests=tuple(of_file)) for of_file in sorted(by_file.values(), key=len, reverse=True)]

    def next_for(self, *, has_cargo: bool) -> Check | Trial | None:
        """The next job that a worker can do now, or None."""
        for check in sorted(self.checks, key=lambda check: not check.needs_cargo):
            if has_cargo or not check.needs_cargo:
                self.checks.remove(check)
                return check
        for mutant in sorted(self.mutants, key=lambda mutant: not (mutant.is_rust or mutant.cargo)):
            named = mutant.tests or (mutant.cargo,)
            trial = Trial(mutant, self.least_limit_s + 10 * sum(self.seconds_of.get(test, 0) for test in named))
            if (has_cargo or not trial.needs_cargo) and all(test in self.seconds_of for test in named):
                self.mutants.remove(mutant)
                return trial
        return None

    def note(self, done: Checked | Tried) -> None:
        """Keeps what a worker found; says how a mutant ended."""
        if isinstance(done, Checked):
            self.seconds_of |= dict.fromkeys(done.tests, done.seconds)
            self.wrong |= done.wrong
            for mutant in [mutant for mutant in self.mutants if done.wrong.keys() & {*mutant.tests, mutant.cargo}]:
                self.mutants.remove(mutant)
                why = " ".join(done.wrong[test] for test in (*mutant.tests, mutant.cargo) if test in done.wrong)
                self.note(Tried(mutant, WRONG, why, 0.0))
            return
        self.tried.append(done)
        print(f"{done.result:8}  {done.mutant.area}: {done.mutant.name}  ({done.seconds:.1f} s)", flush=True)
        if done.why:
            print(f"          {done.why}", flush=True)


def serve(pipe: Connection, tree: Tree) -> None:
    """A worker: does one job after another until the pipe is closed."""
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            pipe.send(pipe.recv().run(tree))


def carry_out(plan: Plan, trees: Sequence[Tree]) -> None:
    """Gives each worker a job as soon as it is idle, until none is left."""
    context = multiprocessing.get_context("fork")
    idle: list[tuple[Connection, bool]] = []
    for number, tree in enumerate(trees):
        here, there = context.Pipe()
        context.Process(target=serve, args=(there, tree), daemon=True).start()
        there.close()
        idle.append((here, number == 0))
    busy: dict[Connection, bool] = {}
    while True:
        for pipe, has_cargo in tuple(idle):
            job = plan.next_for(has_cargo=has_cargo)
            if job is not None:
                pipe.send(job)
                idle.remove((pipe, has_cargo))
                busy[pipe] = has_cargo
        if not busy:
            return
        for pipe in wait(list(busy)):
            plan.note(pipe.recv())
            idle.append((pipe, busy.pop(pipe)))
            idle.sort(key=lambda worker: not worker[1])


def preload(names: str, source: Path) -> None:
    """Imports what every test process would import, under the variables that the tests set."""
    conftest = source / "tests" / "conftest.py"
    if conftest.exists():
        runpy.run_path(str(conftest))
    for name in filter(None, names.split(",")):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    if any(name.split(".")[0] == "stategpt" for name in sys.modules):
        raise WrongEntry(f"--preload {names} imports the product itself; its mutants would not be seen")


def summary(tried: Sequence[Tried], took_s: float) -> str:
    """A line for each area, the slowest mutants, and the sums."""
    lines = [f"{'area':20} {'killed':>7} {'survived':>9} {'wrong':>6} {'seconds':>8}"]
    for area in sorted({done.mutant.area for done in tried}):
        of_area = [done for done in tried if done.mutant.area == area]
        counts = Counter(done.result for done in of_area)
        seconds = sum(done.seconds for done in of_area)
        lines.append(f"{area:20} {counts[KILLED]:7} {counts[SURVIVED]:9} {counts[WRONG]:6} {seconds:8.0f}")
    slowest = sorted(tried, key=lambda done: -done.seconds)[:5]
    lines.append("slowest: " + "; ".join(f"{done.mutant.name} ({done.seconds:.0f} s)" for done in slowest))
    counts = Counter(done.result for done in tried)
    sums = ", ".join(f"{counts[name]} {name.lower()}" for name in (KILLED, SURVIVED, WRONG))
    lines.append(f"{len(tried)} mutants: {sums}, in {took_s / 60:.1f} minutes")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Runs the mutants asked for; prints a line for each."""
    parser = argparse.ArgumentParser(description="Breaks the product in one place after another; tests must notice.")
    parser.add_argument("areas", nargs="*", help="names of files in tests/mutants without .toml; all by default")
    parser.add_argument("--only", default="", metavar="TEXT", help="entries whose name or file holds TEXT")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / ".make" / "mutants", help="where the copies and their build lie"
    )
    parser.add_argument("--source", type=Path, default=ROOT, help="the tree to copy")
    parser.add_argument("--workers", type=int, default=2, help="copies that are broken at the same time (2)")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds that a mutant's tests have at least (60)")
    parser.add_argument("--preload", default=PRELOADED, help="modules that every test process begins with")
    options = parser.parse_args(arguments)
    began_s = time.perf_counter()
    try:
        plan = Plan(read_mutants(options.source / "tests" / "mutants", options.areas, options.only), options.limit)
        preload(options.preload, options.source)
        workers = range(max(1, min(options.workers, len(plan.mutants))))
        trees = [Tree(options.folder.resolve() / f"worker_{number}", options.source.resolve()) for number in workers]
        carry_out(plan, trees)
    except WrongEntry as error:
        print(f"{WRONG}: {error}")
        return 2
    except EOFError:
        print("a worker has ended before its job was done; the lines above are all that is known")
        return 2
    print(summary(plan.tried, time.perf_counter() - began_s))
    results = {done.result for done in plan.tried}
    return 2 if WRONG in results else 1 if SURVIVED in results else 0


if __name__ == "__main__":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.exit(main(sys.argv[1:]))
