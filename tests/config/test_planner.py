"""The plan: exact where it can be, near the measured prototype where it estimates."""

import dataclasses
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from stategpt import recipes
from stategpt.cli.plan_text import run_text
from stategpt.config import CONTROL_TOKENS, ClassifyConfig, GPTConfig, RunConfig, override, plan
from stategpt.config.corpus import PATTERNS
from stategpt.config.planner import Assumptions, Plan, exportability
from stategpt.config.presets import Hardware
from stategpt.config.schema import setting_types
from stategpt.config.stage_names import USUAL_STAGES
from stategpt.config.toml import resolve
from stategpt.config.trainable import trainable_parameters
from stategpt.data.sources import expected_corpus
from stategpt.errors import ConfigError
from stategpt.tokenizer import Tokenizer


def planned_recipe(name: str) -> Plan:
    """The plan of a recipe with what its source expects of the corpus, as the command line prints it."""
    run = recipes.RECIPES[name]()
    return plan(run, Assumptions().expecting(expected_corpus(run.corpus)))


def test_tiny_cpu_in_numbers() -> None:
    planned = planned_recipe("tiny_cpu")
    assert (planned.parameters, planned.embedding_parameters) == (1_967_808, 786_432)
    by_name = {stage.name: stage for stage in planned.stages}
    assert by_name["pretrain"].steps == 1026
    assert by_name["pretrain"].tokens == 1_050_624
    assert by_name["reward"].steps == 100
    assert by_name["rl"].steps == 70
    assert by_name["sft"].steps == round(5700 * 35 / (8 * 128)) == 195
    assert planned.tokens_by_source == {"code": 315_187, "docstrings": 630_374, "comments": 105_062}
    assert planned.tokens_per_parameter == pytest.approx(0.534, abs=0.001)


def test_estimates_are_near_measured_seconds() -> None:
    seconds = {stage.name: stage.seconds for stage in planned_recipe("tiny_cpu").stages}
    # RL was measured at 50 steps; now it has 70.
    measured = {"pretrain": 160, "sft": 34, "reward": 20, "rl": 65 / 50 * 70}
    for name, value in measured.items():
        assert seconds[name] == pytest.approx(value, rel=0.35), name


@pytest.mark.parametrize(("name", "lowest_s", "highest_s"), [("tiny_cpu", 300, 1200), ("small_cpu", 1800, 5400)])
def test_recipes_plan_the_time_they_promise(name: str, lowest_s: int, highest_s: int) -> None:
    assert lowest_s < planned_recipe(name).seconds < highest_s


def test_totals_are_those_of_the_stages() -> None:
    planned = plan(RunConfig())
    assert planned.flops == pytest.approx(sum(stage.flops for stage in planned.stages))
    assert planned.memory_bytes == max(stage.memory_bytes for stage in planned.stages) < 3e9


def test_a_faster_machine_only_changes_seconds() -> None:
    slow, fast = plan(RunConfig()), plan(RunConfig(), Assumptions(train_flops_per_s=9e11, sample_flops_per_s=1.8e11))
    assert fast.flops == slow.flops
    trained = [(a.seconds, b.seconds) for a, b in zip(slow.stages, fast.stages, strict=True) if a.steps]
    assert all(a == pytest.approx(10 * b) for a, b in trained)


def test_second_policy_is_planned_only_when_asked_for() -> None:
    more = override(RunConfig(), {"rl.extra_betas": (0.04,)})
    assert "rl/beta_0.04" in [stage.name for stage in plan(more).stages]
    assert "rl/beta_0.04" not in [stage.name for stage in plan(RunConfig()).stages]


def test_every_policy_is_planned_and_answers_in_the_comparison() -> None:
    one, three = plan(RunConfig()), plan(override(RunConfig(), {"rl.seeds": 3}))
    assert [stage.name for stage in three.stages if stage.name.startswith("rl")] == [
        "rl", "rl/seed_1", "rl/seed_2",
    ]  # fmt: skip
    of_rl = next(stage for stage in one.stages if stage.name == "rl")
    more = three.stages[-1].seconds - one.stages[-1].seconds
    assert three.seconds - one.seconds == pytest.approx(2 * of_rl.seconds + more)
    assert more > 0
    assert set(USUAL_STAGES) == {stage.name.partition("/")[0] for stage in three.stages}
    with pytest.raises(ConfigError, match=r"rl\.seeds = 17: must be at most 16"):
        override(RunConfig(), {"rl.seeds": 17})


