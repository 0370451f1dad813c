"""The judge: other prompt groups than the reward model's, and never the reward that RL maximized."""

from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.artifacts import RunFolder, read_manifest  # noqa: E402
from stategpt.config import RLConfig, RunConfig  # noqa: E402
from stategpt.config.parts import parts_of  # noqa: E402
from stategpt.data import ChatTemplate, Rankings  # noqa: E402
from stategpt.data.corpus import Corpus, write_corpus  # noqa: E402
from stategpt.data.groups import group_of  # noqa: E402
from stategpt.data.prompts import prompts_of  # noqa: E402
from stategpt.data.records import Message, Prompt  # noqa: E402
from stategpt.errors import DataError, RankingError  # noqa: E402
from stategpt.evaluate.comparison import wins_by  # noqa: E402
from stategpt.evaluate.records import ComparisonEvaluation, read_evaluations  # noqa: E402
from stategpt.report.run_files import RunFiles  # noqa: E402
from stategpt.report.views.comparison import comparison as comparison_view  # noqa: E402
from stategpt.stages.compare import compare  # noqa: E402
from stategpt.stages.context import StageContext  # noqa: E402
from stategpt.stages.fingerprints import part_fingerprint  # noqa: E402
from stategpt.stages.people import (  # noqa: E402
    judge_groups,
    people_records,
    prompts_apart_from_judge,
    ranked_by_people,
)
from stategpt.stages.rankings import rankings  # noqa: E402
from stategpt.stages.requirements import _require_prompts_apart  # noqa: E402
from stategpt.stages.reward import judge_seed, reward  # noqa: E402
from stategpt.stages.rl import _train, rl  # noqa: E402
from stategpt.stages.rl.advantages import completion_weights  # noqa: E402
from stategpt.train.losses import leave_one_out_advantages  # noqa: E402

RANKED = Rankings.read(
    [
        {
            "id": f"{n}",
            "prompt": f"ask {n // 2}",
            "completions": [{"text": f"a{n}", "rank": 1}, {"text": "b", "rank": 2}],
        }
        for n in range(20)
    ]
).groups


def test_the_judge_learns_from_other_groups_whatever_the_order() -> None:
    names = {group_of(group) for group in RANKED}
    chosen = judge_groups(RANKED, 0.5, 3)
    assert len(names) == 10
    assert len(chosen) == 5
    assert chosen < names
    assert judge_groups(list(reversed(RANKED)), 0.5, 3) == chosen
    assert judge_groups(RANKED, 0.5, 4) != chosen
    assert len(judge_groups(RANKED, 0.999, 3)) == 9, "one is left for the reward model"
    with pytest.raises(RankingError, match=r"it takes two.*evaluate\.scorer"):
        judge_groups(RANKED[:2], 0.5, 3)


def test_only_people_without_a_scorer_need_a_judge() -> None:
    people = replace(RunConfig(), rankings=replace(RunConfig().rankings, data=("hh.jsonl",)))
    assert people.trains_judge
    assert wins_by(people) == "judge"
    assert "reward/judge/model" in parts_of(people)
    scored = replace(people, evaluate=replace(people.evaluate, scorer="exact_match"))
    assert not scored.trains_judge
    assert wins_by(scored) == "exact_match"
    assert not RunConfig().trains_judge
    assert judge_seed(0) != 0


def test_wins_by_what_rl_maximized_are_no_claim() -> None:
    assert not ComparisonEvaluation(scorer="reward_model", optimized="reward_model").is_independent
    assert ComparisonEvaluation(scorer="judge", optimized="reward_model").is_independent


def test_a_completion_without_a_score_is_in_no_baseline_and_has_no_weight() -> None:
    nan = float("nan")
    rewards, kl = torch.tensor([1.0, 3.0, nan, 2.0, 2.0, nan, nan, nan, 5.0]), torch.zeros(9)
    weights, _ = completion_weights(rewards, kl, RLConfig(completions=3, beta=0.0))
    advantages = np.array([-2.0, 2.0, 0, 0, 0, 0, 0, 0, 0])
    scored = ~np.isnan(rewards.numpy())
    expected = advantages / np.sqrt((advantages[scored] ** 2).mean())
    assert weights.tolist() == pytest.approx(expected.tolist())


def test_the_baseline_is_the_mean_of_the_others_that_have_a_reward() -> None:
    nan = float("nan")
    advantages = leave_one_out_advantages(torch.tensor([nan, 1.0, 3.0, 8.0, nan, 2.0, 6.0, nan]), 4)
    assert advantages.tolist() == pytest.approx([0.0, 1 - 11 / 2, 3 - 9 / 2, 8 - 4 / 2, 0.0, -4.0, 4.0, 0.0])


def test_equal_rewards_beside_a_failed_one_have_no_weight_at_all() -> None:
    rewards = torch.tensor([0.1, 0.1, 0.1, 0.1, float("nan")] * 3)
    kl = torch.tensor([0.3, 1.7, 0.9, 4.1, 2.0] * 3)
    beta = 1e-9  # the penalty is lost in rounding, and what is left of it is no signal
    weights, share = completion_weights(rewards, kl, RLConfig(completions=5, beta=beta))
    assert weights.tolist() == [0.0] * 15
    assert share == 1.0


def test_an_edited_scorer_makes_another_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rules = tmp_path / "edited_rules.py"
    rules.write_text("def score(prompts, completions):\n    return [1.0 for _ in completions]\n")
    run = replace(RunConfig(), rl=replace(RunConfig().rl, scorer="edited_rules:score"))
    before = part_fingerprint(run, "rl/model")
    assert part_fingerprint(run, "rl/model") == before
    rules.write_text("def score(prompts, completions):\n    return [2.0 for _ in completions]\n")
    assert part_fingerprint(run, "rl/model") != before


