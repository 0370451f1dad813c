"""Runs of some stages on a user's files: each kind of data alone is a whole job, from documents or from a model."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.tokenizer import Tokenizer
from user_files import Writer
from user_runs import run

pytestmark = pytest.mark.xdist_group("user_parts")

DOCUMENTS = '[sources.docs]\npaths = ["files/docs"]\nshare = 1.0\n[tokenizer]\nvocab_size = 400\n[model]\ndepth = 1\n'
START = '[start]\nmodel = "base/base"\n'
CHATS = '[sft]\ndata = ["files/chats.jsonl"]\n'
RANKED = '[rankings]\ndata = ["files/hh.jsonl"]\n[reward]\n'
SCORER = "def score(prompts, completions):\n    return [float(len(c.text)) for c in completions]\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of every kind, and a base model made of the documents alone."""
    folder = tmp_path_factory.mktemp("parts")
    writer = Writer(folder / "files")
    writer.everything(40)
    writer.lines("prompts.jsonl", ({"prompt": f"What of the {writer.word()} {number}?"} for number in range(40)))
    (folder / "length_score.py").write_text(SCORER)
    assert run(folder, "base", DOCUMENTS) == 0
    return folder


def made(project: Path, name: str) -> set[str]:
    """Folders of stages that a run has published something in."""
    stages = ("base", "sft", "rankings", "reward", "rl", "comparison")
    return {stage for stage in stages if list((project / name / stage).glob("*/manifest.json"))}


def test_documents_alone_give_a_base_model(project: Path) -> None:
    assert made(project, "base") == {"base"}
    assert not (project / "base" / "data" / "conversations" / "train").exists()
    assert "bits" in (project / "base" / "report" / "index.html").read_text()


def test_chats_alone_from_a_model(project: Path) -> None:
    assert run(project, "chats", START + CHATS) == 0
    assert made(project, "chats") == {"base", "sft"}
    assert not (project / "chats" / "data" / "docs").exists(), "there are no documents"


def test_rankings_alone_from_a_model(project: Path) -> None:
    assert run(project, "ranked", START + RANKED) == 0
    assert made(project, "ranked") == {"base", "rankings", "reward"}
    measured = json.loads((project / "ranked" / "reward" / "evaluation" / "evaluation.json").read_text())
    assert measured["pairs"] > 0
    assert 0 <= measured["pair_accuracy"]["low"] <= measured["pair_accuracy"]["high"] <= 1
    gates = json.loads((project / "ranked" / "gates" / "gates.json").read_text())["gates"]
    assert {gate["name"] for gate in gates} == {"reward_accuracy", "reward_beats_length"}, "of what ran"


def test_documents_and_rankings_without_chats(project: Path) -> None:
    assert run(project, "two", DOCUMENTS + RANKED) == 0
    assert made(project, "two") == {"base", "rankings", "reward"}


def test_rl_on_prompts_with_a_rule_needs_no_reward_model(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    rules = '[rl]\nprompts = ["files/prompts.jsonl"]\nscorer = "length_score:score"\nsteps = 2\nprompts_per_step = 4\n'
    text = START + CHATS + rules.replace("[rl]", "[rl]\ncompletions = 2")
    assert run(project, "ruled", text, "--evaluate.scorer", "length_score:score") == 0
    assert made(project, "ruled") == {"base", "sft", "rl", "comparison"}


def test_completions_ranked_by_a_rule(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    ranked = '[rankings]\nscorer = "length_score:score"\ntrain_prompts = 8\ntest_prompts = 4\n[reward]\n'
    assert run(project, "sampled", START + CHATS + ranked) == 0
    assert made(project, "sampled") == {"base", "sft", "rankings", "reward"}


def test_a_base_model_of_another_vocabulary_keeps_its_tokenizer(project: Path) -> None:
    assert run(project, "kept", START + CHATS, "--until", "prepare") == 0
    base, kept = (Tokenizer.load(project / name / "tokenizer" / "tokenizer.json") for name in ("base", "kept"))
    assert kept.fingerprint == base.fingerprint
    assert kept.encode("river stone").tolist() == base.encode("river stone").tolist()


def test_the_reward_model_learns_from_the_training_side_only(project: Path) -> None:
    assert run(project, "sides", START + RANKED, "--until", "rankings") == 0
    ids = {}
    for side in ("train", "test"):
        published = (project / "sides" / "rankings" / "records" / f"{side}.jsonl").read_text().splitlines()
        split = (project / "sides" / "corpus" / "rankings" / f"{side}.jsonl").read_text().splitlines()
        ids[side] = {json.loads(line)["id"] for line in published}
        assert ids[side] == {json.loads(line)["id"] for line in split}
    assert not ids["train"] & ids["test"]


def test_a_source_is_not_read_more_often_than_it_may(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = DOCUMENTS.replace("share = 1.0", "share = 1.0\nmax_epochs = 0.5")
    assert run(project, "often", text, "--pretrain.tokens", "8192") == 2
    assert "sources.docs.max_epochs = 0.5: 8,192 training tokens" in " ".join(capsys.readouterr().err.split())
    assert not (project / "often" / "base" / "model").exists()


def test_a_setting_that_a_stage_lacks_is_said_before_a_folder_is_made(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(project, "lacking", DOCUMENTS + "[sft]\nepochs = 1.0\n") == 2
    assert "[sft] has no conversations; add sft.data" in " ".join(capsys.readouterr().err.split())
    assert not (project / "lacking").exists()
