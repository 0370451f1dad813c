"""The tokenizer takes no more instructions than its goldens say: the gate for speed where seconds are noise."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("instructions", ROOT / "benches" / "instructions.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.xdist_group("cargo")
@pytest.mark.timeout(1800)
def test_no_job_takes_more_instructions_than_its_golden() -> None:
    instructions = script()
    if reason := instructions.obstacle():
        pytest.skip(reason)
    lines, good = instructions.compare(instructions.count())
    assert good, "\n".join(lines)


def test_more_than_the_tolerance_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    instructions = script()
    monkeypatch.setattr(instructions, "GOLDENS", tmp_path / "goldens.json")
    monkeypatch.setattr(instructions, "compiler", lambda: "rustc 1.0")
    instructions.update({"encode": 1000, "train": 1000})
    lines, good = instructions.compare({"encode": 1040, "train": 900})
    assert not good
    assert "MORE" in lines[0]
    assert "--update" in lines[1]
    assert instructions.compare({"encode": 1020, "train": 1000})[1]
