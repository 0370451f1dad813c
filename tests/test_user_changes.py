"""Runs whose inputs change, and runs that continue pretraining: what is repeated, what is kept, bit by bit."""

import json
import re
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.tokenizer import Tokenizer
from user_files import Writer
from user_runs import run

pytestmark = pytest.mark.xdist_group("user_changes")

SHAPE = "[tokenizer]\nvocab_size = 400\n[model]\ndepth = 1\nwidth = 64\n"
DOCUMENTS = '[sources.docs]\npaths = ["files/docs"]\nshare = 1.0\n'
CHATS = '[sft]\ndata = ["files/chats.jsonl"]\n'
RANKED = '[rankings]\ndata = ["files/hh.jsonl"]\n[reward]\n'
RULE = "def score(prompts, completions):\n    return [float(len(c.text)) for c in completions]\n"


def weights(folder: Path) -> dict[str, bytes]:
    """The bytes of every model of a run."""
    return {
        stage: path.read_bytes()
        for stage in ("base", "sft", "reward", "rl")
        if (path := _model(folder, stage)).exists()
    }


def _model(folder: Path, stage: str) -> Path:
    return folder / stage / "model" / "model.safetensors"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("changes")
    Writer(folder / "files").everything(40)
    assert run(folder, "first", DOCUMENTS + SHAPE + CHATS + RANKED) == 0
    return folder


@pytest.fixture
def copy(project: Path, tmp_path: Path) -> Path:
    """A copy of the project that a test may change."""
    return Path(shutil.copytree(project, tmp_path / "copy"))


def rerun(project: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Runs the project again with on_change = "rebuild"; what it says of kept and repeated parts."""
    text = DOCUMENTS + SHAPE + CHATS + RANKED
    assert run(project, "first", text) == 2, "by default it is refused"
    assert "corpus.on_change" in capsys.readouterr().err
    assert run(project, "first", text, "--corpus.on_change", "rebuild") == 0
    said = " ".join(capsys.readouterr().err.split())
    lineage = {node["path"]: node for node in json.loads((project / "first" / "lineage.json").read_text())["nodes"]}
    known = {node["id"] for node in lineage.values()}
    assert all(set(node["parents"]) <= known for node in lineage.values())
    assert lineage["corpus/documents"]["id"] in lineage["base/model"]["parents"]
    assert lineage["corpus/conversations"]["id"] in lineage["sft/model"]["parents"]
    return said


def test_another_chat_repeats_fine_tuning_and_keeps_the_base_model(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = weights(copy / "first")
    stamp = _model(copy / "first", "base").stat().st_mtime_ns
    path = copy / "files" / "chats.jsonl"
    path.write_text(path.read_text().replace("Be short.", "Be as brief as you can."))
    said = rerun(copy, capsys)
    after = weights(copy / "first")
    assert [stage for stage in before if before[stage] == after[stage]] == ["base"]
    assert _model(copy / "first", "base").stat().st_mtime_ns == stamp, "not even written again"
    assert "edited: chats.jsonl" in said
    assert re.search(r"kept, since nothing that differs led to it: tokenizer, base, rankings\b", said)
    capsys.readouterr()
    assert run(copy, "first", DOCUMENTS + SHAPE + CHATS + RANKED, "--corpus.on_change", "rebuild") == 0
    assert "finished; every file was read and is unchanged" in " ".join(capsys.readouterr().err.split())


def test_another_preference_repeats_the_reward_model_alone(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = weights(copy / "first")
    asked = "\n\nHuman: What is new?\n\nAssistant:"
    with (copy / "files" / "hh.jsonl").open("a") as file:
        file.write(json.dumps({"chosen": f"{asked} This is.", "rejected": f"{asked} No."}) + "\n")
    said = rerun(copy, capsys)
    after = weights(copy / "first")
    assert [stage for stage in before if before[stage] == after[stage]] == ["base", "sft"]
    assert re.search(r"made again, since it was made from what differs: rankings, reward\b", said)


def test_another_document_repeats_everything(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = weights(copy / "first")
    page = copy / "files" / "docs" / "page0.md"
    page.write_text(page.read_text() + "\nOne more line of text that was not there.\n" * 30)
    rerun(copy, capsys)
    after = weights(copy / "first")
    assert not [stage for stage in before if before[stage] == after[stage]]


def test_a_scorer_that_was_edited_after_the_run_is_noticed(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    (project / "rule_that_changes.py").write_text(RULE)
    Writer(project / "files").lines("prompts.jsonl", ({"prompt": f"What of {n}?"} for n in range(40)))
    text = (
        '[start]\nmodel = "first/sft"\n[rl]\nprompts = ["files/prompts.jsonl"]\nscorer = "rule_that_changes:score"\n'
        "steps = 1\nprompts_per_step = 4\ncompletions = 2\n"
    )
    assert run(project, "ruled", text) == 0
    page = (project / "ruled" / "report" / "index.html").read_text().partition('<section id="origin"')[0]
    assert "SFT" not in re.sub(r"data:image[^\"]*", "", page), "no stage of that name ran"
    before = weights(project / "ruled")
    (project / "rule_that_changes.py").write_text(RULE.replace("float(len(c.text))", "-float(len(c.text))"))
    capsys.readouterr()
    assert run(project, "ruled", text) == 2
    err = " ".join(capsys.readouterr().err.split())
    assert "module edited: rl.scorer = rule_that_changes:score" in err
    assert run(project, "ruled", text, "--corpus.on_change", "rebuild") == 0
    after = weights(project / "ruled")
    assert before["base"] == after["base"]
    assert before["rl"] != after["rl"]


def test_pretraining_continues_from_a_model(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = '[start]\nmodel = "first/base"\n' + DOCUMENTS.replace("docs]", "more]") + CHATS
    assert run(project, "on", text, "--until", "pretrain") == 0
    started, before = (
        _model(project / name, stage).read_bytes() for name, stage in (("on", "start"), ("first", "base"))
    )
    assert started == before, "the run has a copy of what it began with"
    assert _model(project / "on", "base").read_bytes() != before
    loaded = [Tokenizer.load(project / name / "tokenizer" / "tokenizer.json") for name in ("on", "first")]
    assert loaded[0].fingerprint == loaded[1].fingerprint
    measured = json.loads((project / "on" / "base" / "evaluation" / "evaluation.json").read_text())["mixed"]
    first = json.loads((project / "first" / "base" / "evaluation" / "evaluation.json").read_text())["mixed"]
    assert measured["start_bits_per_byte"] == pytest.approx(first["bits_per_byte"]), "the same held-out documents"
    assert measured["bits_per_byte"] < measured["start_bits_per_byte"]
    lines = (project / "on" / "base" / "evaluation" / "validation.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["step"] == 0
    nodes = {node["path"]: node for node in json.loads((project / "on" / "lineage.json").read_text())["nodes"]}
    assert nodes["start/model"]["id"] in nodes["base/model"]["parents"]
    page = (project / "on" / "report" / "index.html").read_text()
    assert "the start model, which had read other text before" in page
    assert "before, of the start model" in page
