"""Processes that take turns on the same text, so that what slows a shared machine down slows all of them down.

Jobs of `measure.py`: `turns` (passes over text encoded before), `fresh` (first passes, each in a new process),
`scaling` (two threads and two processes beside one). Their children are `measure.py` again: `serve`, which encodes the
text each time it is told to, and `first`, which encodes it once. The ids of every contender are compared with those of
the format's owner before anything is timed; who differs, or fails, is named with the reason and not timed.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from adapters import Library, array, documents, library, sizes

Job = dict[str, Any]
# What `first` times, from the longest to the shortest: each is part of the one before it.
TIMED = ("process", "load", "call", "pass")


class Failed(Exception):
    """A child that gave no answer; the text says what it said last."""


class Child:
    """A process of `measure.py` that answers a line with a line."""

    def __init__(self, job: Job) -> None:
        command = [sys.executable, str(Path(__file__).with_name("measure.py")), json.dumps(job)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def read(self) -> Any:
        """Its next answer.

        Raises:
            Failed: it ended without one.
        """
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        if line := self._process.stdout.readline():
            return json.loads(line)
        said = self._process.stderr.read().strip().splitlines()
        raise Failed(said[-1][:200] if said else f"ended with {self._process.wait()}")

    def tell(self) -> None:
        """Has it encode once more."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Ends it and waits for that."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def children() -> Iterator[Callable[[Job], Child]]:
    """Starts children, which end with the block."""
    with ExitStack() as stack:

        def start(job: Job) -> Child:
            child = Child(job)
            stack.callback(child.end)
            return child

        yield start


def _work(held: Library, texts: list[str], mode: str, threads: int) -> Callable[[], object]:
    """One pass over the texts: a call for each, or one for all."""
    if mode == "batch":
        return lambda: held.batch(texts, threads)

    def one_by_one() -> None:
        for text in texts:
            held.one(text)

    return one_by_one


def _texts(job: Job) -> list[str]:
    texts = documents(Path(job["corpus"]), job["megabytes"])
    return texts[job.get("first", 0) :: job.get("step", 1)]


def _digest(held: Library, texts: list[str], mode: str, threads: int) -> str:
    if mode == "batch":
        ids = np.asarray(held.flat(held.batch(texts, threads)), dtype=np.uint32)
    else:
        ids = np.concatenate([array(held.one(text)) for text in texts])
    return hashlib.blake2b(ids.tobytes(), digest_size=8).hexdigest()


def serve(job: Job) -> Job:
    """Says the hash of the ids, then encodes the texts for each line and says CPU and wall seconds."""
    held, texts = library(job["library"], Path(job["vocabularies"]), job["vocabulary"]), _texts(job)
    print(json.dumps(_digest(held, texts, job["mode"], job["threads"])), flush=True)
    work = _work(held, texts, job["mode"], job["threads"])
    for _ in sys.stdin:
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        seconds = time.process_time() - cpu, time.perf_counter() - wall
        print(json.dumps(seconds), flush=True)
    return {}


def first(job: Job) -> Job:
    """CPU seconds of a process that encodes the texts once, in parts of `TIMED`.

    `pass`: the texts alone, after the tokenizer has answered once. `call`: with that first call, at which a library may
    build tables. `load`: with the import of the library and the reading of its file, too. `process`: with the start of
    the interpreter and the bench's own imports, numpy among them; all without reading the texts.
    """
    started = time.process_time()
    texts = _texts(job)
    read = time.process_time()
    held = library(job["library"], Path(job["vocabularies"]), job["vocabulary"])
    loaded = time.process_time()
    held.one("Hello world")
    answered = time.process_time()
    _work(held, texts, job["mode"], job["threads"])()
    done = time.process_time()
    return dict(zip(TIMED, (started + done - read, done - read, done - loaded, done - answered), strict=True))


def _child_job(job: Job, name: str, contender: list[str], **more: Any) -> Job:
    held, mode = contender
    fields = {key: job[key] for key in ("corpus", "megabytes", "vocabularies", "vocabulary", "threads")}
    return {**fields, "job": name, "library": held, "mode": mode, **more}


