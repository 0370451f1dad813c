"""One measurement in a process of its own: `python measure.py '{"job": ...}'` prints one line of JSON.

Seconds are of this process's CPU time, all threads together, with the wall clock's beside them.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import json
import random
import string
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from adapters import Library, array, documents, library, limit_threads, sizes
from trainers import TRAINERS
from turns import first, fresh, scaling, serve, turns

Result = dict[str, Any]
Seconds = tuple[float, float]  # CPU, wall

_BATCH_BYTES = 4_000_000


class Clock:
    """CPU and wall seconds since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def seconds(self) -> Seconds:
        return time.process_time() - self._cpu, time.perf_counter() - self._wall


def timed(call: Callable[[], object]) -> Seconds:
    clock = Clock()
    call()
    return clock.seconds()


def resident(field: str = "VmRSS") -> float:
    """MB of memory this process holds (VmHWM: has held at most)."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 / 1e6 for line in status if line.startswith(field))


def _load(job: Result) -> tuple[Library, list[str]]:
    texts = documents(Path(job["corpus"]), job["megabytes"])
    held = library(job["library"], Path(job["vocabularies"]), job["vocabulary"])
    held.one("Hello world")
    gc.collect()
    gc.freeze()  # the documents are nobody's garbage
    return held, texts


def check(job: Result) -> Result:
    """Hashes of the ids of each document, and of all of them from the batch call."""
    held, texts = _load(job)
    ids = [array(held.one(text)) for text in texts]
    batch = np.asarray(held.flat(held.batch(texts, 1)), dtype=np.uint32)
    digest = [hashlib.blake2b(part.tobytes(), digest_size=6).hexdigest() for part in ids]
    return {"documents": digest, "batch_same": bool(np.array_equal(batch, np.concatenate(ids)))}


def encode(job: Result) -> Result:
    """A cold pass over the documents, then warm ones over the same; at most about `limit_s` seconds each."""
    held, texts = _load(job)
    work = list(_portions(texts, _BATCH_BYTES if job["mode"] == "batch" else 0))
    if job["mode"] == "batch":
        steps = [lambda part=part: held.batch(part, job["threads"]) for part, _ in work]
    else:
        steps = [lambda part=part: held.one(part[0]) for part, _ in work]
    done, cold = _pass(steps, job["limit_s"])
    megabytes = sum(size for _, size in work[:done]) / 1e6
    warm = min(_pass(steps[:done], 2 * job["limit_s"])[1] for _ in range(2))
    rate = lambda seconds: [round(megabytes / part, 2) for part in seconds]  # noqa: E731
    return {"megabytes": round(megabytes, 2), "cold": rate(cold), "warm": rate(warm)}


def _portions(texts: list[str], limit: int) -> Iterator[tuple[list[str], int]]:
    """Texts in lists of about `limit` bytes (0: each alone), with their bytes."""
    part: list[str] = []
    total = 0
    for text, size in zip(texts, sizes(texts), strict=True):
        part.append(text)
        total += size
        if total > limit:
            yield part, total
            part, total = [], 0
    if part:
        yield part, total


def _pass(steps: list[Callable[[], object]], limit_s: float) -> tuple[int, Seconds]:
    """Runs the steps until the CPU time is up: how many were done, and the seconds they took."""
    clock, now = Clock(), time.process_time
    end = now() + limit_s
    stride = max(1, len(steps) // 100)  # reading the clock costs as much as a short document
    for done in range(0, len(steps), stride):
        for step in steps[done : done + stride]:
            step()
        if now() > end:
            return min(done + stride, len(steps)), clock.seconds()
    return len(steps), clock.seconds()


def shared(job: Result) -> Result:
    """Two Python threads on one object, each with half of the documents, beside one thread with all; warm."""
    held, texts = _load(job)
    texts = texts[: _fitting(held, texts, job["limit_s"])]
    halves = texts[::2], texts[1::2]

    def work(part: list[str]) -> None:
        for text in part:
            held.one(text)

    def together() -> None:
        threads = [threading.Thread(target=work, args=(half,)) for half in halves]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    work(texts), together()
    one = two = float("inf")
    for _ in range(5):
        one, two = min(one, timed(lambda: work(texts))[1]), min(two, timed(together)[1])
    return {"scaling": round(one / two, 3), "megabytes": round(sum(sizes(texts)) / 1e6, 1)}


def _fitting(held: Library, texts: list[str], limit_s: float) -> int:
    return _pass([lambda text=text: held.one(text) for text in texts], limit_s)[0]


def floods(job: Result) -> Result:
    """Twelve inputs of a megabyte, each in one call."""
    held = library(job["library"], Path(job["vocabularies"]), job["vocabulary"])
    held.one("Hello world")
    result = {}
    for name, text in _floods(job["bytes"]):
        clock = Clock()
        try:
            ids = held.one(text)
        except BaseException as error:  # a panic of Rust code is no Exception
            result[name] = {"error": f"{type(error).__name__} on {name}"}
            continue
        seconds = clock.seconds()
        digest = hashlib.blake2b(array(ids).tobytes(), digest_size=6).hexdigest()
        result[name] = {"seconds": [round(part, 5) for part in seconds], "ids": digest}
    return {"floods": result}


def _floods(size: int) -> Iterator[tuple[str, str]]:
    draw = random.Random(7)
    for name, unit in (("a", "a"), ("space", " "), ("newline", "\n"), ("^", "^"), ("-", "-"), ("7", "7"), ("ab", "ab")):
        yield name, unit * (size // len(unit))
    yield "a-z", "".join(draw.choices(string.ascii_lowercase, k=size))
    yield "base64", "".join(draw.choices(string.ascii_letters + string.digits + "+/", k=size))
    yield "cjk", "".join(chr(draw.randrange(0x4E00, 0x9FA5)) for _ in range(size // 3))
    scalars = (draw.choice((draw.randrange(1, 0xD800), draw.randrange(0xE000, 0x110000))) for _ in range(size // 4))
    yield "any unicode", "".join(map(chr, scalars))
    yield "mixed white space", "".join(draw.choices(" \t\n", k=size))


def short(job: Result) -> Result:
    """Microseconds a call for strings of about 5, 60 and 1000 bytes: many different ones, warm."""
    held, texts = _load(job)
    words = " ".join(texts[:400]).split()
    result = {}
    for size in (5, 60, 1000):
        strings = _strings(words, size, 64)
        best = min(_microseconds(held.one, strings) for _ in range(5))
        result[f"{size} B"] = [round(part, 4) for part in best]
    return {"short": result}


def _strings(words: list[str], size: int, count: int) -> list[str]:
    starts = list(accumulate(len(word) + 1 for word in words))
    text = " ".join(words)
    chosen = random.Random(size).sample(starts[:-size], count)
    return [text[start : start + size] for start in chosen]


def _microseconds(call: Callable[[str], object], strings: list[str]) -> Seconds:
    def once() -> None:
        for text in strings:
            call(text)

    once()
    passes = max(1, int(0.03 / timed(once)[1]))
    cpu, wall = timed(lambda: [once() for _ in range(passes)])
    calls = passes * len(strings)
    return cpu / calls * 1e6, wall / calls * 1e6


def decode(job: Result) -> Result:
    """MB of text a second from lists and from arrays of ids, document by document."""
    held, texts = _load(job)
    arrays = [array(held.one(text)) for text in texts]
    megabytes = sum(sizes(texts)) / 1e6
    result: Result = {"megabytes": round(megabytes, 2)}
    for name, call, ids in (
        ("list", held.decode, [part.tolist() for part in arrays]),
        ("array", held.decode_array, arrays),
    ):
        if call is None:
            continue
        text = call(ids[0])
        exact = (text if isinstance(text, str) else text.decode()) == texts[0]
        steps = [lambda part=part, call=call: call(part) for part in ids]
        done = _pass(steps, job["limit_s"])[0]
        size = sum(sizes(texts[:done])) / 1e6
        best = min(_pass(steps[:done], 2 * job["limit_s"])[1] for _ in range(3))
        result[name] = {"rate": [round(size / part, 2) for part in best], "exact": exact}
    return result


def memory(job: Result) -> Result:
    """MB that the tokenizer holds when loaded, and at most while it encodes, beyond input and output."""
    texts = documents(Path(job["corpus"]), job["megabytes"])
    batches = list(_portions(texts, _BATCH_BYTES))
    before = resident()
    held = library(job["library"], Path(job["vocabularies"]), job["vocabulary"])
    held.one("Hello world")
    loaded = resident()
    Path("/proc/self/clear_refs").write_text("5")
    largest = 0
    for part, _ in batches:
        if job["mode"] == "batch":
            largest = max(largest, 4 * len(held.flat(held.batch(part, job["threads"]))))
        else:
            largest = max(largest, max(4 * len(array(held.one(text))) for text in part))
    peak = resident("VmHWM") - largest / 1e6
    return {"tokenizer": round(loaded - before, 1), "peak": round(peak - before, 1)}


def load(job: Result) -> Result:
    """Seconds from the file to a tokenizer that has answered once; the import is not counted."""
    folder = Path(job["vocabularies"])
    importlib.import_module(job["library"])
    (folder / f"{job['vocabulary']}.json").read_bytes()  # from here on in the system's cache
    clock = Clock()
    library(job["library"], folder, job["vocabulary"]).one("Hello world")
    return {"seconds": [round(part, 4) for part in clock.seconds()]}


def train(job: Result) -> Result:
    """Seconds and peak memory of a training, and the file that has its merges."""
    trainer = TRAINERS[job["library"]]
    texts = None if trainer.reads_files else documents(Path(job["corpus"]), job["megabytes"])
    trainer.prepare()
    Path("/proc/self/clear_refs").write_text("5")
    before, clock = resident(), Clock()
    trained = trainer.train(job, texts)
    seconds = clock.seconds()
    peak = resident("VmHWM") - before
    out = Path(job["out"])
    out.write_text(json.dumps([token.hex() for token in trainer.tokens(trained)]))
    return {"seconds": [round(part, 3) for part in seconds], "peak": round(peak, 1), "tokens": str(out)}


JOBS: dict[str, Callable[[Result], Result]] = {
    job.__name__: job
    for job in (check, encode, shared, floods, short, decode, memory, load, train, turns, fresh, scaling, serve, first)
}


def main() -> None:
    job = json.loads(sys.argv[1])
    limit_threads(job.get("threads", 1))
    print(json.dumps(JOBS[job["job"]](job)))


if __name__ == "__main__":
    main()
