"""The comparison of two runs finds one changed bit, rank or file, and passes over what is not compared."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from equivalence.compare_commits import DIFFERENT, MISSING, SAME, compare_runs, report, smallest_recipe

SCRIPT = Path(__file__).with_name("compare_commits.py")
FILES = [
    "tokenizer/tokenizer.json",
    "data/code/shard-0/tokens.npy",
    "rankings/records/train.jsonl",
    "rl/model/model.safetensors",
    "sft/model/model.safetensors",
]


def write_run(root: Path) -> Path:
    """A small run folder with one artifact of each kind, and files that are not compared."""
    for name in FILES:
        (root / name).parent.mkdir(parents=True)
    (root / FILES[0]).write_text(json.dumps({"model": {"vocab": {"a": 0}}, "version": "1.0"}))
    np.save(root / FILES[1], np.arange(5, dtype=np.uint16))
    completions = [{"text": "a", "rank": 1, "ids": [1, 2]}, {"text": "b", "rank": 2, "ids": [3]}]
    (root / FILES[2]).write_text(json.dumps({"prompt": "why?", "completions": completions, "pairs": [[0, 1]]}) + "\n")
    for name in FILES[3:]:
        save_file({"a": np.zeros((2, 2), np.float32), "b": np.ones(3, np.float32)}, root / name)
    (root / "sft" / "log").mkdir()
    (root / "sft" / "log" / "timing.json").write_text(f'{{"seconds": {len(str(root))}}}')
    return root


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    return write_run(tmp_path / "one"), write_run(tmp_path / "another one")


def test_equal_runs_are_the_same_whatever_they_logged(runs: tuple[Path, Path]) -> None:
    verdicts = compare_runs(*runs)
    assert [(each.artifact, each.verdict) for each in verdicts] == [(name, SAME) for name in FILES]
    assert list(report(verdicts))[-1] == "5 of 5 artifacts are the same"


def change_tensor(root: Path) -> None:
    tensors = {"a": np.zeros((2, 2), np.float32), "b": np.ones(3, np.float32)}
    tensors["a"][1, 1] = -0.0  # equal as numbers, another bit
    save_file(tensors, root / "rl" / "model" / "model.safetensors")


def change_dtype(root: Path) -> None:
    np.save(root / "data" / "code" / "shard-0" / "tokens.npy", np.arange(5, dtype=np.uint32))


def change_rank(root: Path) -> None:
    path = root / "rankings" / "records" / "train.jsonl"
    path.write_text(path.read_text().replace('"rank": 2', '"rank": 1'))


def change_merges(root: Path) -> None:
    (root / "tokenizer" / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"a": 1}}, "version": "1.0"}))


@pytest.mark.parametrize(
    ("change", "artifact", "detail"),
    [
        (change_tensor, FILES[3], "1 of 2 parts: a"),
        (change_dtype, FILES[1], "1 of 1 parts: array"),
        (change_rank, FILES[2], "1 of 1 parts: record 0"),
        (change_merges, FILES[0], "1 of 2 parts: model"),
    ],
)
def test_one_change_is_found_and_named(
    runs: tuple[Path, Path], change: Callable[[Path], None], artifact: str, detail: str
) -> None:
    change(runs[1])
    differing = [each for each in compare_runs(*runs) if each.verdict != SAME]
    assert [(each.artifact, each.verdict, each.detail) for each in differing] == [(artifact, DIFFERENT, detail)]


def test_names_of_other_fields_and_white_space_are_not_compared(runs: tuple[Path, Path]) -> None:
    records = runs[1] / FILES[2]
    records.write_text(records.read_text().replace('"text"', '"answer"'))
    tokenizer = runs[1] / FILES[0]
    tokenizer.write_text(json.dumps(json.loads(tokenizer.read_text()), indent=4))
    assert {each.verdict for each in compare_runs(*runs)} == {SAME}


@pytest.mark.parametrize("side", [0, 1])
def test_a_file_of_one_run_alone_is_missing(runs: tuple[Path, Path], side: int) -> None:
    (runs[side] / FILES[4]).unlink()
    (found,) = [each for each in compare_runs(*runs) if each.verdict != SAME]
    detail = f"not there {('before', 'after')[side]}"
    assert (found.artifact, found.verdict, found.detail) == (FILES[4], MISSING, detail)


def test_the_command_line_compares_folders_and_exits_one_where_they_differ(runs: tuple[Path, Path]) -> None:
    command = [sys.executable, str(SCRIPT), "--runs", *map(str, runs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "same       tokenizer/tokenizer.json")
    change_tensor(runs[1])
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "DIFFERENT  rl/model/model.safetensors  (1 of 2 parts: a)" in done.stdout


def test_two_empty_folders_are_not_the_same(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--runs", str(tmp_path), str(tmp_path)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


@pytest.mark.parametrize("name", ["smoke_cpu", "test_cpu"])
def test_the_smallest_recipe_is_found_by_either_name(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "python" / "stategpt" / "recipes"
    folder.mkdir(parents=True)
    with pytest.raises(SystemExit, match="add the name it had"):
        smallest_recipe(tmp_path)
    (folder / f"{name}.py").write_text("")
    assert smallest_recipe(tmp_path) == name
