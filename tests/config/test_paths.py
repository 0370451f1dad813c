"""Relative paths in a file are relative to its folder; a resolved run has absolute ones."""

import os
from pathlib import Path

import pytest

from stategpt.config import dump, load, override
from stategpt.config.paths import rooted
from stategpt.errors import ConfigError

TEXT = """
[sources.manual]
paths = ["docs/*.md", "/else/where.md"]
share = 1.0
[sft]
data = ["chats.jsonl"]
"""


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "a[1]"
    folder.mkdir()
    (folder / "mine.toml").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    run = load("a[1]/mine.toml")
    assert run.name == "mine"
    escaped = os.path.join(str(tmp_path), "a[[]1]")
    assert run.sources["manual"].paths == (f"{escaped}/docs/*.md", "/else/where.md")
    assert run.sft.data == (f"{escaped}/chats.jsonl",)


def test_a_resolved_file_means_the_same_anywhere(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TEXT)
    run = load(tmp_path / "mine.toml")
    other = tmp_path / "other"
    other.mkdir()
    (other / "run.toml").write_text(dump(run))
    assert load(other / "run.toml") == run


def test_a_path_on_the_command_line_is_relative_to_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.toml").write_text(TEXT)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run = rooted(override(load(tmp_path / "mine.toml"), {"sft.data": "more.jsonl", "sources.manual.paths": "x.md"}))
    assert run.sft.data == (str(tmp_path / "here" / "more.jsonl"),)
    assert run.sources["manual"].paths == (str(tmp_path / "here" / "x.md"),)


def test_home_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    (tmp_path / "mine.toml").write_text(TEXT.replace("chats.jsonl", "~/chats.jsonl"))
    assert load(tmp_path / "mine.toml").sft.data == ("/home/ada/chats.jsonl",)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("share = 2.0", 4, r"sources\.manual\.share = 2\.0: must be above 0 and at most 1"),
        ("shares = 1.0", 4, r"sources\.manual\.shares is not a setting; nearest: sources\.NAME\.share"),
        ("share = 1.0\nformat = 3", 5, r"sources\.manual\.format = 3: must be text"),
        ("share = 1.0\n[sft]\ndata = 'x'", 6, r"sft\.data = 'x': must be a list"),
        ("share = 1.0\n[stf]\nepochs = 1", 5, r"stf is not a section; nearest: sft"),
        (
            "share = 1.0\n[rankings]\nprompts = 1600",
            6,
            r"rankings\.prompts = 1600: the number is now rankings\.train_prompts",
        ),
    ],
)
def test_an_error_names_the_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(f"# mine\n[sources.manual]\npaths = ['a.md']\n{text}\n")
    with pytest.raises(ConfigError, match=rf"wrong\.toml:{line}: {message}"):
        load(path)


def test_a_source_is_a_table_with_a_plain_name(tmp_path: Path) -> None:
    for text, message in (
        ("sources = 3", "sources = 3: must be tables"),
        ("[sources]\npaths = ['a']", r"sources\.paths is not a table"),
        ("[sources.'a/b']\npaths = ['a']\nshare = 1", r"a source's name has 1 to 100 letters"),
        ("[sources.a]\nshare = 1", r"sources\.a\.paths is not set; a source needs paths and share"),
        ("[sources.a]\n", r"sources\.a\.paths is not set"),
    ):
        (tmp_path / "x.toml").write_text(text)
        with pytest.raises(ConfigError, match=message):
            load(tmp_path / "x.toml")
