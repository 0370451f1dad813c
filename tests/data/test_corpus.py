"""A corpus read back is the corpus written; damage, other kinds and other versions are noticed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stategpt.artifacts import publish_file, publish_folder
from stategpt.data import corpus_rows
from stategpt.data.corpus import SIDES, Corpus, SplitDocuments, read_corpus, write_corpus
from stategpt.data.records import Conversation, Document, Message, Place
from stategpt.errors import CorpusError, CorruptArtifact, ForeignArtifact


def small_corpus() -> Corpus:
    where = Place("a.txt", 3, 17)
    pages = SplitDocuments(
        [Document("a\fb\n", "pages", "m"), Document("c\u2028d é\n", "pages", "n", where, {"lang": "fr"})],
        [Document("e", "pages", "o")],
        [Document("t\n", "pages", "p")],
    )
    asked = Conversation.of("Say: Return the", " value.", group="m", meta={"opening": "Return the", "subject": "m.f"})
    turns = (Message("system", "Be brief."), Message("user", "a?"), Message("assistant", "A.", trained=False))
    long = Conversation((*turns, Message("tool", "4"), Message("user", "b?", trained=True)), "n", where)
    conversations = {"train": [asked], "validation": [asked, long], "test": [long, asked, asked]}
    return Corpus({"pages": pages, "notes": SplitDocuments()}, conversations, {"n": 1})  # type: ignore[arg-type]


def test_it_reads_what_it_wrote(tmp_path: Path) -> None:
    manifest = write_corpus(small_corpus(), tmp_path / "corpus", fingerprint="b3:abc")
    assert read_corpus(tmp_path / "corpus") == small_corpus()
    assert manifest.kind == "corpus"
    assert manifest.fingerprints["config"] == "b3:abc"
    files = {f"documents/{source}/{side}.jsonl" for source in ("pages", "notes") for side in SIDES}
    assert set(manifest.files) == files | {
        *(f"conversations/{side}.jsonl" for side in SIDES),
        *("documents/manifest.json", "conversations/manifest.json", "statistics.json"),
    }


def test_statistics_count_documents_bytes_and_conversations(tmp_path: Path) -> None:
    write_corpus(small_corpus(), tmp_path / "corpus")
    counted = json.loads((tmp_path / "corpus" / "statistics.json").read_text())
    assert counted == {"n": 1, **small_corpus().counts()}
    assert counted["conversations"] == {"train": 1, "validation": 2, "test": 3}
    assert counted["sources"]["pages"]["train"] == {"documents": 2, "bytes": 4 + 9}


def test_the_same_corpus_has_the_same_fingerprint(tmp_path: Path) -> None:
    first, second = (write_corpus(small_corpus(), tmp_path / name) for name in ("a", "b"))
    assert first.fingerprint == second.fingerprint


def test_a_damaged_corpus_is_refused(tmp_path: Path) -> None:
    write_corpus(small_corpus(), tmp_path / "corpus")
    file = tmp_path / "corpus" / "documents" / "pages" / "train.jsonl"
    file.write_text(file.read_text().replace("b", "x", 1))
    with pytest.raises(CorruptArtifact, match=r"train\.jsonl"):
        read_corpus(tmp_path / "corpus")


def test_another_kind_of_folder_is_refused(tmp_path: Path) -> None:
    publish_folder(tmp_path / "other", lambda target: publish_file(target / "a", b"b"), kind="tokenizer")
    with pytest.raises(ForeignArtifact, match="tokenizer"):
        read_corpus(tmp_path / "other")


@pytest.mark.parametrize(("extra", "version"), [({}, "1"), ({"format_version": 2}, "2"), ({"format_version": 5}, "5")])
def test_another_format_version_says_what_to_do(tmp_path: Path, extra: dict[str, int], version: str) -> None:
    publish_folder(tmp_path / "old", lambda target: publish_file(target / "a", b"b"), kind="corpus", extra=extra)
    with pytest.raises(ForeignArtifact, match=f"format version {version}; .* reads 4. Use a new run folder"):
        read_corpus(tmp_path / "old")


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("documents/pages/train.jsonl", b"{", r"train\.jsonl:1 \(byte 0\): not valid JSON"),
        ("documents/pages/test.jsonl", b'{"group": "a"}', r"test\.jsonl:1 \(byte 0\): \$ lacks the field text"),
        ("documents/pages/test.jsonl", b'{"text": "a", "x": 1}', r"unknown field"),
        ("conversations/train.jsonl", b'{"messages": []}', r"\$\.messages has 0 items"),
        (
            "conversations/test.jsonl",
            b'{"messages": [{"role": "bot", "content": ""}]}',
            r"one of system, user",
        ),
    ],
)
def test_a_line_that_is_no_record_is_named(tmp_path: Path, file: str, line: bytes, message: str) -> None:
    def write(target: Path) -> None:
        for name in [*(f"documents/pages/{side}" for side in SIDES), *(f"conversations/{side}" for side in SIDES)]:
            path = target / f"{name}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(line + b"\n" if f"{name}.jsonl" == file else b"")
        sizes = {side: {"documents": 1, "bytes": 1} for side in SIDES}
        (target / "statistics.json").write_text(json.dumps({"sources": {"pages": sizes}}))

    publish_folder(tmp_path / "c", write, kind="corpus", extra={"format_version": 4, "sources": ["pages"]})
    with pytest.raises(CorruptArtifact, match=message):
        [list(split.of(side)) for split in read_corpus(tmp_path / "c").sources.values() for side in SIDES]


def test_a_record_too_long_for_a_line_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_rows, "MAX_LINE_BYTES", 40)
    with pytest.raises(CorpusError, match=r"record 2 of pages \(train\) takes \d+ bytes, more than the 40"):
        write_corpus(small_corpus(), tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()


def test_what_is_no_corpus_is_refused() -> None:
    corpus: Any = small_corpus()
    with pytest.raises(CorpusError, match=r"a source of the corpus is called '\.\./x'; use letters"):
        replace(corpus, sources={"../x": SplitDocuments()})
    with pytest.raises(CorpusError, match="no list of conversations for validation, test"):
        replace(corpus, conversations={"train": []})
