"""Every section: its rules are refused by full name, and every setting says what it means."""

import dataclasses
from collections.abc import Callable

import pytest

from stategpt.config import (
    CorpusConfig,
    CurateConfig,
    DataConfig,
    EvaluateConfig,
    GatesConfig,
    GPTConfig,
    OptimConfig,
    PretrainConfig,
    RankingsConfig,
    RewardConfig,
    RLConfig,
    RunConfig,
    SamplingConfig,
    SFTConfig,
    SourceConfig,
    StartConfig,
    TokenizerConfig,
)
from stategpt.errors import ConfigError
from stategpt.shown_fields import field_docs

SECTIONS = [
    CorpusConfig,
    CurateConfig,
    DataConfig,
    EvaluateConfig,
    GatesConfig,
    GPTConfig,
    OptimConfig,
    PretrainConfig,
    RankingsConfig,
    RewardConfig,
    RLConfig,
    RunConfig,
    SamplingConfig,
    SFTConfig,
    SourceConfig,
    StartConfig,
    TokenizerConfig,
]


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_says_what_it_means(section: type) -> None:
    docs = field_docs(section)
    assert list(docs) == [field.name for field in dataclasses.fields(section)]
    assert all(text.endswith((".", "%")) for text in docs.values())


@pytest.mark.parametrize("section", SECTIONS)
def test_sections_are_frozen(section: type) -> None:
    assert section.__dataclass_params__.frozen


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: CorpusConfig(source="a/b"), r"corpus\.source = 'a/b': must be the name of a module"),
    (lambda: CorpusConfig(validation_share=1.0), r"corpus\.validation_share = 1\.0"),
    (lambda: CorpusConfig(test_share=0.0), r"corpus\.test_share = 0\.0"),
    (lambda: CorpusConfig(validation_share=0.5, test_share=0.5), r"corpus\.test_share = 0\.5: .*nothing to train on"),
    (lambda: CorpusConfig(min_response_characters=0), r"corpus\.min_response_characters = 0"),
    (lambda: CorpusConfig(max_response_characters=5, min_response_characters=12), r"max_response.* = 5.*min.* = 12"),
    (lambda: TokenizerConfig(vocab_size=271), r"tokenizer\.vocab_size = 271: must be at least 272"),
    (lambda: TokenizerConfig(pattern="gpt5"), r"tokenizer\.pattern = 'gpt5': must be one of gpt2, gpt4"),  # type: ignore[arg-type]
    (lambda: DataConfig(row_tokens=1), r"data\.row_tokens = 1"),
    (lambda: DataConfig(proportions={"code": 0.5}), r"data\.proportions = .*must add up to 1, not 0\.5"),
    (lambda: DataConfig(proportions={"code": 1.0, "comments": 0.0}), r"data\.proportions\.comments = 0\.0"),
    (lambda: DataConfig(strategy="first_fit"), r"data\.strategy = 'first_fit': must be one of best_fit, concat"),
    (lambda: OptimConfig(learning_rate=-0.1), r"optim\.learning_rate = -0\.1"),
    (lambda: OptimConfig(learning_rate=1e-3, betas=(0.9, 1.0)), r"optim\.betas = \(0\.9, 1\.0\)"),
    (lambda: OptimConfig(learning_rate=1e-3, flat_fraction=1.5), r"optim\.flat_fraction = 1\.5"),
    (lambda: PretrainConfig(micro_batch_rows=3), r"pretrain\.micro_batch_rows = 3: must divide batch_rows = 8"),
    (lambda: PretrainConfig(sample_at=("start",)), r'pretrain\.sample_at = .*"end"'),  # type: ignore[arg-type]
    (lambda: PretrainConfig(precision="float8"), r"pretrain\.precision = 'float8'"),  # type: ignore[arg-type]
    (lambda: SFTConfig(epochs=0.0), r"sft\.epochs = 0\.0"),
    (lambda: SamplingConfig(temperature=0.0), r"sampling\.temperature = 0\.0: must be above 0"),
    (lambda: SamplingConfig(max_tokens=0), r"sampling\.max_tokens = 0"),
    (lambda: SFTConfig(micro_batch_rows=0), r"sft\.micro_batch_rows = 0"),
    (lambda: RankingsConfig(completions=1), r"rankings\.completions = 1: must be at least 2"),
    (lambda: RankingsConfig(tie_below=-1), r"rankings\.tie_below = -1"),
    (lambda: RewardConfig(prompts_per_batch=0), r"reward\.prompts_per_batch = 0"),
    (lambda: RewardConfig(micro_batch_prompts=0), r"reward\.micro_batch_prompts = 0"),
    (lambda: RewardConfig(arrange="columns"), r"reward\.arrange = 'columns': must be one of auto, rows"),  # type: ignore[arg-type]
    (lambda: RLConfig(completions=1), r"rl\.completions = 1: objective rloo needs at least 2"),
    (lambda: RLConfig(micro_batch_completions=0), r"rl\.micro_batch_completions = 0: must be above 0"),
    (lambda: RLConfig(minibatches=5), r"rl\.minibatches = 5: must divide prompts_per_step = 24"),
    (lambda: RLConfig(beta=-0.1), r"rl\.beta = -0\.1"),
    (lambda: EvaluateConfig(best_of=(4, 2)), r"evaluate\.best_of = \(4, 2\): must rise"),
    (lambda: EvaluateConfig(best_of=(1,)), r"evaluate\.best_of = \(1,\)"),
    (lambda: GatesConfig(required=("speed",)), r"gates\.required = \('speed',\): may name base"),
    (lambda: GatesConfig(rl_win_rate=55.0), r"gates\.rl_win_rate = 55\.0"),
]


@pytest.mark.parametrize(("build", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_values_out_of_range_are_refused_by_name(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build()


def test_one_completion_is_enough_without_a_leave_one_out_baseline() -> None:
    assert RLConfig(objective="reward_weighted", completions=1).completions == 1
