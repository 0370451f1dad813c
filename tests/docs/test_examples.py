"""The scripts in docs/examples run as they are, each in an empty folder, and so does the README's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_says_something(example: Path, tmp_path: Path) -> None:
    if "stategpt[train]" in (example.read_text().split('"""')[1]):
        pytest.importorskip("torch", reason="torch is not installed (extra: train)")
    if "Needs transformers" in example.read_text():
        pytest.importorskip("transformers", reason="transformers is not installed (extra: dev)")
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        [sys.executable, str(example)], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False,
        timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_readmes_script_runs_up_to_its_training_run(tmp_path: Path) -> None:
    (script,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert "\nsg.run(" in script
    (tmp_path / "corpus.txt").write_text("a text to train a tokenizer on\n" * 20)
    ranked = [{"text": "good", "rank": 1}, {"text": "bad", "rank": 2}]
    (tmp_path / "rankings.jsonl").write_text(json.dumps({"id": "a", "prompt": "why?", "completions": ranked}) + "\n")
    data_part = script.partition("\nsg.run(")[0]
    # `vocab_size=4096` is more than this text can give; the README's reader has a corpus.
    command = [sys.executable, "-c", data_part.replace("vocab_size=4096", "vocab_size=280")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=250)
    assert done.returncode == 0, done.stderr
