"""All stages end to end on a corpus the test makes: they run, go on after a kill bit for bit, and refuse strangers."""

import hashlib
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

import stategpt as sg
from small_corpus import write_small_corpus
from stategpt.artifacts.environment import read_environments
from stategpt.config import RunConfig
from stategpt.config.stage_names import STAGES
from stategpt.errors import CorruptArtifact, ForeignArtifact, InvalidArgument, StorageError
from stategpt.recipes import smoke_cpu

pytestmark = pytest.mark.xdist_group("run")

MODELS = ("base", "sft", "reward", "rl", "rl/seed_1")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    corpus = write_small_corpus(tmp_path_factory.mktemp("corpus") / "library")
    small = smoke_cpu(str(corpus))
    # Long enough that a kill lands inside a stage.
    pretrain = replace(small.pretrain, tokens=60 * 4 * 128, checkpoint_every_steps=7)
    return replace(small, pretrain=pretrain, rl=replace(small.rl, steps=12, checkpoint_every_steps=3, seeds=2))


@pytest.fixture(scope="module")
def finished(recipe: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("straight") / "run"
    result = sg.run(recipe, out=folder)
    assert result.failed_gates == [], "smoke_cpu requires no gate"
    return folder


def _hashes(folder: Path) -> dict[str, str]:
    files = {stage: folder / stage / "model" / "model.safetensors" for stage in MODELS}
    return {stage: hashlib.sha256(path.read_bytes()).hexdigest() for stage, path in files.items() if path.exists()}


def _measured(folder: Path) -> dict[str, bytes]:
    """All measurements that are a function of the run, with the manifests and the lineage over them."""
    files = [*folder.glob("**/evaluation/*"), *folder.glob("gates/*"), folder / "lineage.json"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_run_records_the_machine_and_the_versions(finished: Path) -> None:
    (call,) = read_environments(finished).calls
    assert call.versions["torch"]
    assert call.cpu
    assert "log" not in (finished / "lineage.json").read_text(), "two machines that make the same have one lineage"


def test_a_run_leaves_every_stage_and_a_report(finished: Path) -> None:
    assert set(_hashes(finished)) == set(MODELS)
    for stage in ("base", "sft", "rankings", "reward", "comparison"):
        assert json.loads((finished / stage / "evaluation" / "evaluation.json").read_text())
    assert {gate["name"] for gate in json.loads((finished / "gates" / "gates.json").read_text())["gates"]} == {
        "base", "sft_ended", "sft_similarity", "reward_accuracy", "reward_beats_length", "rl_win_rate", "rl_kl",
        "rl_best_of_n", "diversity_unique",
    }  # fmt: skip
    html = (finished / "report" / "index.html").read_text()
    assert "http://" not in html.replace("http://www.w3.org", ""), "the report is one offline file"
    assert "data:image/png;base64," in html


def test_lineage_leads_from_the_policy_back_to_the_corpus(finished: Path) -> None:
    lineage = json.loads((finished / "lineage.json").read_text())
    nodes = {node["id"]: node for node in lineage["nodes"]}
    by_path = {node["path"]: node for node in lineage["nodes"]}
    reached, todo = set(), [by_path["rl/model"]["id"]]
    while todo:
        node = nodes[todo.pop()]
        reached.add(node["path"])
        todo += [parent for parent in node["parents"] if nodes[parent]["path"] not in reached]
    assert {"sft/model", "base/model", "reward/model", "rankings/records", "tokenizer"} <= reached
    assert {"corpus/documents", "corpus/conversations"} <= reached


def test_running_again_changes_nothing(recipe: RunConfig, finished: Path) -> None:
    before = _hashes(finished)
    stamps = {stage: (finished / stage / "model" / "model.safetensors").stat().st_mtime_ns for stage in MODELS}
    sg.run(recipe, out=finished)
    assert _hashes(finished) == before
    assert {s: (finished / s / "model" / "model.safetensors").stat().st_mtime_ns for s in MODELS} == stamps


def test_a_finished_run_is_read_not_made_again(
    recipe: RunConfig, finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_module = importlib.import_module("stategpt.pipeline")
    called: list[str] = []
    monkeypatch.setattr(run_module, "render", lambda folder: called.append("render"))
    for stage in STAGES:
        module = importlib.import_module(f"stategpt.stages.{stage.name}")
        monkeypatch.setattr(module, stage.name, lambda config, folder, name=stage.name: called.append(name))
    result = sg.run(recipe, out=finished)
    assert called == []
    assert result.report == finished / "report" / "index.html"
    assert result.gates
    assert len(repr(result)) < 1000
    assert "every file was read and is unchanged" in " ".join(capsys.readouterr().err.split())

    page = (finished / "report" / "index.html").read_bytes()
    (finished / "report" / "index.html").write_bytes(page + b" ")
    sg.run(recipe, out=finished)
    assert called == [*recipe.stages, "render"]
    (finished / "report" / "index.html").write_bytes(page)
    monkeypatch.undo()
    sg.run(recipe, out=finished)  # leaves a true receipt again


def test_a_finished_run_needs_no_torch(recipe: RunConfig, finished: Path, tmp_path: Path) -> None:
    from stategpt.config.toml import dump

    (tmp_path / "run.toml").write_text(dump(recipe))
    program = (
        "import sys; from stategpt.cli import main;"
        f"code = main(['run', {str(tmp_path / 'run.toml')!r}, '--out', {str(finished)!r}]);"
        "print(code, sorted({'torch', 'matplotlib', 'jinja2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"report: {finished / 'report' / 'index.html'}", "0 []"]


@pytest.mark.parametrize("config", ["tiny_cpu", {"seed": 1}, None])
def test_what_is_no_run_is_refused_before_a_folder_is_made(config: object, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"config is of type .*; it must be RunConfig\. .*recipes\.tiny_cpu"):
        sg.run(config, out=tmp_path / "run")  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_the_mean_reward_of_demonstrations_is_zero(finished: Path) -> None:
    measured = json.loads((finished / "reward" / "evaluation" / "evaluation.json").read_text())
    assert measured["demonstrations_mean"] == pytest.approx(0.0, abs=1e-4)
    assert len(measured["rewards"]["demonstrations"]) > 50


def test_a_folder_of_another_run_is_refused_with_the_differences(recipe: RunConfig, finished: Path) -> None:
    with pytest.raises(ForeignArtifact, match=r"seed was 0, now 9"):
        sg.run(replace(recipe, seed=9), out=finished)


def test_another_beta_after_the_reward_model_trains_the_policy_alone(
    recipe: RunConfig, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = _copy_without_training(finished, tmp_path, monkeypatch, but="rl")
    for part in ("rl", "comparison"):
        shutil.rmtree(out / part)
    sg.run(replace(recipe, name="renamed", rl=replace(recipe.rl, beta=0.4)), out=out)
    before, after = _hashes(finished), _hashes(out)
    policies = {stage for stage in MODELS if stage.startswith("rl")}
    assert {stage for stage in MODELS if before[stage] != after[stage]} == policies
    assert not list(out.glob("**/checkpoints")), "nothing goes on from them any more"


def test_what_an_evaluation_asks_for_may_change_after_it_failed(
    recipe: RunConfig, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = _copy_without_training(finished, tmp_path, monkeypatch)
    for part in ("sft/evaluation", "comparison"):
        shutil.rmtree(out / part)
    with pytest.raises(InvalidArgument, match=r"evaluate\.few_shot_examples = 9999.*lower few_shot_examples"):
        sg.run(replace(recipe, evaluate=replace(recipe.evaluate, few_shot_examples=9999)), out=out)
    sg.run(replace(recipe, evaluate=replace(recipe.evaluate, few_shot_examples=0)), out=out)
    assert _hashes(out) == _hashes(finished)


def test_gates_may_change_without_training_again(recipe: RunConfig, finished: Path) -> None:
    before = _hashes(finished)
    result = sg.run(replace(recipe, gates=replace(recipe.gates, required=("rl",))), out=finished)
    assert "rl_win_rate" in {gate.name for gate in result.failed_gates}, "8 prompts are fewer than the gate wants"
    assert _hashes(finished) == before
    assert sg.run(recipe, out=finished).failed_gates == []


KILLED_AT = """
import os, signal, sys
from stategpt.cli import main
from stategpt.train.metrics import MetricsLog
stage, step, config, out = sys.argv[1:]
write = MetricsLog.write
def write_and_die(self, at, values):
    write(self, at, values)
    if self.path.parent.as_posix().endswith(stage) and at >= int(step):
        os.kill(os.getpid(), signal.SIGKILL)
MetricsLog.write = write_and_die
main(["run", config, "--out", out])
"""


def test_sigkill_in_a_stage_then_resume_is_bit_identical(recipe: RunConfig, finished: Path, tmp_path: Path) -> None:
    """Killed in pretraining, gone on with, killed in RL, gone on with: each time by itself, at a known step."""
    from stategpt.config.toml import dump

    config, out = tmp_path / "run.toml", tmp_path / "run"
    config.write_text(dump(recipe))
    for stage, step in (("base", 23), ("rl/seed_1", 5)):
        killed = subprocess.run(
            [sys.executable, "-c", KILLED_AT, stage, str(step), config, out], capture_output=True, check=False
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert (out / stage / "metrics.jsonl").exists()
        assert not (out / stage / "model").exists(), "the kill must land inside the stage"
    subprocess.run([sys.executable, "-m", "stategpt", "run", config, "--out", out], check=True, capture_output=True)
    assert _hashes(out) == _hashes(finished)
    assert _measured(out) == _measured(finished)
    for stage in ("base", "rl", "rl/seed_1"):
        lines = (out / stage / "log" / "metrics.jsonl").read_text().splitlines()
        steps = [json.loads(line)["step"] for line in lines]
        assert steps == sorted(set(steps)), "no step is logged twice"


def test_a_model_without_its_manifest_is_refused_before_any_work(
    recipe: RunConfig, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = _copy_without_training(finished, tmp_path, monkeypatch)
    (out / "base" / "model" / "manifest.json").unlink()
    with pytest.raises(CorruptArtifact, match=r"base/model exists and has no manifest\.json"):
        sg.run(recipe, out=out)


def test_a_lost_evaluation_is_measured_again_without_training(
    recipe: RunConfig, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _measured(finished)
    out = _copy_without_training(finished, tmp_path, monkeypatch)
    shutil.rmtree(out / "sft" / "evaluation")
    shutil.rmtree(out / "reward" / "evaluation")
    sg.run(recipe, out=out)
    assert _measured(out) == before


def test_what_only_training_measures_is_refused_when_it_is_lost(
    recipe: RunConfig, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = _copy_without_training(finished, tmp_path, monkeypatch)
    shutil.rmtree(out / "rl" / "evaluation")
    with pytest.raises(CorruptArtifact, match=r"frontier\.jsonl lacks step 0"):
        sg.run(recipe, out=out)
    shutil.rmtree(out / "base" / "evaluation")
    with pytest.raises(CorruptArtifact, match=r"samples\.jsonl lacks step 0"):
        sg.run(recipe, out=out)


def test_a_stage_that_is_a_link_is_refused_and_its_target_stays(recipe: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "base").symlink_to(tmp_path / "outside")
    with pytest.raises(StorageError, match="base is a link"):
        sg.run(recipe, out=tmp_path / "run")
    assert not list((tmp_path / "outside").iterdir())


def _copy_without_training(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, but: str = "") -> Path:
    """A copy of the finished run, in a process where any training (but that of one stage) fails the test."""
    for stage in {"pretrain", "sft", "reward", "rl"} - {but}:
        monkeypatch.setattr(f"stategpt.stages.{stage}.fit", None)
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


PHASES = (
    ("stategpt.stages.corpus", "build_corpus"),
    ("stategpt.stages.prepare", "write_shards"),
    ("stategpt.stages.pretrain", "_sample"),
    ("stategpt.stages.pretrain", "evaluate_base"),
    ("stategpt.stages.sft", "evaluate_answers"),
    ("stategpt.stages.rankings", "record_of"),
    ("stategpt.stages.rankings", "_describe"),
    ("stategpt.stages.reward", "evaluate_reward"),
    ("stategpt.stages.rl", "_refuse_lost_frontier"),
    ("stategpt.stages.compare", "compare_systems"),
    ("stategpt.pipeline", "write_lineage"),
    ("stategpt.pipeline", "render"),
)
"""Where SIGTERM comes: inside each kind of work of a run, in its order."""


def test_sigterm_ends_every_phase_with_75_and_the_run_goes_on_bit_for_bit(
    recipe: RunConfig, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    before = signal.getsignal(signal.SIGTERM)
    for module, name in PHASES:
        with pytest.MonkeyPatch.context() as patch:
            _send_sigterm_in(patch, importlib.import_module(module), name)
            with pytest.raises(SystemExit) as ended:
                sg.run(recipe, out=out)
        assert ended.value.code == 75, (module, name)
        assert signal.getsignal(signal.SIGTERM) is before
        assert not list(out.glob("**/.*.staged-*")), (module, name)
    assert sg.run(recipe, out=out).failed_gates == []
    assert _hashes(out) == _hashes(finished)
    assert _measured(out) == _measured(finished)


def _send_sigterm_in(patch: pytest.MonkeyPatch, module: ModuleType, name: str) -> None:
    """The function sends this process SIGTERM when it is called, then does its work."""
    real = getattr(module, name)

    def interrupted(*arguments: Any, **named: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments, **named)

    patch.setattr(module, name, interrupted)
