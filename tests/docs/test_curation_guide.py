"""The blocks of docs/guides/curation.md work: the settings are valid and the script runs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from stategpt.config import CurateConfig

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "guides" / "curation.md").read_text(encoding="utf-8")


def test_its_settings_are_those_of_a_run() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
    given = tomllib.loads(block)["curate"]
    config = CurateConfig(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})
    assert config.asked_rules()["gopher_quality_words_min"] == 20
    assert "c4_curly_brace" not in config.asked_rules()


def test_its_script_runs(tmp_path: Path) -> None:
    (script,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False, timeout=250
    )
    assert done.returncode == 0, done.stderr
    assert "[email]" in done.stdout
    assert "3 = 2 + {" in done.stdout
