"""A run from a foreign model that is killed while it trains gives the bits of one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")
pytest.importorskip("transformers", reason="writes the model")

from foreign_folders import FOREIGN, SMALL, write_chats
from stategpt.artifacts.run_folder import RunFolder

pytestmark = pytest.mark.xdist_group("foreign_resume")
STAGES = ("sft", "reward")
"""In the second the embedding grows before the first step."""


def _command(project: Path, out: str) -> list[str]:
    paths = (str(project / "mine.toml"), "--out", str(project / out))
    return [sys.executable, "-m", "stategpt", "run", *paths, "--until", STAGES[-1]]


def test_killed_while_it_trains_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    FOREIGN["llama, ChatML, no token left"].write(tmp_path / "given")
    write_chats(tmp_path / "chats.jsonl", 40)
    text = SMALL
    for stage in STAGES:
        text = text.replace(f"[{stage}]\n", f"[{stage}]\ncheckpoint_every_steps = 1\n")
    (tmp_path / "mine.toml").write_text(text)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(_command(tmp_path, "whole"), env=environment, check=True, capture_output=True)
    folder = RunFolder(tmp_path / "killed")
    kills = 0
    for stage in STAGES:
        process = subprocess.Popen(_command(tmp_path, "killed"), env=environment, stdout=subprocess.DEVNULL)
        try:
            while process.poll() is None and not any((folder.stage(stage) / "checkpoints").glob("step-*")):
                time.sleep(0.01)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
            process.wait()
    assert kills
    subprocess.run(_command(tmp_path, "killed"), env=environment, check=True, capture_output=True)
    for stage in STAGES:
        whole, killed = (tmp_path / name / stage / "model" / "model.safetensors" for name in ("whole", "killed"))
        assert whole.read_bytes() == killed.read_bytes(), stage
