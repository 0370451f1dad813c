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


def test_the_readmes_script_runs_behind_its_training_run(tmp_path: Path) -> None:
    pytest.importorskip("llguidance", reason="llguidance is not installed (extra: constraints)")
    (script,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    made = """
from pathlib import Path
import stategpt as sg

tok = sg.Tokenizer.train(["a text"], vocab_size=280, special_tokens=list(sg.config.CONTROL_TOKENS))
shape = sg.GPTConfig(vocab_size=tok.vocab_size, depth=1, width=32, heads=2, kv_heads=2, head_dim=16, mlp_width=48)
sg.GPT(shape).save_pretrained("runs/tiny/rl/model", tok)
"""
    used = script.partition("\nsg.run(")[2].partition("\n")[2]
    shown = "assert len(answers) == 8 and verdict in ('yes', 'no')"
    done = subprocess.run(
        [sys.executable, "-c", made + used + shown],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
