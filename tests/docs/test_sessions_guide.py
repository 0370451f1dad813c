"""The scripts of docs/guides/sessions.md work, one after the other."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the scripts need the train extra (torch)")
GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "guides" / "sessions.md").read_text(encoding="utf-8")


def test_its_scripts_run(tmp_path: Path) -> None:
    scripts = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert len(scripts) == 2
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(scripts)], capture_output=True, text=True, cwd=tmp_path, check=False,
        timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second, counted = done.stdout.splitlines()
    assert first != second
    # The prompt once; " list." for each branch's score and once more for the best one.
    assert re.fullmatch(r"prefilled \d+, drawn \d+, computed again \d+", counted)
