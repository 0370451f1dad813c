"""Data sets that somebody has signed again with any numbers: typed errors, no panic, no abort, bounded memory.

A manifest's fingerprint proves that it is whole, not that it is honest: whoever hands over a folder can sign it.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stategpt.artifacts import publish_folder
from stategpt.data.shard_writing import write_shards
from stategpt.errors import ForeignArtifact, StategptError
from stategpt.packing import TokenizedDocument
from stategpt.packing.packed import pack
from stategpt.packing.shards import Shards
from stategpt.tokenizer.tokenizer import Tokenizer

TOK = Tokenizer.train(["abc"], vocab_size=258, special_tokens=["<|endoftext|>", "<|pad|>"])
EXTREMES = [0, 1, 2, 3, 5, 7, 9, 2**16, 2**31, 2**32 - 1, 2**32, 2**40, 2**61 - 1, 2**63 - 1, 2**63, 2**64 - 1]
numbers = st.one_of(st.sampled_from(EXTREMES), st.integers(0, 40), st.integers(0, 2**64 - 1))
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "documents": numbers,
        "tokens": numbers,
        "vocab_size": numbers,
        "end_of_text": numbers,
        "padding": numbers,
        "document_ids": st.booleans(),
        "length_histogram": st.lists(st.tuples(numbers, numbers).map(list), max_size=5),
        "shards": st.lists(
            st.fixed_dictionaries({"documents": numbers, "tokens": numbers, "masked": st.booleans()}), max_size=3
        ),
    },
)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "data"
    write_shards(
        [TokenizedDocument([5, 6, 7]), TokenizedDocument([8, 9]), TokenizedDocument([]), TokenizedDocument([5] * 9)],
        TOK,
        path,
    )
    return path


def signed_again(good: Path, out: Path, changed: dict[str, Any], offsets: bytes | None = None) -> None:
    manifest = json.loads((good / "manifest.json").read_text())

    def fill(folder: Path) -> None:
        shutil.copytree(good / "00000", folder / "00000")
        if offsets is not None:
            with (folder / "00000" / "offsets.npy").open("r+b") as file:
                file.seek(128)
                file.write(offsets)

    extra = {**manifest["extra"], **changed}
    publish_folder(out, fill, kind="token_shards", fingerprints=manifest["fingerprints"], extra=extra)


def use(path: Path) -> None:
    """Everything that reads: typed errors are what may come out."""
    for verify in (True, False):
        try:
            shards = Shards.open(path, verify=verify)
            list(shards)
            for strategy in ("best_fit", "concat"):
                packed = pack(shards, 4, strategy=strategy)  # type: ignore[arg-type]
                packed.batch(0, min(len(packed), 9))
        except StategptError:
            pass


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changed=FIELDS)
def test_any_numbers_are_read_or_refused(good: Path, tmp_path: Path, changed: dict[str, Any]) -> None:
    signed_again(good, tmp_path / "data", changed)
    use(tmp_path / "data")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(offsets=st.lists(numbers, min_size=5, max_size=5))
def test_any_offsets_are_read_or_refused(good: Path, tmp_path: Path, offsets: list[int]) -> None:
    signed_again(good, tmp_path / "data", {}, b"".join(offset.to_bytes(8, "little") for offset in offsets))
    use(tmp_path / "data")


def test_what_is_signed_as_it_was_is_read(good: Path, tmp_path: Path) -> None:
    signed_again(good, tmp_path / "data", {})
    assert [ids.tolist() for ids in Shards.open(tmp_path / "data")] == [[5, 6, 7], [8, 9], [], [5] * 9]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"length_histogram": [[1, 2**40]]}, "the length histogram hold 1099511627776 of 1099511627776"),
        ({"length_histogram": [[0, 2**64 - 1]]}, "the length histogram hold 18446744073709551615"),
        ({"length_histogram": [[2, 2**63], [3, 2**63]]}, "sums exceed 64 bits"),
        ({"length_histogram": [[3, 1], [3, 1]]}, "lengths ascend"),
        ({"length_histogram": [[3, 0]]}, "must not be listed"),
        ({"tokens": 2**63}, "the shards hold 4 of 14"),
        ({"shards": [{"documents": 2**61 - 1, "tokens": 14, "masked": False}]}, "more than files hold"),
        ({"shards": [{"documents": 4, "tokens": 2**64 - 1, "masked": True}]}, "more than files hold"),
        ({"end_of_text": 258}, "end_of_text is 258, outside the vocabulary of 258"),
        ({"padding": 2**32 - 1}, "padding is 4294967295, outside"),
        ({"vocab_size": 0}, "outside the vocabulary of 0"),
    ],
)
def test_numbers_that_contradict_each_other_are_named(
    good: Path, tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    signed_again(good, tmp_path / "data", changed)
    with pytest.raises(ForeignArtifact, match=message):
        Shards.open(tmp_path / "data")


def _limit() -> None:
    # Memory as it is after the imports is far below this.
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))


@pytest.mark.parametrize(
    "changed",
    [
        {"length_histogram": [[1, 2**40]], "documents": 2**40, "tokens": 2**40},
        {
            "length_histogram": [[0, 2**32 - 1]],
            "documents": 2**32 - 1,
            "tokens": 0,
            "shards": [{"documents": 2**32 - 1, "tokens": 0, "masked": False}],
        },
    ],
)
def test_absurd_counts_do_not_take_the_process_down(good: Path, tmp_path: Path, changed: dict[str, Any]) -> None:
    signed_again(good, tmp_path / "data", changed)
    program = (
        "import sys, stategpt as sg\n"
        "for verify in (True, False):\n"
        "    try: sg.pack(sg.Shards.open(sys.argv[1], verify=verify), 4)\n"
        "    except sg.errors.StategptError as error: print(type(error).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "data")],
        capture_output=True, text=True, preexec_fn=_limit, timeout=250, check=False,
    )  # fmt: skip
    assert (done.returncode, len(done.stdout.split())) == (0, 2), done.stderr
    assert set(done.stdout.split()) <= {"ForeignArtifact", "CorruptArtifact"}


def test_a_batch_that_does_not_fit_is_a_memory_error(good: Path) -> None:
    program = (
        "import sys, stategpt as sg\n"
        "packed = sg.pack(sg.Shards.open(sys.argv[1]), 2**20)\n"
        "try: packed.batch(0, 1, 2000)\n"
        "except MemoryError as error: print('use smaller batches' in str(error))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(good)],
        capture_output=True, text=True, preexec_fn=_limit, timeout=250, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
