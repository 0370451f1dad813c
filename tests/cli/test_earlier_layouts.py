"""Folders and files of earlier versions: each command names the version and the remedy, and none raises a raw error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stategpt.artifacts import publish_folder
from stategpt.cli import main

# The settings that version 1 had and this one has not, as its resolved run.toml held them.
RUN_TOML = """name = "old"
[corpus]
kind = "python_library"
paths = []
minimum_pair_characters = 15
[model]
head_width = 32
hidden_width = 512
[rankings]
labeler = "docstring_style"
[rl]
low_beta = 0.04
"""
COMMANDS = [
    ["run"],
    ["report"],
    ["explain"],
    ["explain", "--verify"],
    ["plan"],
    ["chat", "--stage", "base", "--prompt", "hello"],
]


@pytest.fixture
def old_run(tmp_path: Path) -> Path:
    """A run folder as earlier versions left it: corpus/pairs, run.toml, an evaluation without a format version."""
    root = tmp_path / "old"
    root.mkdir()
    (root / "run.toml").write_text(RUN_TOML, encoding="utf-8")

    def corpus(target: Path) -> None:
        (target / "pairs").mkdir()
        (target / "pairs" / "train.jsonl").write_text('{"prompt": "What does `a.b` do?", "response": "Adds."}\n')
        (target / "statistics.json").write_text('{"modules": 1}')

    publish_folder(root / "corpus", corpus, kind="corpus")
    publish_folder(root / "sft" / "evaluation", evaluation, kind="evaluation")
    base = root / "base" / "model"
    base.mkdir(parents=True)
    (base / "config.json").write_text("{}")
    return root


def evaluation(target: Path) -> None:
    (target / "evaluation.json").write_text(json.dumps({"samples": 3, "ended_share": {"mean": 1.0}}))


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a refused command prints."""
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("stategpt: ")
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_run_folder_of_an_earlier_version_is_refused(
    words: list[str], old_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused([words[0], str(old_run), *words[1:]], capsys)
    assert (
        f"{old_run} is a run of an earlier version of stategpt, whose corpus has format version 1. Use another" in told
    )


@pytest.mark.parametrize("words", [["run"], ["report"], ["explain"], ["plan"]], ids=" ".join)
def test_a_policy_of_an_earlier_version_is_named(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.toml").write_text("[rl]\nlow_beta = 0.04\n", encoding="utf-8")
    (tmp_path / "rl" / "low_beta").mkdir(parents=True)
    told = refused([*words, str(tmp_path)], capsys)
    assert "it holds rl/low_beta, which is now rl/beta_N for each N of rl.extra_betas. Use another folder, or" in told


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_toml_of_an_earlier_version_names_every_setting_that_moved(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "old.toml"
    path.write_text(RUN_TOML, encoding="utf-8")
    told = refused([command, str(path)], capsys)
    for moved in (
        "corpus.kind is now corpus.source",
        "corpus.minimum_pair_characters is now corpus.min_response_characters",
        "model.head_width is now model.head_dim",
        "model.hidden_width is now model.mlp_width",
        "rankings.labeler is now rankings.scorer",
        "rl.low_beta is now rl.extra_betas, a list",
    ):
        assert moved in told
    assert not (tmp_path / "runs").exists()


def test_one_moved_setting_names_its_successor(capsys: pytest.CaptureFixture[str]) -> None:
    told = refused(["run", "smoke_cpu", "--rl.low_beta", "0.04"], capsys)
    assert "rl.low_beta is now rl.extra_betas, a list; give that one" in told


def test_an_evaluation_of_an_earlier_version_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.toml").write_text('name = "old"\n', encoding="utf-8")
    publish_folder(tmp_path / "sft" / "evaluation", evaluation, kind="evaluation")
    told = refused(["report", str(tmp_path)], capsys)
    assert "evaluation.json has no format version; this version of stategpt reads version " in told
    assert "delete the folder" in told
