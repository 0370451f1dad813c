"""The copy of the tree that is broken, its compiled Rust, and how tests run in it."""

from __future__ import annotations

import filecmp
import importlib.util
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from entries import Mutant, WrongEntry

LEFT_OUT = {
    ".git",
    ".venv",
    ".make",
    ".cache",
    "target",
    "runs",
    "dist",
    "__pycache__",
    ".hypothesis",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
}
CARGO_LIMIT_S = 3600.0
TESTS_FAILED = 1  # pytest's exit status; 2, 4 and 5 say that nothing was tested
OUT_OF_TIME = -1
# Rust is compiled often and runs briefly: the checks of a release build, without its optimisation.
CHEAP_RUST = {
    "CARGO_INCREMENTAL": "1",
    "CARGO_PROFILE_DEV_DEBUG": "0",
    "CARGO_PROFILE_RELEASE_LTO": "off",
    "CARGO_PROFILE_RELEASE_OPT_LEVEL": "1",
    "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16",
    "CARGO_PROFILE_RELEASE_INCREMENTAL": "true",
}


class Tree:
    """One copy under `folder`. Made equal to `source` at each start, whatever an interrupted run left in it."""

    def __init__(self, folder: Path, source: Path) -> None:
        self.root, self._folder = folder / "tree", folder
        _make_equal(source, self.root)

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
        # The cache knows a source by its second and size: the mutant's could be the same.
        for cached in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
            cached.unlink()
        try:
            path.write_text(whole.replace(mutant.old, mutant.new), encoding="utf-8")
            if mutant.is_rust and not mutant.cargo:
                module.rename(kept)
                self._build(module)
            yield
        finally:
            path.write_text(whole, encoding="utf-8")
            if kept.exists():
                kept.replace(module)

    def _build(self, module: Path) -> None:
        done = self._cargo(["cargo", "build", "-q", "--release", "--locked", "-p", "stategpt-bindings"])
        if done.returncode:
            raise WrongEntry(f"the broken Rust does not compile: {_tail(done.stderr + done.stdout)}")
        shutil.copy(self._folder / "target" / "release" / "lib_native.so", module)

    def pytest_fails(self, tests: Sequence[str], limit_s: float, *, is_whole: bool = False) -> bool:
        """Does one of `tests` fail within `limit_s`, or not end? Raises `WrongEntry` where pytest tested nothing.

        Only the tree that `is_whole` writes compiled Python beside its sources.
        """
        status = self._forked_pytest(tests, limit_s, is_whole=is_whole)
        if status not in (0, TESTS_FAILED) and status > 0:
            said = self._said.read_text(encoding="utf-8", errors="replace")
            raise WrongEntry(f"pytest could not run {', '.join(tests)} (status {status}): {_tail(said)}")
        return status != 0

    @property
    def _said(self) -> Path:
        return self._folder / "pytest.txt"

    def _forked_pytest(self, tests: Sequence[str], limit_s: float, *, is_whole: bool) -> int:
        options = ["-q", "-x", "-p", "no:cacheprovider", f"--basetemp={self._folder / 'temporary'}"]
        # Plugins of pytest come with the libraries; their assertions stay as they are.
        options += ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]
        if importlib.util.find_spec("hypothesis"):  # the same examples in each run
            options.append("--hypothesis-seed=0")
        arguments = [*options, "--timeout", str(max(1, int(limit_s))), *tests]
        child = os.fork()
        if child == 0:
            self._become_pytest(arguments, is_whole=is_whole)
        ended = os.pidfd_open(child)
        try:
            in_time = bool(select.select([ended], [], [], limit_s)[0])
        finally:
            os.close(ended)
            with suppress(ProcessLookupError, PermissionError):  # it, if it goes on, and all that it has started
                os.killpg(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status) if in_time else OUT_OF_TIME

    def _become_pytest(self, arguments: list[str], *, is_whole: bool) -> None:
        """Never returns: the forked process has the large libraries already and of the product nothing."""
        status = 70
        try:
            os.setsid()
            with self._said.open("wb") as said:
                os.dup2(said.fileno(), 1)
                os.dup2(said.fileno(), 2)
            nothing = os.open(os.devnull, os.O_RDONLY)
            os.dup2(nothing, 0)
            os.chdir(self.root)
            os.environ["PYTHONPATH"] = str(self.root / "python")
            if not is_whole:
                os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
            sys.dont_write_bytecode = not is_whole
            sys.path.insert(0, str(self.root / "python"))
            sys.argv = ["pytest", *arguments]
            import pytest

            status = int(pytest.main(arguments))
        except BaseException:
            traceback.print_exc()
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def cargo_fails(self, arguments: str) -> bool:
        """Does `cargo test` with these arguments fail? Raises `WrongEntry` where it does not compile or has no test."""
        command = ["cargo", "test", "-q", "--locked", *shlex.split(arguments)]
        compiled = self._cargo([*command, "--no-run"])
        if compiled.returncode:
            raise WrongEntry(f"the broken Rust does not compile: {_tail(compiled.stderr + compiled.stdout)}")
        done = self._cargo(command)
        if not done.returncode and not any(f"{count} passed" in done.stdout for count in range(1, 1000)):
            raise WrongEntry(f"cargo test {arguments} ran no test")
        return done.returncode != 0

    def _cargo(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **CHEAP_RUST}
        environment |= {"CARGO_TARGET_DIR": str(self._folder / "target"), "PYO3_PYTHON": sys.executable}
        try:
            return subprocess.run(
                command,
                cwd=self.root,
                env=environment,
                capture_output=True,
                text=True,
                timeout=CARGO_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, OUT_OF_TIME, "", "it ran out of time")


def _make_equal(source: Path, copy: Path) -> None:
    """`copy` gets the files of `source`, without what tools leave there.

    A file that is equal keeps its time of change, every other gets the present one: cargo compiles again exactly what
    has changed since its last build, also where that was a mutant's.
    """
    copy.mkdir(parents=True, exist_ok=True)
    wanted = {entry.name: entry for entry in os.scandir(source) if entry.name not in LEFT_OUT}
    for entry in os.scandir(copy):
        same_kind = entry.name in wanted and _kind(wanted[entry.name]) == _kind(entry)
        if not same_kind:
            _remove(entry)
    for name, entry in wanted.items():
        target = copy / name
        if entry.is_symlink():
            target.unlink(missing_ok=True)
            target.symlink_to(os.readlink(entry.path))
        elif entry.is_dir():
            _make_equal(Path(entry.path), target)
        elif not target.exists() or not filecmp.cmp(entry.path, target, shallow=False):
            target.unlink(missing_ok=True)
            shutil.copyfile(entry.path, target)
            shutil.copymode(entry.path, target)


def _kind(entry: os.DirEntry[str]) -> tuple[bool, bool]:
    return entry.is_symlink(), entry.is_dir()


def _remove(entry: os.DirEntry[str]) -> None:
    if entry.is_dir(follow_symlinks=False):
        shutil.rmtree(entry.path)
    else:
        os.unlink(entry.path)


def _tail(text: str) -> str:
    return " | ".join(text.strip().splitlines()[-6:])
