"""Breaks the product in one place after another and runs the tests that must notice. `README.md` describes the entries.

    python tests/mutants/run.py [AREA ...] [--only TEXT] [--folder FOLDER]

Works on a copy of the tree, whose compiled Rust is kept between runs. First the named tests must pass on the unchanged
copy. Exit status: 0 all mutants were noticed, 1 some were not, 2 an entry or its tests are wrong.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = (
    ".git",
    ".venv",
    ".make",
    "target",
    "runs",
    "dist",
    "__pycache__",
    ".hypothesis",
    ".pytest_cache",
    ".mypy_cache",
)
TESTS_TIMEOUT_S = 900
KILLED, SURVIVED, WRONG = "killed", "SURVIVED", "WRONG ENTRY"
_TESTS_FAILED = 1  # pytest's exit status; 2, 4 and 5 say that nothing was tested


class WrongEntry(Exception):
    """An entry that breaks nothing testable; the message says why."""


@dataclass(frozen=True)
class Mutant:
    """One entry: `old` in `file` becomes `new`, and `tests` (or the `cargo test` arguments) must then fail."""

    area: str
    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ()
    cargo: str = ""

    @property
    def is_rust(self) -> bool:
        """Does the compiled module change?"""
        return self.file.startswith("rust/")


def read_mutants(folder: Path, areas: Sequence[str], only: str) -> list[Mutant]:
    """The entries of `folder`'s TOML files whose area is asked for and whose name or file holds `only`."""
    known = sorted(path.stem for path in folder.glob("*.toml"))
    unknown = sorted(set(areas) - set(known))
    if unknown:
        raise WrongEntry(f"no area is called {unknown[0]}; known are {', '.join(known)}")
    found = [mutant for area in areas or known for mutant in _read(folder / f"{area}.toml")]
    return [mutant for mutant in found if only in mutant.name or only in mutant.file]


def _read(path: Path) -> Iterator[Mutant]:
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    if content.keys() - {"mutant"}:
        raise WrongEntry(f"{path.name} holds {sorted(content)}; only [[mutant]] tables belong there")
    for number, entry in enumerate(content.get("mutant", []), start=1):
        try:
            mutant = Mutant(area=path.stem, **{**entry, "tests": tuple(entry.get("tests", ()))})
        except TypeError as error:
            raise WrongEntry(f"{path.name}, entry {number}: {error}") from None
        if bool(mutant.tests) == bool(mutant.cargo):
            raise WrongEntry(f"{path.name}, {mutant.name}: give `tests` or `cargo`, one of them")
        yield mutant


