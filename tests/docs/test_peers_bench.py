"""What `benches/peers` makes of the seconds of processes that took turns: ratios, best peers, tables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "benches" / "peers"


@pytest.fixture(autouse=True)
def _benches_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PEERS))
    for name in ("paired", "jobs", "turns", "adapters", "vocabularies"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def entry(job: str, seconds: Any, **more: Any) -> dict[str, Any]:
    described = {"job": job, "kind": "prose", "vocabulary": "cl100k", "turns": 4, "library": "stategpt"}
    return {"job": described, "result": {"megabytes": 8.0, "seconds": seconds, "failed": {}, **more}}


def test_a_ratio_is_of_rounds_that_met_the_same_machine() -> None:
    from paired import Ratio

    # In the second half the machine is three times as slow, for both.
    found = Ratio.of([1.0, 1.0, 3.0, 3.0], [2.0, 1.5, 4.5, 6.0])
    assert found.of_minima == 1.5
    assert found.of_medians == 1.625
    assert found.quartiles == (1.5, 1.75, 2.0)
    assert found.text() == "1.75 (1.50-2.00)"


def test_seconds_of_different_numbers_of_rounds_are_refused() -> None:
    from paired import Ratio

    with pytest.raises(ValueError, match="zip"):
        Ratio.of([1.0, 1.0], [1.0])


def test_each_mode_is_compared_with_ours_of_the_same_mode() -> None:
    from paired import best, paired_rows, ratios

    seconds = {
        "stategpt one": [2.0, 2.0],
        "stategpt batch": [4.0, 4.0],
        "slow one": [8.0, 8.0],
        "near one": [3.0, 3.0],
        "near batch": [2.0, 2.0],
    }
    (row,) = paired_rows([entry("turns", seconds)])
    assert {name: ratio.of_minima for name, ratio in ratios(row)} == {
        "slow one": 4.0,
        "near one": 1.5,
        "near batch": 0.5,
    }
    name, ratio = best(row, "one") or ("", None)
    assert (name, ratio.quartiles if ratio else None) == ("near", (1.5, 1.5, 1.5))
    assert row["ratios"][1] == {"name": "near one", "of_minima": 1.5, "of_medians": 1.5, "quartiles": [1.5, 1.5, 1.5]}


def test_a_fresh_process_has_a_ratio_for_each_part_that_is_timed() -> None:
    from paired import paired_rows, table

    seconds = {
        "stategpt one": {"process": [4.0, 4.0], "pass": [1.0, 1.0]},
        "peer one": {"process": [6.0, 6.0], "pass": [0.5, 0.5]},
    }
    shown = table(paired_rows([entry("fresh", seconds)]))
    assert "| cold, a call for each document: the first pass alone | 0.50 (0.50-0.50) of peer | - | - |" in shown
    assert "| cold, a call for each: the whole process | 1.50 (1.50-1.50) of peer | - | - |" in shown


def test_scaling_is_one_thread_over_two() -> None:
    from paired import paired_rows, ratios

    wall = {"one thread": [4.0, 4.0], "two threads": [2.5, 2.5], "two processes": [2.0, 2.0]}
    cpu = {"one thread": [4.0, 4.0], "two threads": [5.0, 5.0], "two processes": [4.0, 4.0]}
    (row,) = paired_rows([entry("scaling", wall, cpu=cpu)])
    assert {name: ratio.of_medians for name, ratio in ratios(row)} == {
        "two threads": 1.6,
        "two threads, CPU": 0.8,
        "two processes": 2.0,
        "two processes, CPU": 1.0,
    }


def test_a_job_that_failed_is_a_row_that_says_so() -> None:
    from paired import paired_rows

    failed = {"job": entry("turns", {})["job"], "error": "no such file"}
    assert paired_rows([failed])[0]["error"] == "no such file"


def test_turns_go_forth_and_back() -> None:
    from turns import _order

    assert [_order(["a", "b"], number) for number in range(3)] == [["a", "b"], ["b", "a"], ["a", "b"]]


def test_processes_take_turns_and_other_ids_are_not_timed(tmp_path: Path) -> None:
    """The whole way with our library twice and a peer that is wrong: what `measure.py` prints."""
    import stategpt as sg

    corpus = tmp_path / "corpus.txt"
    corpus.write_text("one document\n<|endoftext|>and another<|endoftext|>")
    sg.Tokenizer.train([corpus], vocab_size=260, pattern="gpt4").save(tmp_path / "cl100k.json")
    wrong = tmp_path / "adapters_with_a_wrong_one.py"
    wrong.write_text(
        "import adapters, dataclasses, runpy, sys\n"
        "right = adapters.LIBRARIES['stategpt']\n"
        "def wrong(*given):\n"
        "    held = right(*given)\n"
        "    return dataclasses.replace(held, one=lambda text: held.one(text + '!'))\n"
        "adapters.LIBRARIES['wrong'] = wrong\n"
    )
    job = {
        "job": "turns", "corpus": str(corpus), "megabytes": 1, "vocabularies": str(tmp_path), "vocabulary": "cl100k",
        "threads": 1, "owner": "stategpt", "turns": 2,
        "contenders": [["stategpt", "one"], ["stategpt", "batch"], ["wrong", "one"], ["nobody", "one"]],
    }  # fmt: skip
    startup = tmp_path / "sitecustomize.py"
    startup.write_text(f"import sys; sys.path.insert(0, {str(PEERS)!r}); import {wrong.stem}\n")
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, str(PEERS / "measure.py"), json.dumps(job)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert {name: len(seconds) for name, seconds in result["seconds"].items()} == {
        "stategpt one": 2,
        "stategpt batch": 2,
    }
    assert result["failed"] == {"wrong one": "other ids than the format's owner", "nobody one": "KeyError: 'nobody'"}
