"""A run that starts from a model: weights, tokenizer and shape come from it, and later stages build on it."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

import stategpt as sg  # noqa: E402
from stategpt.artifacts import RunFolder, publish_folder, read_manifest  # noqa: E402
from stategpt.config import GPTConfig, RunConfig, StartConfig, load, override  # noqa: E402
from stategpt.errors import ConfigError, CorruptArtifact, ForeignArtifact  # noqa: E402
from stategpt.stages.start import take_start_model  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402


@pytest.fixture
def model(tmp_path: Path, recipe: RunConfig, tok: Tokenizer) -> Path:
    """A model's folder, of a shape that is not the default's."""
    torch.manual_seed(3)
    sg.GPT(recipe.model).save_pretrained(tmp_path / "given", tok, manifest=False)
    return tmp_path / "given"


def started(recipe: RunConfig, model: Path) -> RunConfig:
    return replace(recipe, stages=("prepare", "sft"), start=StartConfig(str(model)))


def test_weights_and_tokenizer_are_the_start_models(
    recipe: RunConfig, model: Path, tmp_path: Path, tok: Tokenizer
) -> None:
    folder = RunFolder(tmp_path / "run")
    taken = take_start_model(started(recipe, model), folder)
    assert taken.fingerprint == tok.fingerprint
    assert (folder.model("base") / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()
    before = read_manifest(folder.model("base"))
    take_start_model(started(recipe, model), folder)
    assert read_manifest(folder.model("base")) == before
    shutil.rmtree(model)
    assert take_start_model(started(recipe, model), folder).fingerprint == tok.fingerprint, "the run has its copy"


def test_another_model_in_its_place_is_noticed(recipe: RunConfig, model: Path, tmp_path: Path, tok: Tokenizer) -> None:
    folder = RunFolder(tmp_path / "run")
    take_start_model(started(recipe, model), folder)
    torch.manual_seed(4)
    sg.GPT(recipe.model).save_pretrained(model, tok, manifest=False)
    with pytest.raises(ForeignArtifact, match=r"was not taken from start\.model = .* as it is now"):
        take_start_model(started(recipe, model), folder)


def test_a_damaged_model_is_refused(recipe: RunConfig, tmp_path: Path, tok: Tokenizer) -> None:
    gpt = sg.GPT(recipe.model)
    publish_folder(tmp_path / "given", lambda folder: gpt.save_pretrained(folder, tok, manifest=True), kind="model")
    (tmp_path / "given" / "generation_config.json").write_text("{}")
    with pytest.raises(CorruptArtifact):
        take_start_model(started(recipe, tmp_path / "given"), RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run" / "tokenizer").exists(), "nothing of it was taken"


def test_another_shape_is_refused(recipe: RunConfig, model: Path, tmp_path: Path) -> None:
    run = replace(started(recipe, model), model=replace(recipe.model, depth=1))
    with pytest.raises(ConfigError, match=r"start\.model has the shape"):
        take_start_model(run, RunFolder(tmp_path / "run"))


def test_a_file_takes_shape_and_vocabulary_from_the_model(recipe: RunConfig, model: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[start]\nmodel = "given"\n[sft]\ndata = ["chats.jsonl"]\n')
    run = load(tmp_path / "mine.toml")
    assert run.model == recipe.model != GPTConfig()
    assert run.tokenizer.vocab_size == recipe.model.vocab_size
    assert run.stages == ("prepare", "sft")
    stage = tmp_path / "stage"
    stage.mkdir()
    shutil.move(model, stage / "model")
    assert override(RunConfig(), {"start.model": str(stage)}).model == recipe.model


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[start]\nmodel = "nowhere"\n', r"start\.model = '.*nowhere' is not a folder"),
        ('[start]\nmodel = "."\n', r"holds no config\.json, nor does model/ in it"),
        ('[start]\nmodel = "given"\n[model]\ndepth = 9\n', r"model\.depth = 9: start\.model has 2; leave the setting"),
    ],
)
def test_a_start_that_is_none_is_refused(model: Path, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load(tmp_path / "mine.toml")


def test_a_model_without_its_tokenizer_is_refused(model: Path, tmp_path: Path) -> None:
    (model / "tokenizer.json").unlink()
    (tmp_path / "mine.toml").write_text('[start]\nmodel = "given"\n')
    with pytest.raises(ConfigError, match=r"holds no tokenizer\.json; a model starts a run with the tokenizer"):
        load(tmp_path / "mine.toml")
