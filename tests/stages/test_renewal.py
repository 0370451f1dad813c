"""A changed input: what was made from what differs is removed, the rest is kept, and old and new are never mixed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.artifacts import RunFolder, publish_folder, read_manifest
from stategpt.config import RunConfig, load, override
from stategpt.data.corpus import PARTS, read_corpus
from stategpt.data.groups import group_of
from stategpt.errors import CorpusError, ForeignArtifact
from stategpt.stages import renewal
from stategpt.stages.corpus import publish_corpus
from stategpt.stages.renewal import differing_parts, renew_inputs, stale_parts
from user_files import Writer

SCORER = "def score(prompts, completions):\n    return [1.0 for _ in completions]\n"
SECTIONS = {
    "documents": '[sources.docs]\npaths = ["files/docs"]\nshare = 0.5\n[sources.notes]\npaths = ["files/notes.jsonl"]\n'
    'text = "body"\ngroup = "topic"\nshare = 0.5\n',
    "chats": '[sft]\ndata = ["files/chats.jsonl"]\n',
    "rankings": '[rankings]\ndata = ["files/hh.jsonl"]\n[reward]\n',
    "rl": '[rl]\nprompts = ["files/prompts.jsonl"]\n[evaluate]\nprompts = ["files/held.jsonl"]\n',
}
MADE = {
    "tokenizer": "tokenizer",
    **{f"data/{name}/train": "shards" for name in ("docs", "notes", "conversations")},
    **{f"data/{name}/fit": "fit" for name in ("conversations", "prompts")},
    **{f"{stage}/model": "model" for stage in ("base", "sft", "reward", "reward/judge", "rl", "rl/seed_1")},
    **{f"{stage}/evaluation": "evaluation" for stage in ("base", "sft", "rankings", "reward", "rl", "comparison")},
    "rankings/records": "records",
    "gates": "gates",
}
"""Folders that a run publishes beside the corpus, with their kinds."""
DOWN = {"rankings/records", "rankings/evaluation", "reward/model", "reward/judge/model", "reward/evaluation"}
RL = {"rl/model", "rl/seed_1/model", "rl/evaluation", "comparison/evaluation", "gates"}
SFT = {"sft/model", "sft/evaluation", "data/conversations/train", "data/conversations/fit"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    writer = Writer(tmp_path / "files")
    writer.everything(40)
    lines = (tmp_path / "files" / "notes.jsonl").read_text().splitlines()
    writer.lines("notes.jsonl", ({**json.loads(line), "topic": f"t{n}"} for n, line in enumerate(lines)))
    writer.lines("prompts.jsonl", ({"prompt": f"What of {n}?"} for n in range(40)))
    writer.lines("held.jsonl", ({"prompt": f"And of {n}?"} for n in range(3)))
    (tmp_path / "mine.toml").write_text("".join(SECTIONS.values()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(project: Path) -> RunConfig:
    loaded = load(project / "mine.toml")
    return replace(
        loaded, corpus=replace(loaded.corpus, on_change="rebuild"), rl=replace(loaded.rl, seeds=2, extra_betas=())
    )


@pytest.fixture
def folder(project: Path, run: RunConfig) -> RunFolder:
    """A run folder with the corpus, and something in the place of everything that is made from it."""
    made = RunFolder(project / "run")
    made.root.mkdir()
    publish_corpus(run, made)
    for name, kind in MADE.items():
        publish_folder(made.root / name, lambda to: (to / "file").write_text("x"), kind=kind)
    (made.root / "data" / "log").mkdir()
    return made


def left(folder: RunFolder) -> set[str]:
    return {name for name in MADE if (folder.root / name / "manifest.json").exists()}


def edit_scorer(module: Path) -> None:
    module.write_text(SCORER.replace("1.0", "2.0"))


def edit_chat(files: Path) -> None:
    path = files / "chats.jsonl"
    path.write_text(path.read_text().replace("Be short.", "Be brief.", 1))


def add_preference(files: Path) -> None:
    with (files / "hh.jsonl").open("a") as file:
        for number in range(2):
            asked = f"\n\nHuman: New {number}?\n\nAssistant:"
            file.write(json.dumps({"chosen": f"{asked} Yes.", "rejected": f"{asked} No."}) + "\n")


def edit_document(files: Path) -> None:
    page = files / "docs" / "page0.md"
    page.write_text(page.read_text() + "\nOne more line.\n")


def add_prompt(files: Path) -> None:
    with (files / "prompts.jsonl").open("a") as file:
        file.write('{"prompt": "What is new?"}\n')


def add_evaluation_prompt(files: Path) -> None:
    with (files / "held.jsonl").open("a") as file:
        file.write('{"prompt": "Is this held out?"}\n')


def blank_line(files: Path) -> None:
    with (files / "chats.jsonl").open("a") as file:
        file.write("\n")


CHANGES: list[tuple[Callable[[Path], None], set[str], set[str]]] = [
    (edit_chat, {"conversations"}, SFT | DOWN - {"rankings/records", "rankings/evaluation"} | RL),
    (add_preference, {"rankings"}, DOWN | RL),
    (edit_document, {"documents"}, set(MADE) - {"rankings/records"}),
    (add_prompt, {"prompts/rl"}, {"data/prompts/fit"} | RL),
    (add_evaluation_prompt, {"prompts/evaluate"}, {"data/prompts/fit", "sft/evaluation"} | RL),
    (blank_line, set(), {"gates"}),
]


@pytest.mark.parametrize(("change", "differing", "removed"), CHANGES, ids=[c[0].__name__ for c in CHANGES])
def test_what_a_change_led_to_is_removed_and_the_rest_is_kept(
    change: Callable[[Path], None],
    differing: set[str],
    removed: set[str],
    run: RunConfig,
    folder: RunFolder,
    project: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = {
        part: read_manifest(folder.corpus / part).fingerprint for part in PARTS if (folder.corpus / part).exists()
    }
    change(project / "files")
    renew_inputs(run, folder)
    after = {part: read_manifest(folder.corpus / part).fingerprint for part in before}
    assert {part for part in before if before[part] != after[part]} == differing
    assert set(MADE) - left(folder) == removed
    out = " ".join(capsys.readouterr().err.split())
    assert f"parts of the corpus that differ: {', '.join(differing) or 'none'};" in out
    kept = [stage for stage in ("base", "sft", "reward") if f"{stage}/model" not in removed]
    assert all(stage in out.rpartition("kept, since nothing that differs led to it: ")[2] for stage in kept)
    assert not list(folder.root.glob(".cor*"))
    renew_inputs(run, folder)
    assert set(MADE) - left(folder) == removed, "the second call finds nothing changed"
    read_corpus(folder.corpus)


def test_a_refused_change_removes_nothing(run: RunConfig, folder: RunFolder, project: Path) -> None:
    edit_document(project / "files")
    before = (folder.corpus / "manifest.json").read_bytes()
    refusing = replace(run, corpus=replace(run.corpus, on_change="refuse"))
    with pytest.raises(ForeignArtifact, match=r"edited: \S*page0\.md\. Restore them.*on_change"):
        renew_inputs(refusing, folder)
    assert left(folder) == set(MADE)
    assert (folder.corpus / "manifest.json").read_bytes() == before


def test_files_that_cannot_be_used_leave_the_run_as_it_was(run: RunConfig, folder: RunFolder, project: Path) -> None:
    before = (folder.corpus / "manifest.json").read_bytes()
    (project / "files" / "chats.jsonl").write_text("no JSON\n")
    with pytest.raises(CorpusError):
        renew_inputs(run, folder)
    assert left(folder) == set(MADE)
    assert (folder.corpus / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("calls", [1, 3, 6, *range(9, 17)])
def test_a_call_that_is_killed_is_done_over(
    calls: int, run: RunConfig, folder: RunFolder, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit_chat(project / "files")
    counted = {"left": calls}

    def killed(work: Callable[..., object]) -> Callable[..., object]:
        def counting(path: Path, *given: object, **named: object) -> object:
            counted["left"] -= path.parent in (folder.root, folder.root / "data")
            if counted["left"] == 0:
                raise KeyboardInterrupt
            return work(path, *given, **named)

        return counting

    with monkeypatch.context() as patch:
        patch.setattr(renewal, "shutil", type("S", (), {"rmtree": staticmethod(killed(shutil.rmtree))}))
        patch.setattr(Path, "rename", killed(Path.rename))
        try:
            renew_inputs(run, folder)
        except KeyboardInterrupt:
            assert calls < 16
    renew_inputs(run, folder)
    assert set(MADE) - left(folder) == CHANGES[0][2]
    assert "Be brief." in "".join(path.read_text() for path in (folder.corpus / "conversations").glob("*.jsonl"))
    assert not list(folder.root.glob(".cor*"))


def test_a_new_chat_of_a_trained_topic_is_trained_on_or_its_documents_move(
    run: RunConfig, folder: RunFolder, project: Path
) -> None:
    """Chats and notes share groups here. Whatever side a new chat's topic takes, the notes of that topic take it too:
    either the documents are as before and no held-out chat's topic is in them, or they differ and everything is made
    again.
    """
    before = shutil.copytree(folder.corpus, project / "before")
    chats = [json.loads(line) for line in (project / "files" / "chats.jsonl").read_text().splitlines()]
    said = [[{"role": "user", "content": f"Of {n}?"}, {"role": "assistant", "content": "So."}] for n in range(40)]
    topical = [{"messages": messages, "group": f"t{n}"} for n, messages in enumerate(said)]
    notes = read_corpus(folder.corpus).sources["notes"]
    held = {document.group for document in [*notes.validation, *notes.test]}
    apart = [row for row in topical if row["group"] not in held]  # some of these must be held out then
    found = []
    for rows in ([*chats, *topical[:3]], apart[:30]):
        Writer(project / "files").lines("chats.jsonl", rows)
        renew_inputs(run, folder)
        corpus = read_corpus(folder.corpus)
        trained = {document.group for split in corpus.sources.values() for document in split.train}
        for side in ("validation", "test"):
            assert not trained & {group_of(chat) for chat in corpus.conversations[side]}
        found.append("documents" in differing_parts(before, folder.corpus))
    assert found == [False, True], "the second change moves a topic"
    assert "base/model" not in left(folder)


def test_a_stage_is_stale_where_any_part_that_it_reads_differs(run: RunConfig) -> None:
    models = {"base/model", "sft/model", "reward/model", "rl/model"}
    sampled = replace(run, rankings=replace(run.rankings, data=(), prompts=("more.jsonl",), scorer="length"))
    assert "rankings/records" in stale_parts(sampled, ["prompts/rankings"])
    assert not stale_parts(sampled, ["prompts/rankings"]) & {"base/model", "sft/model"}
    alone = replace(run, stages=("prepare", "rankings", "reward", "rl"), sources={}, sft=replace(run.sft, data=()))
    assert "rl/model" in stale_parts(replace(alone, rl=replace(alone.rl, prompts=())), ["rankings"])
    assert models <= stale_parts(run, ["documents"])
    assert not models & stale_parts(run, [])


@pytest.mark.parametrize(
    ("setting", "removed"),
    [
        ("rankings.scorer", DOWN | RL),
        ("rl.scorer", RL),
        ("evaluate.scorer", RL),
    ],
)
def test_an_edited_scorer_is_named_and_what_was_made_with_it_is_made_again(
    setting: str, removed: set[str], run: RunConfig, folder: RunFolder, project: Path
) -> None:
    (project / "rules_of_this.py").write_text(SCORER)
    sampled = replace(run, rankings=replace(run.rankings, data=(), scorer="length"), evaluate=replace(run.evaluate))
    sampled = override(sampled, {setting: "rules_of_this:score", "corpus.on_change": "refuse"})
    shutil.rmtree(folder.corpus)
    publish_corpus(sampled, folder)
    renew_inputs(sampled, folder)
    renew_inputs(sampled, folder)
    assert left(folder) == set(MADE), "nothing was edited"
    edit_scorer(project / "rules_of_this.py")
    with pytest.raises(ForeignArtifact, match=rf"module edited: {setting} = rules_of_this:score.*on_change"):
        renew_inputs(sampled, folder)
    assert left(folder) == set(MADE)
    renew_inputs(override(sampled, {"corpus.on_change": "rebuild"}), folder)
    gone = set(MADE) - left(folder)
    assert gone - {"reward/judge/model"} == removed - {"reward/judge/model"}
    renew_inputs(sampled, folder)


def test_an_edited_filter_curates_again(run: RunConfig, folder: RunFolder, project: Path) -> None:
    (project / "keeps_of_this.py").write_text("def keep(document):\n    return True\n")
    curated = override(run, {"curate.filters": ("keeps_of_this:keep",), "evaluate.prompts": ()})
    shutil.rmtree(folder.corpus)
    publish_corpus(curated, folder)
    renew_inputs(curated, folder)
    before = read_manifest(folder.root / "curation").fingerprint
    assert read_manifest(folder.corpus / "documents").parents == (before,)
    edit_chat(project / "files")
    renew_inputs(curated, folder)
    assert read_manifest(folder.root / "curation").fingerprint == before, "the documents are the same"
    assert "base/model" in left(folder)
    (project / "keeps_of_this.py").write_text("def keep(document):\n    return len(document.text) % 5 != 0\n")
    renew_inputs(curated, folder)
    after = read_manifest(folder.root / "curation").fingerprint
    assert read_manifest(folder.corpus / "documents").parents == (after,) != (before,)
    counted = read_corpus(folder.corpus).found["curation"].values()
    assert any(source["removed"] for source in counted), "the edited function is what ran"
    assert "base/model" not in left(folder)
