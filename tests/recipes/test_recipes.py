"""Recipes: the numbers a recipe stands for, and that they are what the command line knows."""

from dataclasses import replace

import pytest

from stategpt import recipes
from stategpt.config import GatesConfig


def test_names_are_those_of_the_functions_and_runs() -> None:
    for name, recipe in recipes.RECIPES.items():
        assert recipe.__name__ == recipe().name == name


def test_tiny_cpu_has_the_measured_numbers() -> None:
    run = recipes.tiny_cpu()
    assert (run.rankings.train_prompts, run.rankings.completions, run.rankings.tie_below) == (1600, 4, 2)
    assert (run.rl.steps, run.rl.prompts_per_step, run.rl.completions, run.rl.beta) == (70, 24, 8, 0.5)
    assert (run.sampling.temperature, run.sampling.max_tokens) == (0.7, 48)
    rates = [stage.optim.learning_rate for stage in (run.pretrain, run.sft, run.reward, run.rl)]
    assert rates == [4e-3, 1.5e-3, 2e-3, 4e-4]


@pytest.mark.parametrize("name", ["tiny_cpu", "small_cpu"])
def test_gated_recipes_measure_at_least_what_their_gates_ask_for(name: str) -> None:
    run = recipes.RECIPES[name]()
    assert run.evaluate.sft_samples >= run.gates.sft_samples
    assert run.evaluate.comparison_prompts >= run.gates.rl_prompts


def test_small_cpu_gates_relevance_and_is_larger() -> None:
    tiny, small = recipes.tiny_cpu(), recipes.small_cpu()
    assert "relevance" in small.gates.required
    assert replace(small.gates, required=tiny.gates.required) == tiny.gates
    assert replace(tiny.gates, required=(), rl_best_of_margin=GatesConfig().rl_best_of_margin) == GatesConfig()
    assert small.model.parameters > 3 * tiny.model.parameters
    assert small.pretrain.tokens > 4 * tiny.pretrain.tokens


def test_test_cpu_reads_given_folders_and_gates_nothing() -> None:
    run = recipes.smoke_cpu("a", "b")
    assert (run.corpus.source, run.corpus.paths) == ("python_library", ("a", "b"))
    assert recipes.smoke_cpu().corpus.paths == ()
    assert run.gates.required == ()
    assert 30_000 < run.model.parameters < 60_000
    assert run.pretrain_steps == 12
