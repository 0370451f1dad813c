"""A run from a foreign model that is killed while it trains gives the bits of one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the [train] extra is not installed")
pytest.importorskip("transformers", reason="writes the model")

from foreign_folders import FOREIGN, SMALL, write_chats
from stategpt.artifacts.run_folder import RunFolder

pytestmark = pytest.mark.xdist_group("foreign_resume")
STAGES = ("sft", "reward")
"""In the second the embedding grows before the first step."""


KILLED = """
import os, signal, sys
from pathlib import Path
from stategpt.cli import main
from stategpt.train import loop

save = loop.save_checkpoint

def save_and_end(folder, *rest):
    save(folder, *rest)
    if folder == Path(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)

loop.save_checkpoint = save_and_end
sys.exit(main(sys.argv[2:]))
"""
"""A run that is killed when its first argument, a folder of checkpoints, has got one."""


def _run(project: Path, out: str, killed_in: str = "") -> int:
    """Runs all stages, or ends with the first checkpoint of one; returns the exit code."""
    start = ["-m", "stategpt"]
    if killed_in:
        start = ["-c", KILLED, str(RunFolder(project / out).stage(killed_in) / "checkpoints")]
    words = ["run", str(project / "mine.toml"), "--out", str(project / out), "--until", STAGES[-1]]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *start, *words], env=environment, capture_output=True).returncode


def test_killed_while_it_trains_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    FOREIGN["llama, ChatML, no token left"].write(tmp_path / "given")
    write_chats(tmp_path / "chats.jsonl", 40)
    text = SMALL
    for stage in STAGES:
        text = text.replace(f"[{stage}]\n", f"[{stage}]\ncheckpoint_every_steps = 1\n")
    (tmp_path / "mine.toml").write_text(text)
    assert _run(tmp_path, "whole") == 0
    for stage in STAGES:
        assert _run(tmp_path, "killed", killed_in=stage) == -signal.SIGKILL
    assert _run(tmp_path, "killed") == 0
    for stage in STAGES:
        whole, killed = (tmp_path / name / stage / "model" / "model.safetensors" for name in ("whole", "killed"))
        assert whole.read_bytes() == killed.read_bytes(), stage
