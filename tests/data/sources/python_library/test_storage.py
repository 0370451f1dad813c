"""A corpus read back is the corpus written; damage is noticed."""

from pathlib import Path

import pytest

from stategpt.artifacts import publish_file, publish_folder
from stategpt.data.sources.python_library import Pair, PythonLibrary, Split, read_library, write_library
from stategpt.errors import CorruptArtifact, ForeignArtifact


def small_library() -> PythonLibrary:
    split = Split(["a\fb\n", "c\u2028d é\n"], ["e"], ["m", "n"], ["o"], ["t\n"], ["p"])
    prompt = "Complete the docstring of `m.f`: Return the"
    pair = Pair("complete", "m.f", prompt, " value.", "m", "Return the value.", "()")
    sources = {"code": split, "docstrings": Split(), "comments": Split(["# x\n"], [], ["m"], [])}
    return PythonLibrary(sources, [pair], [pair, pair], [pair, pair, pair], {"n": 1})


def test_it_reads_what_it_wrote(tmp_path: Path) -> None:
    manifest = write_library(small_library(), tmp_path / "corpus", fingerprint="b3:abc")
    assert read_library(tmp_path / "corpus") == small_library()
    assert manifest.kind == "corpus"
    assert manifest.fingerprints["config"] == "b3:abc"
    assert "pairs/train.jsonl" in manifest.files


def test_the_same_corpus_has_the_same_fingerprint(tmp_path: Path) -> None:
    first, second = (write_library(small_library(), tmp_path / name) for name in ("a", "b"))
    assert first.fingerprint == second.fingerprint


def test_a_damaged_corpus_is_refused(tmp_path: Path) -> None:
    write_library(small_library(), tmp_path / "corpus")
    file = tmp_path / "corpus" / "code" / "train.jsonl"
    file.write_text(file.read_text().replace("b", "x", 1))
    with pytest.raises(CorruptArtifact, match=r"train\.jsonl"):
        read_library(tmp_path / "corpus")


def test_another_kind_of_folder_is_refused(tmp_path: Path) -> None:
    publish_folder(tmp_path / "other", lambda target: publish_file(target / "a", b"b"), kind="tokenizer")
    with pytest.raises(ForeignArtifact, match="tokenizer"):
        read_library(tmp_path / "other")
