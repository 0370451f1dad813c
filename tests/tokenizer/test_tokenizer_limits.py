"""What no file, text or argument may do to the tokenizer: end the process, hang it, take memory without bound."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cpu_signal import cpu_s, cpu_s_until_interrupted
from stategpt import _native
from stategpt.errors import InvalidArgument, PatternLimit, StorageError, TokenizerUnsupported
from stategpt.tokenizer.tokenizer import Tokenizer

MOST = 1 << 22


# --- arguments of training ---


@pytest.mark.parametrize("vocab_size", [MOST + 1, 10**9, 2**31, 2**40, 2**59, 2**62])
def test_a_vocabulary_that_could_not_be_loaded_is_refused(vocab_size: int) -> None:
    with pytest.raises(InvalidArgument, match=f"vocab_size is {vocab_size}, more than the limit of {MOST}"):
        Tokenizer.train(["abab cdcd"], vocab_size)


TRAINING = """
import resource
from stategpt.tokenizer.tokenizer import Tokenizer
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
Tokenizer.train(["abab cdcd"], 300)
before = peak()
made = Tokenizer.train(["abab cdcd"], 1 << 22)
print(made.vocab_size, peak() - before)
"""


def test_memory_goes_with_the_corpus_and_not_with_the_vocabulary_asked_for() -> None:
    done = subprocess.run([sys.executable, "-c", TRAINING], capture_output=True, text=True, check=True)
    size, peak = map(int, done.stdout.split())
    assert size < 270
    assert peak < 32 << 20


def test_many_special_tokens_are_refused_and_checked_in_linear_time() -> None:
    with pytest.raises(InvalidArgument, match="number of special tokens is 1000000, more than the limit of 131072"):
        Tokenizer.train(["ab"], MOST, special_tokens=[f"<{n}>" for n in range(1_000_000)])
    many = [f"<{n}>" for n in range(100_000)]
    with pytest.raises(InvalidArgument, match='special token "<7>" is given twice'):
        Tokenizer.train(["ab"], MOST, special_tokens=[*many, "<7>"])


def test_a_special_token_with_a_lone_surrogate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="surrogate"):
        Tokenizer.train(["ab"], 300, special_tokens=["<\ud800>"])
    path = rank_file(tmp_path)
    with pytest.raises(InvalidArgument, match="surrogate"):
        Tokenizer.from_tiktoken(path, "gpt4", {"<\ud800>": 300})


def test_messages_stay_short() -> None:
    tok = Tokenizer.train(["ab"], 1300, special_tokens=[f"<|special {n}|>" for n in range(1000)])
    with pytest.raises(InvalidArgument, match=r"\"<\|special 7\|>\" and 992 more") as caught:
        tok.special_id("x" * 100_000)
    assert len(str(caught.value)) < 600
    with pytest.raises(InvalidArgument) as caught:
        Tokenizer.train(["ab"], 300, pattern="(" * 100_000)
    assert len(str(caught.value)) < 600


def test_tokens_that_training_makes_can_be_loaded() -> None:
    tok = Tokenizer.train(["a" * 300_000], 300)
    assert max(len(tok.token_bytes(token)) for token in range(tok.vocab_size)) == 1 << 16
    assert _native.Tokenizer._from_json(tok._to_json().encode()).fingerprint == tok.fingerprint


# --- rank files ---


def rank_file(folder: Path, *tokens: bytes) -> Path:
    lines = [bytes([byte]) for byte in range(256)] + list(tokens)
    path = folder / "ranks"
    path.write_text("".join(f"{base64.b64encode(token).decode()} {place}\n" for place, token in enumerate(lines)))
    return path


def test_long_and_nested_ranks_are_loaded_or_refused_by_their_place(tmp_path: Path) -> None:
    Tokenizer.from_tiktoken(rank_file(tmp_path, b"a" * (1 << 16)), "gpt4")
    with pytest.raises(TokenizerUnsupported, match="line 257: the token has 65537 bytes, more than the limit of 65536"):
        Tokenizer.from_tiktoken(rank_file(tmp_path, b"a" * ((1 << 16) + 1)), "gpt4")
    too_many = r"rank .*: its tokens can be split into two others in too many ways"
    with pytest.raises(TokenizerUnsupported, match=too_many):
        Tokenizer.from_tiktoken(rank_file(tmp_path, *(b"a" * length for length in range(2, 4000))), "gpt4")


def test_a_special_token_that_is_a_rank_is_refused(tmp_path: Path) -> None:
    path = rank_file(tmp_path, b"ab", b" the")
    for content in ("ab", "a", "\u0120the", "\u00e9"):
        with pytest.raises(InvalidArgument, match="is written like a token of the rank file"):
            Tokenizer.from_tiktoken(path, "gpt4", {content: 300})
    made = Tokenizer.from_tiktoken(path, "gpt4", {" the": 300, "\u4e2d": 301})
    again = _native.Tokenizer._from_json(made._to_json().encode())
    assert again.fingerprint == made.fingerprint
    for text in ("a the\u4e2d", "ab the"):
        for special in ("text", "allow"):
            assert again.encode(text, special=special).tolist() == made.encode(text, special=special).tolist()  # type: ignore[arg-type]


def test_a_long_token_of_a_file_is_unsupported_and_an_added_one_is_not() -> None:
    long = "x" * 70_000
    made = Tokenizer.train(["ab"], 300, special_tokens=[long])
    assert _native.Tokenizer._from_json(made._to_json().encode()).fingerprint == made.fingerprint
    text = made._to_json().replace('"added_tokens": [', '"added_tokens": [], "ignored": [')
    with pytest.raises(TokenizerUnsupported, match="token 0 has 70000 bytes, more than the limit"):
        _native.Tokenizer._from_json(text.encode())


# --- files that are none ---


@pytest.mark.parametrize("kind", ["fifo", "device", "folder"])
def test_what_is_no_regular_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    path = {"fifo": tmp_path / "fifo", "device": Path("/dev/zero"), "folder": tmp_path}[kind]
    if kind == "fifo":
        os.mkfifo(path)
    tok = Tokenizer.train(["ab"], 257)
    calls: list[Callable[[], object]] = [
        lambda: _native.Tokenizer._load(path),
        lambda: Tokenizer.from_tiktoken(path, "gpt4"),
        lambda: Tokenizer.train([path], 300),
        lambda: tok.encode_files([path]),
        lambda: tok.encode_files([path], documents="lines"),
    ]
    for call in calls:
        with pytest.raises(StorageError, match="not a regular file"):
            call()


# --- regular expressions ---

PATHOLOGICAL = [(r"a*b|a", "a"), (r"\p{L}*1|\p{L}", "a"), (r"(?=(\d{3})+(?!\d))", "1"), (r"\s+(?!\S)|a(?!a*b)c", "a")]


@pytest.mark.parametrize(("pattern", "flood"), PATHOLOGICAL)
def test_a_text_that_makes_a_pattern_look_at_it_again_and_again_is_refused(pattern: str, flood: str) -> None:
    tok = Tokenizer.train({"ab": 3}, 257, pattern=pattern)
    assert tok.decode(tok.encode(flood * 300)) == flood * 300
    for call in (tok.pieces, tok.encode, tok.count, tok.encode_with_spans):
        with pytest.raises(PatternLimit, match="steps, the last at byte"):
            call(flood * 60_000)  # type: ignore[operator]


def test_digits_are_grouped_from_the_right_in_ordinary_text() -> None:
    tok = Tokenizer.train({"ab": 3}, 257, pattern=r"(?=(\d{3})+(?!\d))")
    text = "It costs 1234567 or 12345 (p. 100000).\n" * 5000
    assert "".join(tok.pieces(text)) == text
    assert tok.pieces("1234567") == ["1", "234", "567"]
    assert tok.pieces("9" * 600) == ["999"] * 200


@pytest.mark.parametrize("call", ["pieces", "encode", "count", "encode_with_offsets"])
def test_a_signal_ends_a_search(call: str) -> None:
    search = getattr(Tokenizer.train({"ab": 3}, 257, pattern=r"(?=(\d{3})+(?!\d))|x"), call)
    line = "1" * 700 + " "
    part = cpu_s(lambda: search(line * 10))
    assert cpu_s_until_interrupted(lambda: search(line * 40_000)) < part * 400


def test_long_calls_let_other_threads_run() -> None:
    tok = Tokenizer.train(["to be or not to be"], 270)
    text = "to be or not " * 2_000_000
    ids = tok.encode(text)
    offsets = np.array([0, len(ids) // 2, len(ids)], dtype=np.uint64)

    def ticks_during(call: Callable[[], object]) -> int:
        worker = threading.Thread(target=call)
        worker.start()
        ticks = 0
        while worker.is_alive():
            ticks += 1
            time.sleep(0.0005)
        return ticks

    for call in (
        lambda: tok.pieces(text[: 1 << 22]),
        lambda: tok._decode_batch(ids, offsets, False),
        lambda: tok._encode_segments([text]),
    ):
        # With the interpreter's lock held there would be one or two each time; a busy machine may give few once.
        assert any(ticks_during(call) > 2 for _ in range(20))


def test_loading_answers_signals() -> None:
    """The thread that waits asks for signals; the one that loads goes on alone."""
    entries = ",".join(f'"{n:x}z":{n + 1000}' for n in range(4_000_000))
    text = '{"model":{"type":"BPE","vocab":{' + entries + '},"merges":[]}}'
    cpu_s_until_interrupted(lambda: _native.Tokenizer._from_json(text.encode()))


# --- memory ---

STARVED = """
import resource, sys
import numpy as np
from stategpt.tokenizer.tokenizer import Tokenizer
tok = Tokenizer.train(["to be or not to be"], 270, special_tokens=["x" * 1_000_000])
text = "to be or not " * (1 << 20)
kinds = {
    "encode": lambda: tok.encode(text * 20),
    "count": lambda: tok.count("\\u0301" * 10),
    "batch": lambda: tok.encode_batch([text] * 60, threads=2),
    "offsets": lambda: tok.encode_with_offsets(text * 4),
    "spans": lambda: tok.encode_with_spans(text * 4),
    "pieces": lambda: tok.pieces(text * 8),
    "decode": lambda: tok.decode([0] * 10_000),
    "decode_bytes": lambda: tok.decode_bytes([0] * 10_000),
    "decode_batch": lambda: tok._decode_batch([0] * 10_000, np.array([0, 10_000], dtype=np.uint64), False),
    "segments": lambda: tok.encode_segments([text] * 60),
}
tok.decode(tok.encode("to be"))
used = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + (450 << 20), -1))
try:
    kinds[sys.argv[1]]()
    print("done")
except MemoryError:
    print("MemoryError")
"""


@pytest.mark.parametrize(
    "call", ["encode", "batch", "offsets", "spans", "pieces", "decode", "decode_bytes", "decode_batch", "segments"]
)
def test_what_does_not_fit_in_memory_is_a_memory_error(call: str) -> None:
    done = subprocess.run([sys.executable, "-c", STARVED, call], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "MemoryError\n"), done.stderr
