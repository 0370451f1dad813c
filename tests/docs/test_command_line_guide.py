"""The commands of docs/guides/command-line.md run as the page has them, and its tables say what there is."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the commands need the train extra (torch)")

from stategpt import recipes
from stategpt.cli import chat_commands, main
from stategpt.config import CONTROL_TOKENS, dump, override
from stategpt.data.corpus import write_corpus
from stategpt.data.sources import build_corpus
from stategpt.model import GPT
from stategpt.tokenizer import Tokenizer

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "guides" / "command-line.md").read_text(encoding="utf-8")
SOURCE = '''
def length(items):
    """Return the length of a list."""
    return len(items)
'''


def blocks(kind: str) -> str:
    return "".join(re.findall(rf"```{kind}\n(.*?)```", GUIDE, re.DOTALL))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With runs/tiny, a run whose models are not trained, and prompts.jsonl."""
    sources, run = tmp_path / "sources", tmp_path / "runs" / "tiny"
    sources.mkdir()
    for number in range(8):
        text = SOURCE.replace("a list", f"a list of kind {number}")
        (sources / f"module_{number}.py").write_text(text, encoding="utf-8")
    config = override(recipes.smoke_cpu(str(sources)), {"tokenizer.vocab_size": 300})
    run.mkdir(parents=True)
    (run / "run.toml").write_text(dump(config), encoding="utf-8")
    write_corpus(build_corpus(config.corpus), run / "corpus")
    for stage in ("base", "sft", "rl"):
        GPT(config.model).save_pretrained(run / stage / "model")
        Tokenizer.train([SOURCE], 300, special_tokens=CONTROL_TOKENS).save(run / stage / "model" / "tokenizer.json")
    (tmp_path / "prompts.jsonl").write_text(blocks("json"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("builtins.input", lambda _: "")
    return tmp_path


def test_its_commands_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = [shlex.split(line, comments=True)[1:] for line in blocks("bash").splitlines()]
    assert [words[0] for words in commands] == ["chat"] * 5 + ["generate"] + ["score"] * 3
    for words in commands:
        if "--schema" in words:
            pytest.importorskip("llguidance", reason="constraints need llguidance")
        assert main(words) == 0, words
        told = capsys.readouterr().out
        if "--compare" in words:
            assert [each for each in ("base (", "sft (", "rl (") if each in told] == ["base (", "sft (", "rl ("]
    answers, scores = (
        [json.loads(line) for line in (folder / name).read_text().splitlines()]
        for name in ("answers.jsonl", "scores.jsonl")
    )
    assert [each["id"] for each in answers] == [each["id"] for each in scores] == ["len-0", "len-1", "key-0", "key-1"]
    for record in answers:
        assert set(record) <= named("Generate for many prompts")
        assert {*record, "token_ids", "token_log_probs"} == set(re.findall(r"`(\w+)`", fields_table()))
    for record in scores:
        assert set(record) - {"id", "line"} <= named("Score texts")


def fields_table() -> str:
    """The first column of the table of fields."""
    table = GUIDE[GUIDE.index("| field |") : GUIDE.index("* **Batches.**")]
    return "".join(line.split("|")[1] for line in table.splitlines() if line.startswith("|"))


def named(section: str) -> set[str]:
    """What a section of the page puts into backticks."""
    (text,) = [part for part in GUIDE.split("\n## ") if part.startswith(section)]
    return set(re.findall(r"`(\w+)`", text))


def test_its_table_names_every_command_of_a_chat() -> None:
    table = GUIDE[GUIDE.index("| typed |") : GUIDE.index("A conversation is one")]
    names = {line.split()[0] for line in chat_commands.HELP.splitlines() if line.startswith("/")}
    assert set(re.findall(r"`(/\w+)", table)) | {"/help"} == names