def test_minibatches_add_optimizer_steps_and_save_memory() -> None:
    one = next(stage for stage in plan(RunConfig()).stages if stage.name == "rl")
    four = next(stage for stage in plan(override(RunConfig(), {"rl.minibatches": 4})).stages if stage.name == "rl")
    assert four.steps == 4 * one.steps
    assert four.memory_bytes < one.memory_bytes
    small = override(RunConfig(), {"rl.micro_batch_completions": 8})
    assert next(stage for stage in plan(small).stages if stage.name == "rl").memory_bytes < four.memory_bytes


def test_the_plan_counts_the_state_of_the_chosen_optimizer() -> None:
    """SGD keeps one number a weight where AdamW keeps two."""
    run = RunConfig()
    for stage in ("pretrain", "sft", "reward", "rl"):
        sgd = override(run, {f"{stage}.optim.optimizer": "sgd"})
        before, after = ({s.name: s.memory_bytes for s in plan(r).stages} for r in (run, sgd))
        assert before[stage] - after[stage] == 4 * trainable_parameters(run, stage)
        assert {name for name in before if before[name] != after[name]} == {
            n for n in before if n.split(",")[0] == stage
        }


@pytest.mark.parametrize(
    ("qk_norm", "bias", "architecture"),
    [(True, False, "Qwen3ForCausalLM"), (False, True, "LlamaForCausalLM"), (False, False, "LlamaForCausalLM")],
)
def test_switches_decide_what_a_saved_model_loads_as(qk_norm: bool, bias: bool, architecture: str) -> None:
    assert exportability(GPTConfig(qk_norm=qk_norm, attention_bias=bias)).architecture == architecture


def test_export_says_why_not() -> None:
    refused = exportability(GPTConfig(qk_norm=True, attention_bias=True))
    assert refused.architecture == ""
    assert "turn one off" in refused.reason


