"""The corpus of a user's files: one split for all inputs, exact counts, bounded memory, changes are named."""

import json
import os
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stategpt.config import CorpusConfig, EvaluateConfig, RankingsConfig, RunConfig, SFTConfig
from stategpt.config.sources import SourceConfig
from stategpt.data.corpus import SIDES, read_corpus
from stategpt.data.groups import group_of, question_group
from stategpt.data.inputs import Inputs, changed
from stategpt.data.records import Conversation, Document
from stategpt.data.rejections import Tally
from stategpt.data.sources.files import read_source
from stategpt.data.user_corpus import build_user_corpus, input_files, run_inputs
from stategpt.errors import ConfigError, CorpusError


def documents(path: Path, count: int, tag: str = "page") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": f"{tag} {number}", "id": number}) + "\n" for number in range(count)))
    return path


def run_of(**changes: Any) -> RunConfig:
    sources = {"pages": SourceConfig(("pages.jsonl",), 1.0)}
    return RunConfig(**{"sources": sources} | changes)


def test_documents_are_split_counted_and_read_back_in_order(tmp_path: Path) -> None:
    documents(tmp_path / "pages.jsonl", 500)
    manifest = build_user_corpus(run_of(), tmp_path, tmp_path / "corpus", fingerprint="b3:x", found={"curation": {}})
    corpus = read_corpus(tmp_path / "corpus")
    sides = {side: list(corpus.sources["pages"].texts(side)) for side in SIDES}
    assert sorted(text for texts in sides.values() for text in texts) == sorted(f"page {n}" for n in range(500))
    assert {side: len(texts) for side, texts in sides.items()} == {"train": 420, "validation": 20, "test": 60}
    for texts in sides.values():
        assert texts == sorted(texts, key=lambda text: int(text.split()[1]))
    assert corpus.found["inputs"]["sources.pages"]["kept"] == 500
    assert corpus.counts()["sources"]["pages"]["test"]["bytes"] == sum(map(len, sides["test"]))
    assert corpus.sources["pages"].test[3].where is not None
    assert manifest.fingerprints["config"] == "b3:x"
    assert list(corpus.inputs["files"]) == ["pages.jsonl"]
    assert not list(tmp_path.glob(".documents"))


def test_the_same_files_give_the_same_bytes_wherever_they_are(tmp_path: Path) -> None:
    fingerprints = set()
    for place in ("one", "two/deeper"):
        documents(tmp_path / place / "pages.jsonl", 60)
        fingerprints.add(build_user_corpus(run_of(), tmp_path / place, tmp_path / place / "corpus").fingerprint)
    assert len(fingerprints) == 1


def test_a_file_whose_name_is_not_utf_8_is_read_and_watched(tmp_path: Path) -> None:
    documents(tmp_path / "pages.jsonl", 60)
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jsonl"))
    (tmp_path / "pages.jsonl").rename(odd)
    run = run_of(sources={"pages": SourceConfig(("*.jsonl",), 1.0)})
    build_user_corpus(run, tmp_path, tmp_path / "corpus")
    corpus = read_corpus(tmp_path / "corpus")
    assert {document.where.file for document in corpus.sources["pages"].test if document.where} == {"caf\\udce9.jsonl"}
    odd.write_text(odd.read_text() + "\n")
    edited = changed(Inputs.from_json(corpus.inputs), run_inputs(run, tmp_path)).edited
    assert edited == ("caf\\udce9.jsonl",)


