"""Which file a path names; in a published folder, whether it is the one that was published."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import stategpt as sg
from stategpt.artifacts import publish_folder
from stategpt.errors import CorruptArtifact, ForeignArtifact, MissingFile
from stategpt.tokenizer import HfTokenizer
from stategpt.tokenizer.tokenizer_file import tokenizer_file

TOK = sg.Tokenizer.train(["to be or not to be"], 260, special_tokens=["<|end|>"])
MODEL_BYTES = 1 << 20


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A published folder with a tokenizer and other files."""

    def write(folder: Path) -> None:
        TOK.save(folder / "tokenizer.json")
        (folder / "model.safetensors").write_bytes(b"\0" * MODEL_BYTES)

    publish_folder(tmp_path / "model", write, kind="model")
    return tmp_path / "model"


def test_a_folder_means_the_tokenizer_in_it(published: Path) -> None:
    for path in (published, published / "tokenizer.json", str(published)):
        assert sg.Tokenizer.load(path).fingerprint == TOK.fingerprint
    assert tokenizer_file(published) == str(published / "tokenizer.json")


def test_a_folder_without_one_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"is a folder without tokenizer\.json"):
        sg.Tokenizer.load(tmp_path)


def test_every_flipped_bit_of_a_published_file_is_found(published: Path) -> None:
    path = published / "tokenizer.json"
    whole = path.read_bytes()
    for bit in range(0, len(whole) * 8, 37):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(changed)
        with pytest.raises(CorruptArtifact, match=r"tokenizer\.json"):
            sg.Tokenizer.load(published)


def test_the_other_engine_verifies_too(published: Path) -> None:
    pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra: hf)")
    path = published / "tokenizer.json"
    assert HfTokenizer.load(published).encode("to").tolist() == TOK.encode("to").tolist()
    path.write_text(path.read_text() + " ")
    for load in (HfTokenizer.load, lambda file: sg.Tokenizer.load(file, engine="tokenizers")):
        with pytest.raises(CorruptArtifact):
            load(path)


def test_other_files_are_not_looked_at(published: Path) -> None:
    (published / "model.safetensors").write_bytes(b"other")
    assert sg.Tokenizer.load(published).fingerprint == TOK.fingerprint


def test_a_file_that_the_manifest_does_not_list_is_read_as_it_is(published: Path) -> None:
    shutil.copy(published / "tokenizer.json", published / "mine.json")
    assert sg.Tokenizer.load(published / "mine.json").fingerprint == TOK.fingerprint


@pytest.mark.parametrize(
    ("manifest", "error"),
    [
        ({"name": "a web application", "icons": []}, None),
        ([], None),
        ("{", CorruptArtifact),
        ({"schema_version": 2, "files": {}}, ForeignArtifact),
        ({"schema_version": 1, "files": {}}, CorruptArtifact),
    ],
)
def test_manifests_of_others_and_damaged_ones(manifest: Any, error: type[Exception] | None, tmp_path: Path) -> None:
    TOK.save(tmp_path / "tokenizer.json")
    (tmp_path / "manifest.json").write_text(manifest if isinstance(manifest, str) else json.dumps(manifest))
    if error is None:
        assert sg.Tokenizer.load(tmp_path).fingerprint == TOK.fingerprint
        return
    with pytest.raises(error):
        sg.Tokenizer.load(tmp_path)


def test_a_name_relative_to_the_working_folder(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(published)
    assert sg.Tokenizer.load("tokenizer.json").fingerprint == TOK.fingerprint
    Path("tokenizer.json").write_text(TOK._to_json() + "\n\n")
    with pytest.raises(CorruptArtifact):
        sg.Tokenizer.load("tokenizer.json")