@pytest.mark.parametrize("pattern", PATTERNS)
def test_planned_architecture_is_the_one_that_is_saved(pattern: str, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the model needs torch")
    from stategpt.model import GPT

    tok = Tokenizer.train(["to be or not to be"], 280, pattern=pattern, special_tokens=CONTROL_TOKENS)
    for switches in ({}, {"qk_norm": False}, {"qk_norm": False, "attention_bias": True}):
        config = GPTConfig(vocab_size=280, depth=1, width=8, mlp_width=8, **switches)
        GPT(config).save_pretrained(tmp_path, tok)
        saved = json.loads((tmp_path / "config.json").read_text())
        assert saved["architectures"] == [exportability(config).architecture]


def test_the_plan_says_that_biases_change_the_format_and_what_others_cannot_do() -> None:
    biased = exportability(GPTConfig(qk_norm=False, attention_bias=True))
    assert "in a Qwen2 folder this tokenizer would get other ids" in biased.reason
    assert "llama.cpp's converter refuses" in biased.limits
    assert exportability(GPTConfig(qk_norm=True, attention_bias=True)).limits == ""


def test_assumptions_must_be_above_zero() -> None:
    with pytest.raises(ConfigError, match=r"plan\.prompt_tokens = 0"):
        replace(Assumptions(), prompt_tokens=0)
    with pytest.raises(ConfigError, match=r"plan\.sft_pairs = -1"):
        replace(Assumptions(), sft_pairs=-1)


def test_a_corpus_nobody_looked_at_is_not_priced() -> None:
    planned = plan(RunConfig())
    assert planned.unknown == ("prepare", "sft")
    assert [stage.seconds for stage in planned.stages if not stage.known] == [0.0, 0.0]
    assert planned.assumptions.sft_pairs == 0
    told = plan(RunConfig(), Assumptions(sft_pairs=100, corpus_s=5.0))
    assert told.unknown == ()
    assert told.stages[2].tokens == 3500 == 100 * 35
    assert planned_recipe("tiny_cpu").unknown == ()
    set_by_hand = Assumptions(sft_pairs=7, corpus_s=1.0)
    assert set_by_hand.expecting({"conversations": 5.0, "seconds": 2.0}) == set_by_hand


ABSURD = (
    "", "0", "-1", "nan", "inf", "-inf", "1e308", "-1e308", "1e-308", "1e400", str(2**31), str(2**53), str(2**63 - 1),
    str(2**64), "9" * 400, "9" * 5000, "true", "[]", "[1e308]", "[" * 5000, "a=1", "a=1e308", "code=1e308,comments=1",
    "\x1b[31m", "x" * 100_000, "1,2,3", "16777216", "997", "{a.b.c = 1}",
)  # fmt: skip


def test_every_setting_takes_or_refuses_every_absurd_value_with_a_typed_error() -> None:
    """Any setting with any value is planned and printed, or refused by name; nothing hangs or raises otherwise."""
    planned, refused = 0, []
    for key in setting_types():
        for value in ABSURD:
            try:
                resolved = resolve(RunConfig(), {key: value})
                assert run_text(plan(resolved.run), resolved)
                planned += 1
            except ConfigError as error:
                refused.append(str(error))
    assert planned > 300
    assert len(refused) > 1500
    assert max(map(len, refused)) < 1500


def test_pairs_of_absurd_values_are_planned_or_refused() -> None:
    draw, keys = random.Random(0), list(setting_types())
    for _ in range(1500):
        changes = {key: draw.choice(ABSURD) for key in draw.sample(keys, draw.choice((2, 3)))}
        try:
            resolved = resolve(RunConfig(), changes)
            assert run_text(plan(resolved.run), resolved)
        except ConfigError:
            pass


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_a_number_that_is_not_finite_is_refused_in_every_setting_built_by_hand(value: float) -> None:
    tried = 0
    for name, section in vars(RunConfig()).items():
        if dataclasses.is_dataclass(section):
            for field in dataclasses.fields(section):
                if isinstance(getattr(section, field.name), float):
                    tried += 1
                    with pytest.raises(ConfigError):
                        dataclasses.replace(RunConfig(), **{name: dataclasses.replace(section, **{field.name: value})})
    assert tried == 47


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 1e-300, 1e300])
def test_assumptions_that_no_machine_has_are_refused(value: float) -> None:
    for field in dataclasses.fields(Assumptions):
        if value == 0 and field.name in ("sft_pairs", "corpus_s"):
            continue  # where 0 means: what is known of the corpus
        with pytest.raises(ConfigError, match=field.name):
            Assumptions(**{field.name: value})
    for name in ("peak_flops_per_s", "utilization"):
        with pytest.raises(ConfigError, match=name):
            Hardware(**{name: value})


def test_a_few_shot_prompt_is_as_long_as_its_examples() -> None:
    given = ClassifyConfig(
        data=("a.jsonl",), methods=("full", "few_shot"), label_counts=(4, 8, 100), shots=8, test_texts=10, seeds=2
    )
    prompted = replace(given, max_tokens=50, shot_tokens=20, template="{text} is {label}")  # 17 characters, 5 tokens

    def tokens(config: ClassifyConfig, context: int) -> int:
        model, data = replace(RunConfig().model, context_tokens=context), replace(RunConfig().data, row_tokens=32)
        run = RunConfig(model=model, data=data, stages=("prepare", "pretrain", "classify"), classify=config)
        (stage,) = [stage for stage in plan(run, Assumptions()).stages if stage.name == "classify"]
        return stage.tokens

    def prompts(context: int) -> int:
        return tokens(prompted, context) - tokens(replace(prompted, methods=("full",)), context)

    assert prompts(4096) == 10 * 2 * 2 * (55 + 8 * 25)  # two prompts a draw: of 4 and of 8 examples
    assert prompts(200) == 10 * 2 * 2 * (55 + 5 * 25)  # 5 fit, and 4 are another prompt
    assert prompts(100) == 10 * 2 * 1 * (55 + 1 * 25)  # one example fits, whatever the set
    assert prompts(52) == 10 * 2 * 1 * 52