def _size(job: Job) -> float:
    return sum(sizes(_texts(job))) / 1e6


def _owner_digest(job: Job, start: Callable[[Job], Child]) -> str:
    child = start(_child_job(job, "serve", [job["owner"], "one"]))
    digest = str(child.read())
    child.end()
    return digest


def _started(job: Job, start: Callable[[Job], Child]) -> tuple[dict[str, Child], dict[str, str]]:
    """Contenders that are exact, ready to encode, and why the others are not."""
    wanted = _owner_digest(job, start)
    ready, failed = {}, {}
    for contender in job["contenders"]:
        name = " ".join(contender)
        child = start(_child_job(job, "serve", contender))
        try:
            digest = child.read()
        except Failed as reason:
            failed[name] = str(reason)
            continue
        if digest == wanted:
            ready[name] = child
        else:
            failed[name] = "other ids than the format's owner"
            child.end()
    return ready, failed


def turns(job: Job) -> Job:
    """Seconds of every contender in every round, on text that each has encoded before."""
    with children() as start:
        ready, failed = _started(job, start)
        seconds: dict[str, list[float]] = {name: [] for name in ready}
        for number in range(job["turns"] + 1):  # the first is not counted
            for name in _order(list(ready), number):
                ready[name].tell()
                cpu, _ = ready[name].read()
                if number:
                    seconds[name].append(round(cpu, 6))
    return {"megabytes": round(_size(job), 3), "seconds": seconds, "failed": failed}


def fresh(job: Job) -> Job:
    """Seconds of first passes, each in a process of its own, the contenders in turn."""
    with children() as start:
        ready, failed = _started(job, start)
    seconds: dict[str, dict[str, list[float]]] = {name: {part: [] for part in TIMED} for name in ready}
    contenders = {" ".join(contender): contender for contender in job["contenders"]}
    for number in range(job["turns"]):
        for name in _order(list(ready), number):
            with children() as start:
                timed = start(_child_job(job, "first", contenders[name])).read()
            for part in TIMED:
                seconds[name][part].append(round(timed[part], 6))
    return {"megabytes": round(_size(job), 3), "seconds": seconds, "failed": failed}


def scaling(job: Job) -> Job:
    """Seconds of one thread, of two threads, and of two processes with half of the documents each, in turns.

    `seconds` are of the wall clock: what is wanted, where the machine is ours alone. `cpu` is the time of all threads
    and processes together: what the second one costs, whoever else is at work.
    """
    name = [job["library"], "batch"]
    jobs = {
        "one thread": [_child_job(job, "serve", name, threads=1)],
        "two threads": [_child_job(job, "serve", name, threads=2)],
        "two processes": [_child_job(job, "serve", name, threads=1, first=half, step=2) for half in (0, 1)],
    }
    with children() as start:
        groups = {label: [start(part) for part in parts] for label, parts in jobs.items()}
        for group in groups.values():
            for child in group:
                child.read()
        seconds: dict[str, list[float]] = {label: [] for label in groups}
        cpu: dict[str, list[float]] = {label: [] for label in groups}
        for number in range(job["turns"] + 1):
            for label in _order(list(groups), number):
                spent, wall = _together(groups[label])
                if number:
                    cpu[label].append(round(spent, 6))
                    seconds[label].append(round(wall, 6))
    return {"megabytes": round(_size(job), 3), "seconds": seconds, "cpu": cpu}


def _together(group: list[Child]) -> tuple[float, float]:
    """CPU seconds of all, and wall seconds until the last has encoded once."""
    start = time.perf_counter()
    for child in group:
        child.tell()
    spent = sum(child.read()[0] for child in group)
    return spent, time.perf_counter() - start


def _order(names: list[str], number: int) -> list[str]:
    """Forth and back, so that who comes after whom is no advantage."""
    return names if number % 2 == 0 else names[::-1]
