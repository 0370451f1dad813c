"""Before stage 1: what is made of corpus and tokenizer, and what is said of it."""

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.artifacts import RunFolder, read_manifest  # noqa: E402
from stategpt.config import RunConfig, override  # noqa: E402
from stategpt.data import Corpus, encode_conversation  # noqa: E402
from stategpt.data.corpus import CONVERSATIONS  # noqa: E402
from stategpt.errors import ConfigError, InvalidArgument  # noqa: E402
from stategpt.packing import Shards  # noqa: E402
from stategpt.stages.prepare import prepare  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402


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
    assert "the corpus gave" in capsys.readouterr().err, "a run that is continued says it too"


def test_a_vocabulary_that_was_reached_is_not_mentioned(
    recipe: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(tmp_path / "run")
    prepare(recipe, folder)
    assert "the corpus gave" not in capsys.readouterr().err
    statistics = read_manifest(folder.tokenizer).extra["statistics"]
    assert statistics["vocab_size"] == statistics["vocab_size_asked"] == 512


def test_the_shards_of_sft_hold_every_training_conversation_and_no_other(
    recipe: RunConfig, corpus: Corpus, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "run")
    prepare(recipe, folder)
    shards = Shards.open(folder.shards(CONVERSATIONS, "train"))
    tok = Tokenizer.load(folder.tokenizer_json)
    train = [encode_conversation(tok, conversation) for conversation in corpus.conversations["train"]]
    assert [shards.document(i).tolist() for i in range(len(shards))] == [s.document.tolist() for s in train]


def test_a_run_that_could_not_be_evaluated_ends_here(recipe: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"evaluate\.few_shot_examples = 100000"):
        prepare(override(recipe, {"evaluate.few_shot_examples": 100_000}), RunFolder(tmp_path / "run"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"corpus.source": ""}, r"corpus\.source is not set; set it, and corpus\.paths, to a source: .*python_library"),
        ({"corpus.source": "pythonlibrary"}, r"'pythonlibrary' is not a source; did you mean 'python_library'\?"),
        ({"data.proportions": {}}, r"data\.proportions is empty.*code, docstrings, comments"),
        ({"data.proportions": {"wiki": 1.0}}, r"data\.proportions\.wiki = 1\.0: the corpus has no such source"),
    ],
)
def test_nothing_is_made_of_a_corpus_or_mixture_that_is_not_set(
    recipe: RunConfig, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    folder = RunFolder(tmp_path / "run")
    section, _, name = next(iter(change)).partition(".")
    run = replace(recipe, **{section: replace(getattr(recipe, section), **{name: next(iter(change.values()))})})
    with pytest.raises(ConfigError, match=message):
        prepare(run, folder)
    assert not folder.tokenizer.exists(), "before anything is trained"
