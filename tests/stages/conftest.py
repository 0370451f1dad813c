"""A tokenizer, a corpus and models small enough for seconds."""

from functools import partial
from pathlib import Path
from shutil import copytree

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from small_corpus import write_small_corpus  # noqa: E402
from stategpt.artifacts import RunFolder, publish_folder  # noqa: E402
from stategpt.config import CONTROL_TOKENS, GPTConfig, RunConfig  # noqa: E402
from stategpt.data import ChatTemplate  # noqa: E402
from stategpt.data.corpus import Corpus, write_corpus  # noqa: E402
from stategpt.data.sources import build_corpus  # noqa: E402
from stategpt.model import GPT, RewardModel  # noqa: E402
from stategpt.recipes import smoke_cpu  # noqa: E402
from stategpt.stages.context import StageContext  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """The smoke recipe on a corpus of ten small modules."""
    return smoke_cpu(str(write_small_corpus(tmp_path_factory.mktemp("corpus") / "library")))


@pytest.fixture(scope="session")
def corpus(recipe: RunConfig) -> Corpus:
    """That corpus, read."""
    return build_corpus(recipe.corpus)


@pytest.fixture(scope="session")
def tok(recipe: RunConfig, corpus: Corpus) -> Tokenizer:
    """A tokenizer of 512 tokens trained on it."""
    texts = [text for source in sorted(corpus.sources) for text in corpus.sources[source].texts("train")]
    return Tokenizer.train(texts, vocab_size=recipe.tokenizer.vocab_size, special_tokens=list(CONTROL_TOKENS))


@pytest.fixture
def inputs(recipe: RunConfig, tok: Tokenizer, tmp_path: Path) -> StageContext:
    """What a stage works with, in an empty run folder."""
    return StageContext(recipe, RunFolder(tmp_path / "run"), tok, ChatTemplate.own(tok), torch.device("cpu"))


@pytest.fixture(scope="session")
def untrained(recipe: RunConfig, corpus: Corpus, tok: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with corpus, tokenizer and fresh models in the place of base, SFT and reward model."""
    folder = RunFolder(tmp_path_factory.mktemp("untrained") / "run")
    write_corpus(corpus, folder.corpus)
    publish_folder(folder.tokenizer, lambda temporary: tok.save(temporary / "tokenizer.json"), kind="tokenizer")
    inputs = StageContext.of(recipe, folder)
    for number, stage in enumerate(("base", "sft", "reward")):
        torch.manual_seed(number)
        model = GPT(recipe.model) if stage != "reward" else RewardModel(GPT(recipe.model))
        inputs.publish(stage, "model", partial(inputs.save_model, model), "", ())
    return folder.root


@pytest.fixture
def before_rl(untrained: Path, tmp_path: Path) -> RunFolder:
    """A copy of that folder."""
    return RunFolder(copytree(untrained, tmp_path / "run"))


@pytest.fixture
def model(recipe: RunConfig) -> GPT:
    """A fresh model of the recipe's shape."""
    torch.manual_seed(0)
    return GPT(recipe.model)


@pytest.fixture
def published(inputs: StageContext, corpus: Corpus, tok: Tokenizer) -> StageContext:
    """With corpus, tokenizer, base and SFT model in the run folder; the models have random weights, each its own."""
    folder = inputs.folder
    write_corpus(corpus, folder.corpus, fingerprint="corpus")
    publish_folder(folder.tokenizer, lambda temporary: tok.save(temporary / "tokenizer.json"), kind="tokenizer")
    for seed, stage in enumerate(("base", "sft"), start=1):
        torch.manual_seed(seed)
        model = GPT(inputs.run.model)
        inputs.publish(stage, "model", partial(inputs.save_model, model), stage, ())
    return inputs


@pytest.fixture
def small_world_config() -> GPTConfig:
    """Sixteen control tokens and five actions."""
    return GPTConfig(
        vocab_size=21, depth=1, width=64, heads=2, kv_heads=2, head_dim=32, mlp_width=256, context_tokens=16
    )