@pytest.mark.parametrize("count", [1, 5, 20])
def test_too_few_documents_say_how_many_are_missing(tmp_path: Path, count: int) -> None:
    documents(tmp_path / "pages.jsonl", count)
    with pytest.raises(CorpusError, match=rf"sources\.pages has {count} group.* {25 - count} more than there are"):
        build_user_corpus(run_of(), tmp_path, tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()
    assert not (tmp_path / ".documents").exists()


def test_too_many_rejections_stop_with_the_first_ten(tmp_path: Path) -> None:
    path = documents(tmp_path / "pages.jsonl", 100)
    path.write_text(path.read_text() + '{"text": ""}\n' * 12)
    with pytest.raises(
        CorpusError, match=r"sources\.pages: 12 of 112 records were rejected \(12 empty_text\)"
    ) as caught:
        build_user_corpus(run_of(), tmp_path, tmp_path / "corpus")
    assert str(caught.value).count("empty_text: there is no text") == 10
    assert "pages.jsonl:101 (byte" in str(caught.value)
    run = run_of(corpus=CorpusConfig(max_rejected_share=0.2))
    build_user_corpus(run, tmp_path, tmp_path / "corpus")
    counted = read_corpus(tmp_path / "corpus").found["inputs"]["sources.pages"]
    assert counted["total"] == counted["kept"] + counted["duplicate"] + sum(counted["rejected"].values()) == 112


def test_no_document_and_an_odd_name_of_a_source_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pages.jsonl").write_text("\n")
    with pytest.raises(CorpusError, match=r"sources\.pages: no document is left of 0; give files with text"):
        build_user_corpus(run_of(), tmp_path, tmp_path / "corpus")
    odd = RunConfig(sources={"a/b": SourceConfig(("pages.jsonl",), 1.0)})
    with pytest.raises((CorpusError, ConfigError), match="a/b"):
        build_user_corpus(odd, tmp_path, tmp_path / "corpus")


def test_what_curation_removes_is_not_in_the_corpus(tmp_path: Path) -> None:
    documents(tmp_path / "pages.jsonl", 200)

    def read(name: str, tally: Tally, keeps: Callable[[int], bool]) -> Iterator[Document]:
        assert name == "pages"
        for document in read_source(name, run_of().sources[name], tmp_path, tally):
            if keeps(int(document.text.split()[1])):
                yield document
            else:
                tally.drop("odd", 1)

    even = partial(read, keeps=lambda number: number % 2 == 0)
    build_user_corpus(run_of(), tmp_path, tmp_path / "corpus", read=even)
    corpus = read_corpus(tmp_path / "corpus")
    assert sum(len(corpus.sources["pages"].of(side)) for side in SIDES) == 100
    counted = corpus.found["inputs"]["sources.pages"]
    assert (counted["total"], counted["kept"], counted["removed"]) == (200, 100, {"odd": 100})
    with pytest.raises(CorpusError, match=r"no document is left of 200, 200 were removed by \[curate\]"):
        build_user_corpus(run_of(), tmp_path, tmp_path / "other", read=partial(read, keeps=lambda number: False))


def test_changes_of_input_files_are_named(tmp_path: Path) -> None:
    run = RunConfig(sources={"pages": SourceConfig(("raw/*.jsonl",), 1.0)})
    for name in ("a", "b", "c"):
        documents(tmp_path / "raw" / f"{name}.jsonl", 40, name)
    build_user_corpus(run, tmp_path, tmp_path / "corpus")
    before = Inputs.from_json(read_corpus(tmp_path / "corpus").inputs)
    assert not changed(before, run_inputs(run, tmp_path))
    documents(tmp_path / "raw" / "b.jsonl", 40, "x")
    documents(tmp_path / "raw" / "d.jsonl", 40)
    (tmp_path / "raw" / "a.jsonl").unlink()
    found = changed(before, run_inputs(run, tmp_path))
    assert (found.added, found.removed, found.edited) == (("d.jsonl",), ("a.jsonl",), ("b.jsonl",))


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = documents(tmp_path / "pages.jsonl", 60)

    def edit(name: str, tally: Tally) -> Iterator[Document]:
        yield from read_source(name, run_of().sources[name], tmp_path, tally)
        documents(path, 61)

    with pytest.raises(CorpusError, match=r"changed while they were read: pages\.jsonl"):
        build_user_corpus(run_of(), tmp_path, tmp_path / "corpus", read=edit)
    assert not (tmp_path / "corpus").exists()


def test_the_same_file_in_two_sources_is_refused(tmp_path: Path) -> None:
    documents(tmp_path / "pages.jsonl", 60)
    sources = {name: SourceConfig(("*.jsonl",), 0.5) for name in ("a", "b")}
    with pytest.raises(CorpusError, match=r"is in sources\.a\.paths and in sources\.b\.paths"):
        input_files(RunConfig(sources=sources), tmp_path)


@given(
    st.lists(st.integers(0, 120), min_size=40, max_size=80, unique=True),
    st.lists(st.integers(0, 120), min_size=40, max_size=80, unique=True),
    st.lists(st.integers(0, 120), max_size=6, unique=True),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_question_is_on_two_sides_in_any_inputs(
    tmp_path_factory: pytest.TempPathFactory, asked: list[int], ranked: list[int], evaluated: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("shared")
    write = lambda name, rows: (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))  # noqa: E731
    write("chats.jsonl", [{"messages": _chat(f"Question  {n}?", "Yes.")} for n in asked])
    write("pairs.jsonl", [{"prompt": f"Question {n}?", "chosen": "Yes.", "rejected": "No."} for n in ranked])
    changes: dict[str, Any] = {}
    if evaluated:
        write("held.jsonl", [{"prompt": f"Question {n}?\n"} for n in evaluated])
        changes["evaluate"] = EvaluateConfig(prompts=("held.jsonl",))
    run = RunConfig(
        sft=SFTConfig(data=("chats.jsonl",)),
        rankings=RankingsConfig(data=("pairs.jsonl",)),
        stages=("prepare", "sft", "rankings"),
        **changes,
    )
    try:
        build_user_corpus(run, folder, folder / "corpus")
    except CorpusError as error:
        if "no group is left" in str(error):
            return
        raise
    corpus = read_corpus(folder / "corpus")
    seen: dict[str, set[str]] = {}
    for side in SIDES:
        for record in [*corpus.conversations[side], *corpus.rankings[side]]:
            seen.setdefault(group_of(record), set()).add(side)
        for prompt in corpus.prompts.get("evaluate", {}).get(side, []):
            assert side == "test"
            seen.setdefault(group_of(prompt), set()).add(side)
    assert all(len(sides) == 1 for sides in seen.values())
    assert all(corpus.conversations[side] and corpus.rankings[side] for side in SIDES)


def _chat(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def test_a_question_has_one_group_whatever_its_white_space() -> None:
    one, other = Conversation.of("What  is\nit? ", "x"), Conversation.of("What is it?", "y")
    assert group_of(one) == group_of(other) == question_group("What is it?")
    assert group_of(Conversation.of("What is it?", "y", group="mine")) == "mine"


def test_memory_does_not_grow_with_the_documents(tmp_path: Path) -> None:
    text = "a sentence of some words, " * 400
    peaks = []
    for count in (300, 1500):
        path = tmp_path / "pages.jsonl"
        with path.open("w") as file:
            for number in range(count):
                file.write(json.dumps({"text": f"{number} {text}"}) + "\n")
        tracemalloc.start()
        build_user_corpus(run_of(), tmp_path, tmp_path / "corpus")
        corpus = read_corpus(tmp_path / "corpus")
        assert sum(1 for side in SIDES for _ in corpus.sources["pages"].texts(side)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + (4 << 20), "15 MB of text more"