class Tree:
    """The copy that is broken, and how its tests run."""

    def __init__(self, folder: Path, source: Path = ROOT) -> None:
        self.root, self._target = folder / "tree", folder / "target"
        if self.root.exists():
            shutil.rmtree(self.root)
        # Times of change are kept: cargo compiles nothing again that it has compiled in the run before.
        shutil.copytree(source, self.root, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))

    @contextmanager
    def broken(self, mutant: Mutant) -> Iterator[None]:
        """The tree with one mutant in it, the compiled module included."""
        path = self.root / mutant.file
        if not path.is_file():
            raise WrongEntry(f"there is no file {mutant.file}")
        whole = path.read_text(encoding="utf-8")
        count = whole.count(mutant.old)
        if count != 1 or mutant.old == mutant.new:
            raise WrongEntry(
                f"`old` stands {count} times in {mutant.file}, and must stand there once and differ from `new`"
            )
        module = self.root / "python/stategpt/_native.abi3.so"
        kept = module.with_suffix(".kept")
        rebuilt = mutant.is_rust and not mutant.cargo
        try:
            path.write_text(whole.replace(mutant.old, mutant.new), encoding="utf-8")
            if rebuilt:
                module.rename(kept)
                self._build(module)
            yield
        finally:
            path.write_text(whole, encoding="utf-8")
            if kept.exists():
                kept.replace(module)

    def _build(self, module: Path) -> None:
        done = self._run(["cargo", "build", "-q", "--release", "--locked", "-p", "stategpt-bindings"])
        if done.returncode:
            raise WrongEntry(f"the broken Rust does not compile: {_tail(done)}")
        shutil.copy(self._target / "release" / "lib_native.so", module)

    def notices(self, mutant: Mutant) -> bool:
        """Do the mutant's tests fail?"""
        return self.cargo_fails(mutant.cargo) if mutant.cargo else self.pytest_fails(mutant.tests)

    def pytest_fails(self, tests: Sequence[str]) -> bool:
        """Does one of `tests` fail? Raises `WrongEntry` where pytest tested nothing."""
        options = ["-q", "-x", "-p", "no:cacheprovider", "--timeout", str(TESTS_TIMEOUT_S // 3)]
        done = self._run([sys.executable, "-m", "pytest", *options, *tests])
        if done.returncode not in (0, _TESTS_FAILED) and done.returncode > 0:
            raise WrongEntry(f"pytest could not run {', '.join(tests)} (status {done.returncode}): {_tail(done)}")
        return done.returncode != 0

    def cargo_fails(self, arguments: str) -> bool:
        """Does `cargo test` with these arguments fail? Raises `WrongEntry` where it does not compile or has no test."""
        command = ["cargo", "test", "-q", "--locked", *shlex.split(arguments)]
        compiled = self._run([*command, "--no-run"])
        if compiled.returncode:
            raise WrongEntry(f"the broken Rust does not compile: {_tail(compiled)}")
        done = self._run(command)
        if not done.returncode and not any(f"{count} passed" in done.stdout for count in range(1, 1000)):
            raise WrongEntry(f"cargo test {arguments} ran no test")
        return done.returncode != 0

    def _run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "PYTHONPATH": str(self.root / "python"),
            "PYTHONDONTWRITEBYTECODE": "1",  # a mutant of the same size and second would be taken from the cache
            "CARGO_TARGET_DIR": str(self._target),
            "PYO3_PYTHON": sys.executable,
        }
        try:
            return subprocess.run(
                command,
                cwd=self.root,
                env=environment,
                capture_output=True,
                text=True,
                timeout=TESTS_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, -1, "", "it ran out of time")


def _tail(done: subprocess.CompletedProcess[str]) -> str:
    return " | ".join((done.stderr + done.stdout).strip().splitlines()[-6:])


def check_unbroken(tree: Tree, mutants: Sequence[Mutant]) -> None:
    """All named tests pass on the unchanged copy; else a failure would prove nothing."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    if tests and tree.pytest_fails(tests):
        raise WrongEntry("a named test fails on the unchanged tree; run them first: " + " ".join(tests))
    for arguments in sorted({mutant.cargo for mutant in mutants if mutant.cargo}):
        if tree.cargo_fails(arguments):
            raise WrongEntry(f"cargo test {arguments} fails on the unchanged tree")


def outcome(tree: Tree, mutant: Mutant) -> tuple[str, str]:
    """KILLED, SURVIVED or WRONG, and what there is to say about it."""
    try:
        with tree.broken(mutant):
            named = mutant.cargo or ", ".join(mutant.tests)
            return (KILLED, "") if tree.notices(mutant) else (SURVIVED, f"passed all the same: {named}")
    except WrongEntry as error:
        return WRONG, str(error)


def main(arguments: Sequence[str]) -> int:
    """Runs the mutants asked for; prints a line for each."""
    parser = argparse.ArgumentParser(description="Breaks the product in one place after another; tests must notice.")
    parser.add_argument("areas", nargs="*", help="names of files in tests/mutants without .toml; all by default")
    parser.add_argument("--only", default="", metavar="TEXT", help="entries whose name or file holds TEXT")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / ".make" / "mutants", help="where the copy and its build lie"
    )
    parser.add_argument("--source", type=Path, default=ROOT, help="the tree to copy")
    options = parser.parse_args(arguments)
    counts = {KILLED: 0, SURVIVED: 0, WRONG: 0}
    try:
        mutants = read_mutants(options.source / "tests" / "mutants", options.areas, options.only)
        tree = Tree(options.folder, options.source)
        check_unbroken(tree, mutants)
    except WrongEntry as error:
        print(f"{WRONG}: {error}")
        return 2
    for mutant in mutants:
        began_s = time.perf_counter()
        result, why = outcome(tree, mutant)
        counts[result] += 1
        print(f"{result:8}  {mutant.area}: {mutant.name}  ({time.perf_counter() - began_s:.1f} s)", flush=True)
        if why:
            print(f"          {why}", flush=True)
    print(f"{len(mutants)} mutants: " + ", ".join(f"{count} {name.lower()}" for name, count in counts.items()))
    return 2 if counts[WRONG] else 1 if counts[SURVIVED] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
