"""The blocks of docs/guides/chat-templates.md work: the scripts print what it says, and the format is one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from stategpt.data import ChatTemplate, Message
from stategpt.tokenizer import Tokenizer

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "guides" / "chat-templates.md").read_text(encoding="utf-8")
SCRIPTS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


def run(script: str) -> str:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_first_script_prints_what_stands_below_it() -> None:
    (printed,) = re.findall(r"```text\n(.*?)```", GUIDE, re.DOTALL)
    assert run(SCRIPTS[0]) == printed


def test_the_engine_answers() -> None:
    pytest.importorskip("torch", reason="sampling needs the train extra (torch)")
    assert len(SCRIPTS) == 2
    assert run(SCRIPTS[1]) == "(1,) 3\n"


def test_the_format_is_one(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
    path = tmp_path / "vicuna.toml"
    path.write_text(text, encoding="utf-8")
    tok = Tokenizer.train(["a plain text"], vocab_size=300, special_tokens=["</s>"])
    encoded = ChatTemplate.read(path, tok).encode([Message("user", "Hi"), Message("assistant", "yo")])
    assert tok.decode(encoded.ids) == "USER: Hi ASSISTANT: yo</s>"
    assert tok.decode(encoded.ids[encoded.loss_mask]) == " yo</s>"


def test_every_name_is_in_the_table() -> None:
    rows = "".join(line for line in GUIDE.splitlines() if line.startswith("| `"))
    assert [name for name in ChatTemplate.names() if f"`{name}`" not in rows] == []
