"""Runs cases in forked children with bounded memory and time, and says how each of them ended.

A child takes several cases and reports each; where it dies or hangs, that case is counted and another child continues
behind it. The parent only imports, and has one thread: nothing is broken by `fork`.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import random
import resource
import selectors
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stategpt.errors import StategptError

OUTCOMES = ("typed", "same", "different", "raw", "panic", "signal", "hang")
"""Refused with an error of ours; accepted with the result of the unchanged input, or another; and four ways to fail."""
FAULTS = OUTCOMES[3:]
MEMORY_BYTES = 1 << 30
"""What a child may take beyond what it starts with."""
CASES_A_CHILD = 25


class Refused(Exception):
    """Raised by a case whose program ended with an explained error: counts as typed."""


@dataclass(frozen=True)
class Case:
    """One try: its number, its random numbers, and its own folder, which is removed afterwards."""

    number: int
    draw: random.Random
    folder: Path
    is_good: bool = False
    """The unchanged input, with whose result the others are compared."""


@dataclass(frozen=True)
class Kind:
    """One row of the table: one sort of input, changed in one sort of way."""

    name: str
    attempt: Callable[[Case], object]
    """Makes the input of a case and reads it; returns what was read, or raises."""
    before: tuple[int, ...] = ()
    """Tries and `OUTCOMES` of the outside review, before its findings were mended; empty for what is newer."""
    fixed: int = 0
    """Number of cases where these are a list; 0 where they are drawn, as many as `--tries` says."""
    share: float = 1.0
    """Share of the requested tries: below 1 for what is slow."""
    has_good: bool = True
    timeout_s: float = 20.0

    def cases(self, tries: int) -> int:
        """How many cases are run."""
        return self.fixed or max(2, round(tries * self.share))


@dataclass
class Count:
    """How the cases of a kind ended, and the first faults with what is known of them."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def add(self, number: int, outcome: str, detail: str) -> None:
        """Counts one case."""
        self.outcomes[outcome] += 1
        if outcome in FAULTS:
            self.faults.append(f"case {number}: {outcome}  {detail}")


class HarnessError(Exception):
    """The unchanged input was not accepted, so nothing else would mean anything."""


def run(kinds: Sequence[Kind], tries: int, seed: int, folder: Path, jobs: int, log: Any = None) -> dict[str, Count]:
    """Runs all cases of `kinds`, `jobs` children at a time."""
    counts = {kind.name: Count() for kind in kinds}
    waiting = deque(_Work(kind, part, seed, folder) for kind in kinds for part in _parts(kind.cases(tries)))
    left = Counter(work.kind.name for work in waiting)
    with selectors.DefaultSelector() as selector:
        try:
            _run_waiting(waiting, left, selector, counts, jobs, log)
        finally:  # where the harness itself fails, no child is left running
            for key in selector.get_map().values():
                key.data.kill()
    return counts


def _run_waiting(
    waiting: deque[_Work],
    left: Counter[str],
    selector: selectors.BaseSelector,
    counts: dict[str, Count],
    jobs: int,
    log: Any,
) -> None:
    running = 0
    while waiting or running:
        while waiting and running < jobs:
            selector.register((work := waiting.popleft()).start(), selectors.EVENT_READ, work)
            running += 1
        for key, _ in selector.select(timeout=0.2):
            key.data.read(counts)
        for key in list(selector.get_map().values()):
            work = key.data
            if not work.ended(counts):
                continue
            selector.unregister(key.fd)
            os.close(key.fd)
            running -= 1
            if work.numbers:
                waiting.appendleft(work)
                continue
            left[work.kind.name] -= 1
            if log is not None and not left[work.kind.name]:
                print(f"{work.kind.name}: {dict(counts[work.kind.name].outcomes)}", file=log, flush=True)


def in_child(function: Callable[[], object]) -> None:
    """Calls `function` in a child, whose threads the parent never has; what it prints is shown if it fails."""
    sys.stdout.flush()
    with tempfile.TemporaryFile() as printed:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.dup2(printed.fileno(), 1)
                os.dup2(printed.fileno(), 2)
                function()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        if os.waitpid(child, 0)[1] != 0:
            printed.seek(0)
            tail = printed.read().decode(errors="replace")[-3000:]
            raise HarnessError(f"what the cases change could not be made:\n{tail}")


