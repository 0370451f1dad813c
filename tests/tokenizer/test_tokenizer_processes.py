"""The tokenizer under threads, `fork`, signals, and a line larger than memory would like."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

from cpu_signal import cpu_s, cpu_s_until_interrupted
from stategpt.tokenizer.tokenizer import Tokenizer
from tokenizer.tokenizer_oracles import library_texts

TEXTS = library_texts(200_000)
WORDS = "Ctrl-C, the oldest of all requests, must be answered within a second or so; nobody waits. " * 400
UNIT = WORDS * 40
TOK = Tokenizer.train([WORDS], 300)
PREPARE = f"""
import os, resource, signal, sys, threading
from pathlib import Path
from stategpt.tokenizer.tokenizer import Tokenizer
words = {WORDS[: len(WORDS) // 400]!r} * 400
tok = Tokenizer.train([words], 300)
"""
HANG_GUARD_S = 250.0


def run(code: str, *words: str) -> str:
    """What a Python of its own prints."""
    command = [sys.executable, "-c", PREPARE + textwrap.dedent(code), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG_GUARD_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- threads ---


def test_eight_threads_get_what_one_gets() -> None:
    tok = Tokenizer.train(TEXTS, 600)
    expected = [tok.encode(text).tolist() for text in TEXTS]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(4):
            assert list(pool.map(lambda text: tok.encode(text).tolist(), TEXTS)) == expected
            batches = pool.map(lambda _: tok.encode_batch(TEXTS, threads=3).ids.tolist(), range(8))
            assert all(ids == list(chain.from_iterable(expected)) for ids in batches)


# --- fork ---


def test_a_child_encodes_and_decodes_after_fork() -> None:
    answer = run("""
        texts = [words] * 40
        before = tok.encode_batch(texts, threads=4).ids
        child = os.fork()
        if child == 0:
            signal.alarm(200)
            same = tok.encode_batch(texts, threads=4).ids.tobytes() == before.tobytes()
            os._exit(0 if same and tok.decode(before) == words * 40 else 1)
        print(os.waitpid(child, 0)[1])
    """)
    assert answer == "0"


def test_a_child_forked_while_other_threads_encode_does_not_hang() -> None:
    answer = run("""
        ids = tok.encode(words).tolist()
        over = threading.Event()
        def busy():
            while not over.is_set():
                tok.encode(words)
        threads = [threading.Thread(target=busy) for _ in range(3)]
        [thread.start() for thread in threads]
        ended = []
        for _ in range(20):
            child = os.fork()
            if child == 0:
                signal.alarm(200)
                os._exit(0 if tok.encode(words).tolist() == ids and tok.decode(ids) == words else 1)
            ended.append(os.waitpid(child, 0)[1])
        over.set()
        [thread.join() for thread in threads]
        print(set(ended))
    """)
    assert answer == "{0}"


# --- Ctrl-C ---

# By how much of the text they get, in units.
LONG_CALLS: dict[str, Callable[[int], object]] = {
    "batch": lambda units: TOK.encode_batch([UNIT] * units, threads=2),
    "batch on one thread": lambda units: TOK.encode_batch([UNIT] * units, threads=1),
    "count": lambda units: TOK.count_batch([UNIT] * units),
    "one text": lambda units: TOK.encode(text_of(units)),
    "count of one text": lambda units: TOK.count(text_of(units)),
    "offsets of one text": lambda units: TOK.encode_with_offsets(text_of(units)),
    "spans of one text": lambda units: TOK.encode_with_spans(text_of(units)),
    "first ids of one text": lambda units: TOK.encode(text_of(units), max_tokens=10**9),
    "files": lambda units: TOK.encode_files([unit_file()] * units),
    "lines": lambda units: TOK.encode_files([unit_file()] * units, documents="lines"),
}
WHOLE, PART = 400, 10


@cache
def text_of(units: int) -> str:
    text = UNIT * units
    TOK.encode(text, max_tokens=1)  # Python keeps the UTF-8 of the text with it
    return text


@cache
def unit_file() -> Path:
    with tempfile.NamedTemporaryFile(suffix=".txt", delete=False) as file:
        file.write(UNIT.encode())
    atexit.register(os.unlink, file.name)
    return Path(file.name)


@pytest.mark.parametrize("name", LONG_CALLS)
def test_a_signal_ends_a_long_call_long_before_its_end(name: str) -> None:
    call = LONG_CALLS[name]
    part = cpu_s(lambda: call(PART))
    if "one text" in name:
        text_of(WHOLE)
    spent = cpu_s_until_interrupted(lambda: call(WHOLE))
    assert spent < part * WHOLE / PART / 2
    assert TOK.decode(TOK.encode(WORDS)) == WORDS


def test_ctrl_c_ends_a_long_call() -> None:
    code = """
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            print("ready", flush=True)
            while True:  # the signal finds a call at work, or the line before it
                tok.encode_batch([words * 100] * 400, threads=2)
        except KeyboardInterrupt:
            ids = tok.encode(words)
            print("interrupted", tok.decode(ids) == words, flush=True)
    """
    command = [sys.executable, "-c", PREPARE + textwrap.dedent(code)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "interrupted True\n"
            assert process.wait(HANG_GUARD_S) == 0
        finally:
            process.kill()


def test_a_long_call_in_another_thread_goes_on_to_its_end() -> None:
    answer = run("""
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sizes = []
        work = lambda: sizes.append(len(tok.encode_batch([words] * 300, threads=2)))
        thread = threading.Thread(target=work)
        thread.start()
        try:
            os.kill(os.getpid(), signal.SIGINT)
            thread.join()
        except KeyboardInterrupt:
            thread.join()
            print("interrupted", sizes)
    """)
    assert answer == "interrupted [300]"


# --- memory ---


def needed_for_a_line(megabytes: int) -> int:
    """Mebibytes that a process needs at most to encode a line, beyond the line and its ids."""
    answer = run(
        """
        unit = "A line that has no end goes on and on, "
        line = unit * ((int(sys.argv[1]) << 20) // len(unit))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        ids = tok.encode(line)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print((peak - before) >> 10, ids.nbytes >> 20)
        """,
        str(megabytes),
    )
    beyond_line, ids = map(int, answer.split())
    return beyond_line - ids


def test_a_line_of_64_mib_needs_little_beyond_its_ids() -> None:
    assert needed_for_a_line(64) < 64


@pytest.mark.slow
@pytest.mark.xdist_group("memory")
def test_a_line_of_a_gibibyte_needs_less_than_half_a_gibibyte_beyond_its_ids() -> None:
    free = int(
        next(line for line in Path("/proc/meminfo").read_text().splitlines() if "MemAvailable" in line).split()[1]
    )
    if free < 6 << 20:
        pytest.skip(f"needs 6 GiB of memory, {free >> 20} GiB are free")
    assert needed_for_a_line(1024) < 512