def test_the_records_of_the_judge_share_no_group_with_the_reward_model() -> None:
    corpus = Corpus(
        {}, {"train": [], "validation": [], "test": []}, {}, {"train": list(RANKED), "test": list(RANKED[:2])}
    )
    people = replace(RunConfig(), rankings=replace(RunConfig().rankings, data=("hh.jsonl",)))
    records = people_records(corpus, people)
    groups = {name: {row["meta"]["group"] for row in rows} for name, rows in records.items()}
    assert not groups["train"] & groups["judge"]
    assert groups["train"] | groups["judge"] == {group_of(group) for group in RANKED}
    assert len(records["train"]) + len(records["judge"]) == len(RANKED)
    scored = replace(people, evaluate=replace(people.evaluate, scorer="exact_match"))
    assert len(people_records(corpus, scored)["train"]) == len(RANKED), "without a judge nothing is set apart"


def test_rl_trains_on_no_prompt_of_the_judges_groups() -> None:
    corpus = Corpus(
        {}, {"train": [], "validation": [], "test": []}, {}, {"train": list(RANKED), "test": list(RANKED[:2])}
    )
    people = replace(RunConfig(), rankings=replace(RunConfig().rankings, data=("hh.jsonl",)))
    asked = prompts_of(corpus, "rl", "train")
    kept = prompts_apart_from_judge(asked, corpus, people)
    judged = {group_of(group) for group in ranked_by_people(corpus, people)["judge"]}
    assert judged
    assert {group_of(prompt) for prompt in asked} - {group_of(prompt) for prompt in kept} == judged
    scored = replace(people, evaluate=replace(people.evaluate, scorer="exact_match"))
    assert prompts_apart_from_judge(asked, corpus, scored) == asked, "without a judge all are asked"
    only = [prompt for prompt in asked if group_of(prompt) in judged]
    with pytest.raises(
        DataError, match=r"each of the \d+ training prompts of RL .*judge_share, or set evaluate\.scorer"
    ):
        _require_prompts_apart(people, replace(corpus, prompts={"rl": {"train": only, "validation": [], "test": []}}))


@pytest.fixture(scope="module")
def judged(
    recipe: RunConfig, corpus: Corpus, untrained: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunConfig, RunFolder]:
    """A run of people's rankings, with tiny models, up to its comparison."""
    folder = RunFolder(tmp_path_factory.mktemp("judged") / "run")
    for name in ("tokenizer", "base", "sft"):
        copytree(untrained / name, folder.root / name)
    write_corpus(
        replace(corpus, rankings={"train": list(RANKED), "validation": [], "test": list(RANKED[:4])}), folder.corpus
    )
    run = replace(
        recipe,
        rankings=replace(recipe.rankings, data=("people.jsonl",), scorer=""),
        rl=replace(recipe.rl, steps=1, evaluate_every_steps=1, seeds=1, extra_betas=()),
        evaluate=replace(recipe.evaluate, scorer=""),
    )
    for stage in (rankings, reward, rl, compare):
        stage(run, folder)
    return run, folder


def test_wins_are_the_judges_and_rewards_what_rl_maximized(judged: tuple[RunConfig, RunFolder]) -> None:
    run, folder = judged
    found = read_evaluations(folder.root)
    assert (found.comparison.scorer, found.comparison.optimized) == ("judge", "reward_model")
    assert found.rankings.judge_groups
    assert found.judge.pairs == found.reward.pairs == 4
    models = {name: read_manifest(folder.model(name)).fingerprint for name in ("reward", "reward/judge")}
    assert len(set(models.values())) == 2
    assert set(models.values()) <= set(read_manifest(folder.evaluation("comparison")).parents)
    context = StageContext.of(run, folder)
    judge, own = (context.scorer(name, context.corpus()) for name in ("evaluate.scorer", "rl.scorer"))
    weights = [each.scorer.rewards.model.head.weight for each in (judge, own)]  # type: ignore[attr-defined]
    assert not torch.equal(*weights)
    assert set(found.comparison.elo) == set(found.comparison.systems)


def test_the_policy_was_trained_on_other_groups_than_the_judge(
    judged: tuple[RunConfig, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, folder = judged
    prompts = [Prompt((Message("user", f"ask {n}"),)) for n in range(10)]
    context = StageContext.of(run, folder)
    corpus = replace(context.corpus(), prompts={"rl": {"train": prompts, "validation": [], "test": []}})
    asked: list[Any] = []
    monkeypatch.setattr(StageContext, "corpus", lambda self: corpus)
    plain = ChatTemplate.prompt
    monkeypatch.setattr(
        ChatTemplate, "prompt", lambda self, prompt, **given: asked.append(prompt) or plain(self, prompt, **given)
    )
    monkeypatch.setattr("stategpt.stages.rl.fit", lambda *given, **named: None)
    _train(context, run.rl, "rl", "", 0)
    groups = {group_of(prompt) for prompt in asked}
    records = Rankings.read(folder.root / "rankings" / "records" / "judge.jsonl").groups
    assert groups
    assert not groups & {group_of(group) for group in records}


def test_the_report_names_the_judge(judged: tuple[RunConfig, RunFolder]) -> None:
    said = comparison_view(RunFiles(judged[1].root))["judge"]
    assert "a second reward model from other groups of prompts" in said
    assert "no measure of success by itself" in said
