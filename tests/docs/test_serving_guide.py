"""The scripts of docs/guides/serving.md print what it says, its settings are settings, its commands are commands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the server needs the train extra (torch)")
pytest.importorskip("openai", reason="the official client is in the dev extra")

from live_server import CONFIG, live_server
from stategpt.cli.parser import build_parser
from stategpt.config.serve import ServeConfig
from stategpt.serve.host import Host
from stategpt.serve.keys import read_keys
from tiny_models import tiny_model, tiny_tokenizer

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "guides" / "serving.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", GUIDE, re.DOTALL)


def test_the_scripts_print_what_the_page_says(tmp_path: Path) -> None:
    host = Host(tiny_model(context_tokens=512), tiny_tokenizer(), None, CONFIG)
    with live_server({"tiny": host.served("tiny")}) as live:
        script = f"URL = {live.url!r}\n" + "\n".join(blocks("python"))
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "".join(blocks("text"))


def test_its_settings_and_keys_are_valid(tmp_path: Path) -> None:
    keys, settings = blocks("toml")
    path = tmp_path / "keys.toml"
    path.write_text(keys)
    path.chmod(0o600)
    assert read_keys(path, lambda: 0.0).find("Bearer sk-0123456789abcdef") is not None
    given: dict[str, Any] = tomllib.loads(settings)["serve"]
    assert {name: getattr(ServeConfig(), name) for name in given} == given, "the page shows the defaults"


def test_its_commands_are_parsed() -> None:
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("stategpt ")]
    assert len(lines) == 5
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        arguments = build_parser().parse_args(words)
        assert callable(arguments.execute)
