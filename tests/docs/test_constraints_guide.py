"""The scripts of docs/guides/constraints.md print what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="sampling needs the train extra (torch)")
pytest.importorskip("llguidance", reason="constraints need the extra of that name")

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "guides" / "constraints.md").read_text(encoding="utf-8")
PAIRS = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", GUIDE, re.DOTALL)


def test_every_script_has_its_output() -> None:
    assert len(PAIRS) == GUIDE.count("```python") == 3


@pytest.mark.parametrize(("script", "printed"), PAIRS, ids=["fill", "state", "draft"])
def test_the_scripts_print_what_stands_below_them(script: str, printed: str) -> None:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr
    assert done.stdout == printed
