"""The dial keeps a recipe's proportions; what is set beside it stays as set."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stategpt import recipes
from stategpt.config import RunConfig, override
from stategpt.config.dial import derive, resolved_optim
from stategpt.errors import ConfigError


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_a_recipes_own_depth_changes_nothing(name: str) -> None:
    run = recipes.RECIPES[name]()
    assert derive(run, {"model.depth": run.model.depth}) == {}


def test_depth_six_from_tiny_cpu() -> None:
    assert derive(recipes.tiny_cpu(), {"model.depth": 6}) == {
        "model.width": 384,
        "model.heads": 6,
        "model.kv_heads": 2,
        "model.mlp_width": 1024,
        "pretrain.tokens": 5_877_910,
        "pretrain.batch_rows": 16,
        "pretrain.optim.learning_rate": 0.002,
        "sft.optim.learning_rate": 0.00075,
        "reward.optim.learning_rate": 0.001,
        "rl.optim.learning_rate": 0.0002,
    }


@given(st.sampled_from(sorted(recipes.RECIPES)), st.integers(1, 96))
def test_every_depth_gives_a_valid_run_with_the_recipes_proportions(name: str, depth: int) -> None:
    base = recipes.RECIPES[name]()
    run = override(base, {"model.depth": depth})
    assert run.model.depth == depth
    exact_width = base.model.width * depth / base.model.depth
    assert abs(run.model.width - exact_width) <= base.model.head_dim / 2
    assert run.model.query_width == run.model.width
    sharing, recipe_sharing = run.model.heads / run.model.kv_heads, base.model.heads / base.model.kv_heads
    assert sharing >= recipe_sharing or run.model.kv_heads == 1
    ratio = run.pretrain.tokens / run.model.parameters
    assert ratio == pytest.approx(base.pretrain.tokens / base.model.parameters, rel=1e-3)
    scaled = base.pretrain.optim.learning_rate * base.model.width / run.model.width
    assert run.pretrain.optim.learning_rate == pytest.approx(scaled, rel=0.01)


@given(st.integers(1, 48), st.sampled_from([64, 320, 1024]), st.integers(1, 10**9), st.integers(1, 100))
def test_what_is_set_beside_the_dial_stays(depth: int, width: int, tokens: int, rows: int) -> None:
    given_ = {
        "model.depth": depth,
        "model.width": width,
        "pretrain.tokens": tokens,
        "pretrain.batch_rows": rows,
        "rl.optim.learning_rate": 1e-5,
    }
    run = override(recipes.tiny_cpu(), given_)
    assert (run.model.width, run.pretrain.tokens, run.pretrain.batch_rows) == (width, tokens, rows)
    assert run.rl.optim.learning_rate == 1e-5
    assert run.pretrain.batch_rows % run.pretrain.micro_batch_rows == 0
    assert run.sft.optim.learning_rate == pytest.approx(1.5e-3 * 192 / width, rel=0.01)


def test_dial_leads_near_the_learning_rates_of_the_talks_tables() -> None:
    at_175b = override(recipes.tiny_cpu(), {"model.depth": 192}).pretrain.optim.learning_rate
    at_7b = override(recipes.tiny_cpu(), {"model.depth": 64}).pretrain.optim.learning_rate
    assert at_175b == pytest.approx(6e-5, rel=0.1)
    assert 0.5 < at_7b / 3e-4 < 2


def test_vocabularies_follow_each_other_and_contradiction_is_refused() -> None:
    assert override(recipes.tiny_cpu(), {"model.vocab_size": 1024}).tokenizer.vocab_size == 1024
    with pytest.raises(ConfigError, match=r"must equal tokenizer\.vocab_size = 1000"):
        override(recipes.tiny_cpu(), {"model.vocab_size": 1024, "tokenizer.vocab_size": 1000})


def test_micro_batch_stays_a_divisor() -> None:
    assert override(recipes.tiny_cpu(), {"pretrain.batch_rows": 12}).pretrain.micro_batch_rows == 6
    assert override(recipes.tiny_cpu(), {"pretrain.batch_rows": 32}).pretrain.micro_batch_rows == 8


def test_depth_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.depth = 0: must be above 0"):
        override(recipes.tiny_cpu(), {"model.depth": "0"})


def test_a_learning_rate_of_zero_is_that_of_the_width() -> None:
    tiny = recipes.tiny_cpu()
    for width, heads in ((192, 3), (384, 6)):
        run = override(RunConfig(), {"model.width": width, "model.heads": heads, "model.kv_heads": 1})
        for stage in ("pretrain", "sft", "reward", "rl"):
            tuned = getattr(tiny, stage).optim.learning_rate
            assert resolved_optim(run, stage).learning_rate == pytest.approx(tuned * 192 / width, rel=0.01)
    assert resolved_optim(tiny, "sft") == tiny.sft.optim


def test_reward_and_rl_on_a_start_model_learn_at_a_twentieth() -> None:
    for lora in ({}, {"lora.rank": 8, "lora.alpha": 16.0}):
        fresh = override(RunConfig(), lora)
        started = replace(fresh, start=replace(fresh.start, model="org/name"))
        for stage, factor in (("sft", 1), ("classify", 1), ("reward", 0.05), ("rl", 0.05)):
            rates = [resolved_optim(run, stage).learning_rate for run in (fresh, started)]
            assert rates[1] == pytest.approx(factor * rates[0], rel=0.01)
    reward = replace(started.reward, optim=replace(started.reward.optim, learning_rate=3e-4))
    assert resolved_optim(replace(started, reward=reward), "reward").learning_rate == 3e-4
