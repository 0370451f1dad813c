"""`[curate]` in a run: read once, counted exactly, made again if its own inputs changed, gone on with after a kill."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.cli import main
from stategpt.cli.data_inspect import inspected
from stategpt.config.paths import rooted
from stategpt.config.toml import load
from stategpt.data.corpus import read_corpus
from stategpt.data.curation import read_curated
from stategpt.data.records import Document
from stategpt.data.sources.files import read_source
from stategpt.data.splitting import SIDES
from user_files import Writer

NOTES = '[sources.n]\npaths = ["files/notes.jsonl"]\ntext = "body"\nshare = 1.0\n'
CURATE = "[curate]\nmin_characters = 20\nexact_duplicates = true\n"
CHATS = '[sft]\ndata = ["files/chats.jsonl"]\n'
FILTER = "def keep(document):\n    return document.where.line not in (3,{})\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    writer = Writer(tmp_path / "files")
    writer.notes(60)
    writer.chats(60)
    path = tmp_path / "files" / "notes.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, *lines[:5], '{"id": 70, "body": "Short."}', '{"id": 71}']) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def build(project: Path, toml: str, *more: str, out: str = "run") -> int:
    (project / "mine.toml").write_text(f"[corpus]\nmax_rejected_share = 0.1\n{toml}")
    return main(["data", "build", "mine.toml", "--out", out, *more])


def statistics(project: Path, out: str = "run") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project / out / "corpus" / "statistics.json").read_text())
    return found


def stamp(project: Path, name: str = "curation") -> int:
    return (project / "run" / name / "manifest.json").stat().st_mtime_ns


def error(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_counts_of_a_source_add_up_with_and_without_curation(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(project, NOTES, out="plain") == 0
    plain = statistics(project, "plain")["inputs"]["sources.n"]
    assert (plain["total"], plain["kept"], plain["duplicate"], plain["rejected"]) == (67, 66, 0, {"missing_field": 1})
    assert build(project, NOTES + CURATE) == 0
    counted = statistics(project)["inputs"]["sources.n"]
    assert (counted["kept"], counted["duplicate"], counted["removed"]) == (60, 5, {"length_characters_min": 1})
    for key in ("total", "rejected", "first", "replaced"):
        assert counted[key] == plain[key], key
    assert counted["first"] == ["notes.jsonl:67 (byte " + counted["first"][0].partition("(byte ")[2]]
    assert sum(statistics(project)["sources"]["n"][side]["documents"] for side in SIDES) == counted["kept"]
    printed = capsys.readouterr()
    assert re.search(r"sources\.n +67 +60 +5 +1 +1\n", printed.out)
    assert re.search(r"curation: filter: 1/1 MB, [0-9.]+/s  66 documents\n", printed.err)
    assert re.search(r"curation: exact duplicates: 65/65 documents, [0-9.]+/s\n", printed.err)


def test_documents_are_read_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    def counted(name: str, *arguments: Any, **options: Any) -> Iterator[Document]:
        begun.append(name)
        return read_source(name, *arguments, **options)

    for module in ("stategpt.stages.curation", "stategpt.data.user_corpus"):
        monkeypatch.setattr(f"{module}.read_source", counted)
    assert build(project, NOTES + CURATE) == 0
    assert begun == ["n"]


def test_places_are_the_same_everywhere(project: Path) -> None:
    def places(out: str) -> set[str]:
        rows = [
            json.loads(line)
            for side in SIDES
            for line in (project / out / "corpus" / "documents" / "n" / f"{side}.jsonl").read_text().splitlines()
        ]
        return {row["where"]["file"] for row in rows}

    path = project / "files" / "chats.jsonl"
    path.write_text(path.read_text() + '{"messages": 3}\n')
    assert build(project, NOTES + CHATS, out="plain") == 0
    assert build(project, NOTES + CHATS + CURATE) == 0
    curated = read_curated(project / "run" / "curation")
    removed = {each.where.file for each in curated.removed() if each.where}
    assert places("plain") == places("run") == removed == {"notes.jsonl"}
    assert {example.where.partition(":")[0] for example in curated.summary.examples} == removed
    [chats] = inspected(rooted(load(project / "mine.toml")))
    assert list(map(str, chats.tally.first)) == statistics(project)["inputs"]["sft.data"]["first"] != []


def test_too_many_rejections_stop_before_the_next_source(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "own_never.py").write_text("def fail(document):\n    assert document.source == 'n'\n    return True\n")
    second = '[sources.o]\npaths = ["files/chats.jsonl"]\ntext = "no"\nshare = 0.5\n'
    both = NOTES.replace("1.0", "0.5") + second + '[curate]\nfilters = ["own_never:fail"]\n'
    assert build(project, both, "--corpus.max_rejected_share", "0.01") == 2
    assert "sources.n: 1 of 67 records were rejected (1 missing_field)" in error(capsys)
    assert not (project / "run" / "curation").exists()


@pytest.mark.parametrize("before", ["published", "interrupted"])
def test_an_edited_filter_is_named_and_curation_refused_or_made_again(
    project: Path, before: str, capsys: pytest.CaptureFixture[str]
) -> None:
    toml = f'{NOTES}[curate]\nfilters = ["own_edited_{before}:keep"]\n'
    module = project / f"own_edited_{before}.py"
    module.write_text(FILTER.format(""))
    assert build(project, toml) == 0
    first = statistics(project)["curation"]["n"]
    if before == "interrupted":
        shutil.rmtree(project / "run" / "corpus")
    module.write_text(FILTER.format(" 4"))
    assert build(project, toml) == 2
    said = error(capsys)
    assert f"own_edited_{before}:keep" in said
    assert "on_change" in said
    if before == "published":
        assert main(["data", "verify", "mine.toml", "--out", "run"]) == 2
        assert "edited functions: own_edited_published:keep" in error(capsys)
    assert build(project, toml, "--corpus.on_change", "rebuild") == 0
    second = statistics(project)["curation"]["n"]
    assert second["kept"] < first["kept"]
    assert second["kept"] + sum(second["removed"].values()) == 66
    assert build(project, toml) == 0, "and that is settled"


def test_curation_is_made_again_only_where_its_own_inputs_changed(project: Path) -> None:
    Writer(project / "files").preferences(60)
    toml = NOTES + CHATS + '[rankings]\ndata = ["files/hh.jsonl"]\n' + CURATE + "decontaminate = true\n"
    rebuild = ("--corpus.on_change", "rebuild")
    assert build(project, toml, *rebuild) == 0
    made, corpus = stamp(project), stamp(project, "corpus")
    rankings = project / "files" / "hh.jsonl"
    rankings.write_text(rankings.read_text().rpartition("\n{")[0] + "\n")
    assert build(project, toml, *rebuild) == 0
    assert stamp(project) == made, "a ranking is neither a document nor an evaluation prompt"
    assert stamp(project, "corpus") > corpus
    for name in ("chats.jsonl", "notes.jsonl"):
        path = project / "files" / name
        rows = path.read_text().splitlines()
        path.write_text("\n".join(row.replace("river", "rivulet").replace("number", "numeral") for row in rows) + "\n")
        assert build(project, toml, *rebuild) == 0
        assert stamp(project) > made, name
        made = stamp(project)


def test_a_file_that_changes_while_it_is_curated_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("stategpt.data.curation.parts.PART_CHARACTERS", 3000)
    lines = [
        "def keep(document):",
        "    if document.where.line == 60:",
        "        with open('files/notes.jsonl', 'a') as file: file.write('\\n')",
        "    return True",
    ]
    (project / "own_editor.py").write_text("\n".join(lines) + "\n")
    assert build(project, f'{NOTES}[curate]\nfilters = ["own_editor:keep"]\n') == 2
    assert "changed while they were curated: notes.jsonl" in error(capsys)
    assert not list((project / "run").glob("*curation*")), "neither the curation nor its work"


def test_documents_are_searched_for_held_out_conversations_only(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [json.loads(line)["messages"] for line in (project / "files" / "chats.jsonl").read_text().splitlines()]
    chats = [
        {"messages": [{"role": "user", "content": f"Please tell me the secret of house {n}?"}, messages[-1]]}
        for n, messages in enumerate(asked)
    ]
    Writer(project / "files").lines("chats.jsonl", [*chats, {"messages": [{**chats[0]["messages"][0]}]}])
    path = project / "files" / "notes.jsonl"
    leaks = [
        json.dumps({"id": 100 + n, "body": " ".join(message["content"] for message in chat["messages"])})
        for n, chat in enumerate(chats)
    ]
    path.write_text(path.read_text() + "\n".join(leaks) + "\n")
    assert build(project, NOTES + CHATS + CURATE + "decontaminate = true\n") == 0
    out = capsys.readouterr().out
    held_out = {
        json.loads(line)["messages"][0]["content"]
        for side in ("validation", "test")
        for line in (project / "run" / "corpus" / "conversations" / f"{side}.jsonl").read_text().splitlines()
    }
    curated = read_curated(project / "run" / "curation")
    leaked = {each.excerpt.partition("?")[0] + "?" for each in curated.removed() if each.rule == "contaminated"}
    assert leaked == held_out
    assert 0 < len(held_out) < 15
    assert curated.summary.compared.prompts == len(held_out)
    assert f"searched for {len(held_out)} evaluation prompts" in out
    assert statistics(project)["compared"]["prompts"] == len(held_out)


def test_documents_with_held_out_labeled_texts_and_their_labels_are_removed(project: Path) -> None:
    words = [f"{chr(97 + n // 26)}{chr(97 + n % 26)}word" for n in range(600)]
    texts = [" ".join(words[20 * n : 20 * n + 20]) for n in range(30)]
    rows = [{"text": text, "label": ("bad", "good")[n % 2]} for n, text in enumerate(texts)]
    Writer(project / "files").lines("labeled.jsonl", rows)
    path = project / "files" / "notes.jsonl"
    leaks = [
        json.dumps({"id": 100 + n, "body": f"{row['text']}: {row['label']}, they said."}) for n, row in enumerate(rows)
    ]
    path.write_text(path.read_text() + "\n".join(leaks) + "\n")
    toml = (
        NOTES + '[classify]\ndata = ["files/labeled.jsonl"]\nlabel_counts = [2]\n' + CURATE + "decontaminate = true\n"
    )
    assert build(project, toml) == 0
    labels = read_corpus(project / "run" / "corpus").labels
    held_out = {each.text for side in ("validation", "test") for each in labels[side]}
    assert 0 < len(held_out) < len(rows)
    curated = read_curated(project / "run" / "curation")
    leaked = {each.excerpt.partition(":")[0] for each in curated.removed() if each.rule == "contaminated"}
    assert leaked == held_out
    assert curated.summary.compared.prompts == len(held_out)


def test_prompts_that_cannot_be_found_are_shown(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"prompt": f"Name river {n}", "reference": "It"} for n in range(12)]
    Writer(project / "files").lines("asked.jsonl", [*rows, {"prompt": "Where does the old river end now?"}])
    toml = NOTES + CHATS + CURATE + 'decontaminate = true\n[evaluate]\nprompts = ["files/asked.jsonl"]\n'
    assert build(project, toml) == 0
    out = capsys.readouterr().out
    assert "documents were searched for 13 evaluation prompts" in out
    assert "12 of those cannot be found in documents" in out
    assert "asked.jsonl:1 (byte 0): Name river 0" in out
    assert statistics(project)["compared"] == {"skipped_pairs": 0, "prompts": 13, "unsearchable": 12}


def test_a_killed_build_is_gone_on_with(project: Path) -> None:
    lines = [
        "import os, signal",
        "def keep(document):",
        "    with open('seen', 'a') as file: file.write(f'{document.where.line}\\n')",
        "    if document.where.line == 50 and not os.path.exists('go'): os.kill(os.getpid(), signal.SIGKILL)",
        "    return True",
    ]
    (project / "own_killer.py").write_text("\n".join(lines) + "\n")
    toml = f'{NOTES}[curate]\nfilters = ["own_killer:keep"]\n'
    (project / "mine.toml").write_text(f"[corpus]\nmax_rejected_share = 0.1\n{toml}")
    program = (
        "import sys, stategpt.data.curation.parts as parts; parts.PART_CHARACTERS = 4000\n"
        "from stategpt.cli import main; sys.exit(main(['data', 'build', 'mine.toml', '--out', sys.argv[1]]))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def built(out: str) -> list[int]:
        (project / "seen").unlink(missing_ok=True)
        done = subprocess.run([sys.executable, "-c", program, out], env=environment, check=False, timeout=200)
        assert done.returncode == (0 if (project / "go").exists() else -signal.SIGKILL)
        return [int(line) for line in (project / "seen").read_text().splitlines()]

    assert built("run") == list(range(1, 51))
    assert not (project / "run" / "curation").exists()
    (project / "go").touch()
    again = built("run")
    assert 1 < again[0] <= 50, "finished parts are not filtered again"
    assert again == list(range(again[0], 67))
    assert built("whole") == list(range(1, 67))
    for name in ("curation", "corpus"):
        manifests = [json.loads((project / out / name / "manifest.json").read_text()) for out in ("run", "whole")]
        assert manifests[0]["files"] == manifests[1]["files"]
    assert not list((project / "run").glob(".curation*"))
