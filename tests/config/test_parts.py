"""Which settings decide which part: the table that fingerprints and locked settings both come from."""

from dataclasses import replace

import pytest

from stategpt.config import ClassifyConfig, RLConfig, RunConfig, override
from stategpt.config.parts import FILES, decides, deciding, parts_of
from stategpt.config.parts import FREE as FREE_SETTINGS
from stategpt.config.presence import ALL_STAGES
from stategpt.config.schema import flatten

RUN = RunConfig(
    stages=ALL_STAGES, rl=RLConfig(seeds=2, extra_betas=(0.04,)), classify=ClassifyConfig(data=("labeled.jsonl",))
)
PARTS = tuple(parts_of(RUN))

PREFIXES = ("log_", "checkpoint_", "micro_batch_", "gradient_checkpointing")
FREE = [key for key in flatten(RUN) if key in ("name", *FREE_SETTINGS) or key.rpartition(".")[2].startswith(PREFIXES)]


def deciders(part: str) -> set[str]:
    return {key for key in flatten(RUN) if decides(RUN, key, part)}


@pytest.mark.parametrize("key", FREE)
def test_how_work_is_done_and_shown_decides_nothing(key: str) -> None:
    assert not [part for part in PARTS if decides(RUN, key, part)]


def test_free_settings_are_there() -> None:
    assert {"name", "pretrain.micro_batch_rows", "sft.log_every_steps", "rl.checkpoint_every_steps"} <= set(FREE)


def test_every_other_setting_but_gates_and_serving_decides_some_part() -> None:
    decided = set().union(*(deciders(part) for part in PARTS))
    undecided = set(flatten(RUN)) - decided - set(FREE) - set(FILES)
    assert undecided == {key for key in flatten(RUN) if key.startswith(("gates.", "serve."))}


@pytest.mark.parametrize(
    ("key", "first"),
    [
        ("seed", "base/model"),
        ("corpus.validation_share", "corpus"),
        ("tokenizer.vocab_size", "tokenizer"),
        ("model.depth", "base/model"),
        ("pretrain.optim.clip_norm", "base/model"),
        ("pretrain.sample_at", "base/checkpoints"),
        ("classify.epochs", "classify/model"),
        ("sft.epochs", "sft/model"),
        ("sampling.temperature", "sft/evaluation"),
        ("rankings.tie_below", "rankings/records"),
        ("reward.arrange", "reward/model"),
        ("rl.beta", "rl/model"),
        ("rl.extra_betas", "comparison/evaluation"),
        ("evaluate.few_shot_examples", "sft/evaluation"),
        ("evaluate.comparison_prompts", "comparison/evaluation"),
        ("evaluate.ngram_order", "base/evaluation"),
    ],
)
def test_the_first_part_that_a_setting_decides(key: str, first: str) -> None:
    assert next(part for part in PARTS if decides(RUN, key, part)) == first


def test_a_setting_leaves_what_was_made_before_it_and_decides_what_comes_after() -> None:
    assert not decides(RUN, "rl.beta", "reward/evaluation")
    assert decides(RUN, "reward.epochs", "rl/beta_0.04/model")
    assert decides(RUN, "sft.epochs", "comparison/evaluation")
    assert not decides(RUN, "rl.beta", "rl/beta_0.04/model")
    assert not decides(RUN, "rl.extra_betas", "rl/model")
    assert not decides(RUN, "rl.seeds", "rl/seed_1/evaluation")
    assert decides(RUN, "rl.seeds", "comparison/evaluation")


def test_the_number_format_of_sampling_decides_what_is_sampled_not_what_is_trained_on_text() -> None:
    sampled = {part for part in PARTS if any(key == "evaluate.precision" for key in deciding(RUN, part))}
    assert {"rankings/records", "rl/model", "rl/checkpoints", "sft/evaluation", "base/checkpoints"} <= sampled
    assert not sampled & {"base/model", "sft/model", "sft/checkpoints", "reward/model"}


def test_what_is_measured_in_training_decides_its_checkpoints_and_not_the_model() -> None:
    """A frontier whose points were measured in two ways would be none."""
    for key in ("evaluate.frontier_prompts", "rl.evaluate_every_steps", "evaluate.seed"):
        assert key in deciding(RUN, "rl/checkpoints"), key
        assert key not in deciding(RUN, "rl/model"), key


@pytest.mark.parametrize("part", PARTS)
def test_a_part_depends_on_the_values_of_its_own_settings(part: str) -> None:
    run = replace(override(RUN, {"rl.beta": 0.2, "sft.log_every_steps": 7}), name="other")
    changed = {key for key, value in deciding(run, part).items() if deciding(RUN, part)[key] != value}
    assert changed == ({"rl.beta"} if "rl.beta" in deciding(RUN, part) else set())
