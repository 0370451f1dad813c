"""Before stage 1: what is made of corpus and tokenizer, and what is said of it."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.artifacts import RunFolder, read_manifest  # noqa: E402
from stategpt.config import RunConfig, override  # noqa: E402
from stategpt.errors import InvalidArgument  # noqa: E402
from stategpt.stages.prepare import prepare  # noqa: E402


def test_a_corpus_too_small_for_the_vocabulary_is_said_and_measured(
    recipe: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(tmp_path / "run")
    run = override(recipe, {"tokenizer.vocab_size": 30_000})
    prepare(run, folder)
    said = " ".join(capsys.readouterr().err.split())
    statistics = read_manifest(folder.tokenizer).extra["statistics"]
    assert statistics["vocab_size"] < statistics["vocab_size_asked"] == 30_000
    assert f"the corpus gave {statistics['vocab_size']:,} tokens of the 30,000 that tokenizer.vocab_size" in said
    prepare(run, folder)
    assert "the corpus gave" in capsys.readouterr().err, "whoever goes on reads it too"


def test_a_vocabulary_that_was_reached_is_not_mentioned(
    recipe: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(tmp_path / "run")
    prepare(recipe, folder)
    assert "the corpus gave" not in capsys.readouterr().err
    statistics = read_manifest(folder.tokenizer).extra["statistics"]
    assert statistics["vocab_size"] == statistics["vocab_size_asked"] == 512


def test_a_run_that_could_not_be_evaluated_ends_here(recipe: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"evaluate\.few_shot_examples = 100000"):
        prepare(override(recipe, {"evaluate.few_shot_examples": 100_000}), RunFolder(tmp_path / "run"))
