"""A run starts from a GGUF file, or from a model of the Hub, as from a folder."""

from __future__ import annotations

import fnmatch
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.artifacts import RunFolder  # noqa: E402
from stategpt.config import CONTROL_TOKENS, GPTConfig, RunConfig, load  # noqa: E402
from stategpt.config.paths import rooted  # noqa: E402
from stategpt.errors import ConfigError, ForeignArtifact  # noqa: E402
from stategpt.model import GPT  # noqa: E402
from stategpt.stages.start import take_start_model  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402

SHAPE = {"depth": 2, "width": 32, "heads": 2, "kv_heads": 1, "head_dim": 16, "mlp_width": 48, "context_tokens": 128}


@pytest.fixture(scope="module")
def tok() -> Tokenizer:
    return Tokenizer.train(["What is it? It is so."], 300, special_tokens=CONTROL_TOKENS)


@pytest.fixture
def model(tok: Tokenizer) -> GPT:
    torch.manual_seed(3)
    return GPT(GPTConfig(vocab_size=tok.vocab_size, **SHAPE))


def project(folder: Path, start: str) -> RunConfig:
    (folder / "chats.jsonl").write_text('{"prompt": "What is it?", "response": "It is so."}\n' * 3)
    (folder / "mine.toml").write_text(f'[start]\nmodel = "{start}"\n[sft]\ndata = ["chats.jsonl"]\nrow_tokens = 64\n')
    return load(folder / "mine.toml")


def weights_of(folder: RunFolder) -> dict[str, Any]:
    return dict(GPT.from_pretrained(folder.model("base")).state_dict())


def test_a_gguf_file_is_imported_into_the_run_folder(tmp_path: Path, model: GPT, tok: Tokenizer) -> None:
    pytest.importorskip("gguf", reason="writing GGUF files needs the hf extra (gguf)")
    from stategpt.model.gguf_export import save_gguf

    file = tmp_path / "given.gguf"
    save_gguf(model, file, tok, dtype="f32")
    run = project(tmp_path, "given.gguf")
    assert run.start.model == str(file)
    assert (run.model, run.tokenizer.vocab_size) == (model.config, tok.vocab_size)
    folder = RunFolder(tmp_path / "run")
    taken = take_start_model(run, folder)
    assert taken.encode("What is it?").tolist() == tok.encode("What is it?").tolist()
    found = weights_of(folder)
    assert found.keys() == model.state_dict().keys()
    assert all(torch.equal(found[name], value) for name, value in model.state_dict().items())
    assert sorted(path.name for path in folder.root.iterdir()) == ["base", "tokenizer"], "what it was imported into"
    shutil.move(file, tmp_path / "elsewhere.gguf")
    assert take_start_model(run, folder).fingerprint == taken.fingerprint, "the run has its copy"
    save_gguf(model.half(), file, tok, dtype="f16")
    with pytest.raises(ForeignArtifact, match=r"was not taken from start\.model = .*given\.gguf"):
        take_start_model(run, folder)


def test_a_damaged_gguf_file_is_refused_when_the_run_is_planned(tmp_path: Path) -> None:
    (tmp_path / "given.gguf").write_bytes(b"GGUF\x03\x00\x00\x00")
    with pytest.raises(ConfigError, match=r"start\.model: .*given\.gguf.*truncated"):
        project(tmp_path, "given.gguf")
    with pytest.raises(ConfigError, match=r"start\.model = '.*none\.gguf' is not a folder; give .* a \.gguf file"):
        project(tmp_path, "none.gguf")


class Hub:
    """Copies the files of a folder that the patterns let through."""

    def __init__(self, origin: Path, cache: Path) -> None:
        self.origin, self.cache = origin, cache
        self.calls: list[tuple[str, str | None]] = []

    def snapshot_download(
        self, name: str, *, revision: str | None, allow_patterns: list[str], ignore_patterns: list[str]
    ) -> str:
        self.calls.append((name, revision))
        self.cache.mkdir(exist_ok=True)
        for path in self.origin.iterdir():
            if any(fnmatch.fnmatch(path.name, pattern) for pattern in allow_patterns):
                shutil.copyfile(path, self.cache / path.name)
        return str(self.cache)


def test_a_model_of_the_hub_is_planned_by_its_settings_and_copied_at_the_start(
    tmp_path: Path, model: GPT, tok: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = pytest.importorskip("huggingface_hub", reason="models by name need the hf extra (huggingface_hub)")
    model.save_pretrained(tmp_path / "origin", tok)
    hub = Hub(tmp_path / "origin", tmp_path / "cache")
    monkeypatch.setattr(library, "snapshot_download", hub.snapshot_download)
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path)
    run = project(tmp_path / "project", "org/tiny@v1")
    assert run.start.model == rooted(run, tmp_path).start.model == "org/tiny@v1", "no path"
    assert run.model == model.config
    assert set(hub.calls) == {("org/tiny", "v1")}
    assert not (tmp_path / "cache" / "model.safetensors").exists(), "a plan needs no weights"
    folder = RunFolder(tmp_path / "run")
    take_start_model(run, folder)
    assert all(torch.equal(weights_of(folder)[name], value) for name, value in model.state_dict().items())


def test_what_the_hub_does_not_give_is_a_setting_that_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = pytest.importorskip("huggingface_hub", reason="models by name need the hf extra (huggingface_hub)")

    def refuse(*_: object, **__: object) -> str:
        raise OSError("no route")

    monkeypatch.setattr(library, "snapshot_download", refuse)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"start\.model: org/tiny could not be downloaded \(OSError: no route\)"):
        project(tmp_path, "org/tiny")


def test_a_folder_beside_the_runs_file_wins_over_a_name(tmp_path: Path, model: GPT, tok: Tokenizer) -> None:
    model.save_pretrained(tmp_path / "org" / "tiny", tok)
    run = project(tmp_path, "org/tiny")
    assert run.start.model == str(tmp_path / "org" / "tiny")
    config = json.loads((tmp_path / "org" / "tiny" / "config.json").read_text())
    assert run.model.width == config["hidden_size"]
