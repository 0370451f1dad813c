"""A part of a run at a time: --until, --from, and a run whose first stage is a later one."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

import stategpt as sg
from small_corpus import write_small_corpus
from stategpt.artifacts.receipt import RECEIPT_NAME
from stategpt.config import RunConfig, StartConfig
from stategpt.errors import ConfigError, DataError
from stategpt.recipes import smoke_cpu

pytestmark = pytest.mark.xdist_group("run_parts")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    small = smoke_cpu(str(write_small_corpus(tmp_path_factory.mktemp("corpus") / "library")))
    return replace(small, rankings=replace(small.rankings, tie_below=0.0))


@pytest.fixture(scope="module")
def until_sft(recipe: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts") / "run"
    with pytest.raises(
        DataError, match=r"--from reward: .* does not hold corpus, tokenizer, base/model, sft/model, ran"
    ):
        sg.run(recipe, out=folder, first="reward")
    result = sg.run(recipe, out=folder, until="sft")
    assert result.report.exists(), "what there is has a report"
    return folder


def test_until_ends_after_its_stage(until_sft: Path) -> None:
    assert (until_sft / "sft" / "model").is_dir()
    assert not (until_sft / "rankings").exists()
    assert not (until_sft / RECEIPT_NAME).exists(), "the run is not finished"


def test_from_begins_there_and_the_rest_is_not_made_again(
    recipe: RunConfig, until_sft: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stage in ("prepare.write_shards", "pretrain.fit", "sft.fit"):
        monkeypatch.setattr(f"stategpt.stages.{stage}", None)
    with pytest.raises(ConfigError, match=r"--from sft comes after --until pretrain; there is nothing to run"):
        sg.run(recipe, out=until_sft, first="sft", until="pretrain")
    sg.run(recipe, out=until_sft, first="rankings", until="reward")
    assert (until_sft / "reward" / "model").is_dir()
    assert not (until_sft / "rl").exists()


def test_a_run_from_the_base_model_of_another_trains_sft_alone(
    recipe: RunConfig, until_sft: Path, tmp_path: Path
) -> None:
    run = replace(recipe, stages=("prepare", "sft"), start=StartConfig(str(until_sft / "base")))
    result = sg.run(run, out=tmp_path / "run")
    weights = [folder / "base" / "model" / "model.safetensors" for folder in (until_sft, tmp_path / "run")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    tuned = [folder / "sft" / "model" / "model.safetensors" for folder in (until_sft, tmp_path / "run")]
    assert tuned[0].read_bytes() == tuned[1].read_bytes(), "the same corpus, tokenizer and weights: the same SFT model"
    assert not (tmp_path / "run" / "base" / "evaluation").exists(), "pretraining did not run"
    assert not (tmp_path / "run" / "reward").exists()
    nodes = json.loads((tmp_path / "run" / "lineage.json").read_text())["nodes"]
    assert {"base/model", "sft/model", "tokenizer", "corpus"} <= {node["path"] for node in nodes}
    assert (tmp_path / "run" / RECEIPT_NAME).exists()
    assert sg.run(run, out=tmp_path / "run").report == result.report


def test_a_run_of_pretraining_alone(recipe: RunConfig, tmp_path: Path) -> None:
    sg.run(replace(recipe, stages=("prepare", "pretrain")), out=tmp_path / "run")
    assert (tmp_path / "run" / "base" / "evaluation" / "evaluation.json").exists()
    assert not (tmp_path / "run" / "sft").exists()
    assert (tmp_path / "run" / "report" / "index.html").exists()
