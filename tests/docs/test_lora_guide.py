"""The blocks of docs/guides/lora.md work: the settings are valid and the script runs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from stategpt.config.lora import LoRAConfig

pytest.importorskip("torch", reason="the script needs the train extra (torch)")
GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "guides" / "lora.md").read_text(encoding="utf-8")


def test_its_settings_are_those_of_a_run() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
    given = tomllib.loads(block)["lora"]
    assert given.keys() == vars(LoRAConfig()).keys()
    assert LoRAConfig(**given | {"targets": tuple(given["targets"])}).rank == 8


def test_its_script_runs(tmp_path: Path) -> None:
    (script,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False, timeout=250
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.rpartition(" ")[2]) <= 1e-5
    assert {path.name for path in (tmp_path / "adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