def _parts(cases: int) -> Iterable[list[int]]:
    numbers = list(range(cases))
    return (numbers[first : first + CASES_A_CHILD] for first in range(0, cases, CASES_A_CHILD))


class _Work:
    """Some cases of a kind, in one child after another until all are done."""

    def __init__(self, kind: Kind, numbers: list[int], seed: int, folder: Path) -> None:
        self.kind, self.numbers, self._seed, self._folder = kind, numbers, seed, folder
        self._child = self._reader = -1
        self._text, self._heard_s = b"", 0.0

    def start(self) -> int:
        """Forks a child; returns the end of the pipe to read from."""
        self._reader, writer = os.pipe()
        self._text, self._heard_s = b"", time.monotonic()
        self._child = os.fork()
        if self._child == 0:
            os.close(self._reader)
            _child_main(self.kind, self.numbers, self._seed, self._folder / str(os.getpid()), writer)
        os.close(writer)
        os.set_blocking(self._reader, False)
        return self._reader

    def read(self, counts: dict[str, Count]) -> None:
        """Counts what the child has reported."""
        try:
            self._text += os.read(self._reader, 1 << 16)
        except BlockingIOError:
            return
        *lines, self._text = self._text.split(b"\n")
        for line in lines:
            self._heard_s = time.monotonic()
            number, outcome, detail = json.loads(line)
            if outcome == "good failed":
                raise HarnessError(f"{self.kind.name}: the unchanged input is not accepted: {detail}")
            if outcome != "ready":
                self.numbers.remove(number)
                counts[self.kind.name].add(number, outcome, detail)

    def kill(self) -> None:
        """Ends the child."""
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)

    def ended(self, counts: dict[str, Count]) -> bool:
        """Is the child gone, by itself or by us?"""
        if time.monotonic() - self._heard_s > self.kind.timeout_s:
            self.kill()
            counts[self.kind.name].add(self.numbers.pop(0), "hang", f"no end in {self.kind.timeout_s:g} s")
        else:
            child, status = os.waitpid(self._child, os.WNOHANG)
            if child == 0:
                return False
            self.read(counts)
            if self.numbers:
                counts[self.kind.name].add(self.numbers.pop(0), "signal", _ending(status))
        shutil.rmtree(self._folder / str(self._child), ignore_errors=True)
        return True


def _ending(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"died by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"ended with status {os.WEXITSTATUS(status)}"


def _child_main(kind: Kind, numbers: Sequence[int], seed: int, folder: Path, writer: int) -> None:
    """Never returns."""
    try:
        gc.disable()  # a collection would touch, and so copy, all that the parent has
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        with open("/proc/self/statm", encoding="ascii") as statm:
            has_bytes = int(statm.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (has_bytes + MEMORY_BYTES,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

        def say(number: int, outcome: str, detail: str = "") -> None:
            """Reports the outcome of a try to the parent process."""
            os.write(writer, (json.dumps([number, outcome, detail[:600]]) + "\n").encode())

        good = ""
        if kind.has_good:
            outcome, good = _try(kind, Case(-1, random.Random(0), folder / "good", is_good=True), "")
            if outcome not in ("same", "different"):
                say(-1, "good failed", good)
                os._exit(0)
        say(-1, "ready")
        for number in numbers:
            case = Case(number, random.Random(f"{seed}/{kind.name}/{number}"), folder / str(number))
            say(number, *_try(kind, case, good))
        os._exit(0)
    except BaseException:
        os._exit(99)


def _try(kind: Kind, case: Case, good: str) -> tuple[str, str]:
    """The outcome of a case, and the digest of its result or what is known of the error."""
    case.folder.mkdir(parents=True)
    try:
        digest = hashlib.blake2b(repr(kind.attempt(case)).encode(errors="surrogatepass"), digest_size=8).hexdigest()
        return ("same" if digest == good else "different"), digest
    except (StategptError, Refused) as error:
        return "typed", f"{type(error).__name__}: {error}"
    except MemoryError as error:  # documented for results that do not fit, and then it says what was too much
        return ("typed" if str(error) else "raw"), f"MemoryError: {error}"
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        detail = f"{type(error).__name__}: {str(error)[:200]!r} at {where.filename}:{where.lineno}"
        return ("panic" if type(error).__name__ == "PanicException" else "raw"), detail
    finally:
        shutil.rmtree(case.folder, ignore_errors=True)
