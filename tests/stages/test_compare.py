"""The comparison reads the right models, in the right order, and nothing else."""

from collections.abc import Iterable
from dataclasses import fields, replace
from itertools import chain
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.artifacts import RunFolder, read_manifest  # noqa: E402
from stategpt.config import RunConfig  # noqa: E402
from stategpt.data.corpus import Corpus, read_corpus  # noqa: E402
from stategpt.errors import DataError  # noqa: E402
from stategpt.evaluate import HeldOutComparison, comparison, diversity, held_out_prompts, statistics  # noqa: E402
from stategpt.evaluate.records import ComparisonEvaluation, read_evaluations  # noqa: E402
from stategpt.generate import Completion  # noqa: E402
from stategpt.json_records import from_json  # noqa: E402
from stategpt.model import GPT, RewardModel  # noqa: E402
from stategpt.stages import compare as stage  # noqa: E402
from stategpt.stages.compare import compare  # noqa: E402
from stategpt.stages.context import StageContext  # noqa: E402
from stategpt.stages.rl import rl  # noqa: E402


@pytest.fixture(scope="module")
def with_policies(
    recipe: RunConfig, untrained: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunConfig, RunFolder]:
    """Two seeds and a low beta over untrained models, compared."""
    run = replace(recipe, rl=replace(recipe.rl, steps=2, evaluate_every_steps=1, seeds=2, extra_betas=(0.01,)))
    folder = RunFolder(copytree(untrained, tmp_path_factory.mktemp("compared") / "run"))
    rl(run, folder)
    compare(run, folder)
    return run, folder


def test_every_seed_is_measured_and_rlhf_is_their_mean(with_policies: tuple[RunConfig, RunFolder]) -> None:
    run, folder = with_policies
    measured = read_evaluations(folder.root).comparison
    rlhf = measured.systems["rlhf"]
    seeds = rlhf.seeds
    assert measured.seeds == 2
    assert [row.stage for row in seeds] == ["rl", "rl/seed_1"]
    for key in ("score_mean", "reward_mean", "distinct_2", "length_tokens", "ended_share"):
        assert getattr(rlhf, key) == pytest.approx(np.mean([getattr(row, key) for row in seeds])), key
    for key in ("win_rate_vs_sft", "unique_share", "kl"):
        means = [getattr(row, key).mean for row in seeds]
        of_all = getattr(rlhf, key)
        assert of_all.mean == pytest.approx(np.mean(means)), key
        assert of_all.high - of_all.mean >= 0.9 * np.std(means, ddof=1) / 2**0.5, "the seed is inside"
    assert seeds[0].reward_mean != seeds[1].reward_mean
    assert measured.prompts == run.evaluate.comparison_prompts


def test_the_comparison_is_made_from_every_policy_and_every_frontier(
    with_policies: tuple[RunConfig, RunFolder],
) -> None:
    _, folder = with_policies
    parents = read_manifest(folder.evaluation("comparison")).parents
    for name in ("base", "sft", "reward", "rl", "rl/seed_1"):
        assert read_manifest(folder.model(name)).fingerprint in parents, name
    for name in ("rl", "rl/seed_1", "rl/beta_0.01"):
        assert read_manifest(folder.evaluation(name)).fingerprint in parents, name
    frontiers = read_evaluations(folder.root).comparison.frontiers
    assert list(frontiers) == ["rl", "rl/seed_1", "rl/beta_0.01"]
    assert [[point.step for point in points] for points in frontiers.values()] == [[0, 1, 2]] * 3
    assert len({str(points) for points in frontiers.values()}) == 3


def test_rlhf_minus_best_of_n_is_the_difference_of_their_rows(with_policies: tuple[RunConfig, RunFolder]) -> None:
    run, folder = with_policies
    measured = read_evaluations(folder.root).comparison
    systems = measured.systems
    assert list(measured.against_best_of) == [str(size) for size in run.evaluate.best_of] == ["2"]
    against = measured.against_best_of["2"]
    assert against.wins is not None
    assert against.reward is not None
    wins: list[Any] = [systems[name].win_rate_vs_sft for name in ("rlhf", "best_of_2")]
    rewards: list[Any] = [systems[name].reward_mean for name in ("rlhf", "best_of_2")]
    assert wins[0].mean != wins[1].mean
    assert against.wins.mean == pytest.approx(wins[0].mean - wins[1].mean)
    assert against.reward.mean == pytest.approx(rewards[0] - rewards[1], abs=1e-5)
    assert against.wins.low <= against.wins.mean <= against.wins.high
    assert against.kl_bound == systems["best_of_2"].kl_bound == pytest.approx(np.log(2) - 0.5)


def test_every_model_is_the_one_of_its_folder(
    with_policies: tuple[RunConfig, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, folder = with_policies
    compared: dict[str, torch.Tensor] = {}

    def note(
        judge: HeldOutComparison, corpus: Corpus, base: GPT, *policies: Iterable[tuple[str, GPT]]
    ) -> ComparisonEvaluation:
        models = {"sft": judge.reference, "base": base, **dict(chain(*policies))}
        compared.update({name: model.embed_tokens.weight for name, model in models.items()})
        compared["reward"] = judge.rewarder.scorer.rewards.model.gpt.embed_tokens.weight  # type: ignore[attr-defined]
        return ComparisonEvaluation()

    monkeypatch.setattr(stage, "compare_systems", note)
    monkeypatch.setattr(RunFolder, "publish_evaluation", lambda *given, **more: None)
    monkeypatch.setattr(RunFolder, "published", lambda *given: False)
    monkeypatch.setattr(RunFolder, "close", lambda *given: None)
    compare(run, folder)
    assert list(compared) == ["sft", "base", "rl", "rl/seed_1", "rl/beta_0.01", "reward"]
    for name, weight in compared.items():
        if name != "reward":
            assert torch.equal(weight, GPT.from_pretrained(folder.model(name), torch.float32).embed_tokens.weight), name
    assert torch.equal(compared["reward"], RewardModel.from_pretrained(folder.model("reward")).gpt.embed_tokens.weight)


def test_a_policy_of_another_seed_that_is_missing_is_named(
    with_policies: tuple[RunConfig, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, folder = with_policies
    monkeypatch.setattr(stage, "compare_systems", None)
    compare(run, folder)
    more = replace(run, rl=replace(run.rl, seeds=3))
    with pytest.raises(DataError, match=r"rl/seed_2/model has not been made yet"):
        compare(more, folder)


def test_intervals_of_one_policy_are_those_of_its_modules(
    with_policies: tuple[RunConfig, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With rl.seeds = 1 the mean is the first policy's, and its interval is the plain cluster bootstrap."""
    run, folder = with_policies
    published: dict[str, Any] = {}
    monkeypatch.setattr(RunFolder, "publish_evaluation", lambda *given, **more: published.update(given[-1]))
    monkeypatch.setattr(RunFolder, "published", lambda *given: False)
    monkeypatch.setattr(RunFolder, "close", lambda *given: None)
    monkeypatch.setattr(statistics, "interval_over_seeds", None)  # of win rate and KL; diversity has its own import
    compare(replace(run, rl=replace(run.rl, seeds=1)), folder)
    one = from_json(ComparisonEvaluation, published["evaluation.json"], where="test")
    rlhf = one.systems["rlhf"]
    [seed] = rlhf.seeds
    assert one.seeds == 1
    assert rlhf.stage == seed.stage == "rl"
    measures = [each.name for each in fields(seed)]
    assert all(getattr(rlhf, name) == getattr(seed, name) for name in measures)
    both = read_evaluations(folder.root).comparison.systems["rlhf"]
    assert both.seeds[0].reward_mean == seed.reward_mean, "the first seed's answers do not depend on others"


def test_policies_of_other_betas_and_the_reference_are_systems_in_every_table(
    with_policies: tuple[RunConfig, RunFolder],
) -> None:
    run, folder = with_policies
    measured = read_evaluations(folder.root).comparison
    names = ["base", "prompted_base", "sft", "best_of_2", "rlhf", "rlhf_beta_0.01", "reference"]
    assert list(measured.systems) == names
    assert set(measured.elo) == set(names)
    assert all(list(example.answers) and set(example.answers) == set(names) for example in measured.examples)
    other, rlhf, reference = (measured.systems[name] for name in ("rlhf_beta_0.01", "rlhf", "reference"))
    assert (other.stage, other.beta, rlhf.beta) == ("rl/beta_0.01", 0.01, run.rl.beta)
    for system in measured.systems.values():
        for key in ("win_rate_vs_sft", "unique_share", "score_mean", "reward_mean", "distinct_2", "length_tokens"):
            assert getattr(system, key) is not None, key
    assert other.kl is not None
    assert other.kl != rlhf.kl
    assert (reference.kl, reference.ended_share) == (None, 1.0)
    gain = measured.against_rlhf["rlhf_beta_0.01"]
    assert gain.wins is not None
    assert gain.reward is not None
    assert gain.reward.mean == pytest.approx((other.reward_mean or 0) - (rlhf.reward_mean or 0), abs=1e-5)
    assert gain.wins.mean == pytest.approx(other.win_rate_vs_sft.mean - rlhf.win_rate_vs_sft.mean)  # type: ignore[union-attr]


def test_reference_answers_are_the_texts_of_the_data_scored_and_rewarded_like_any(
    with_policies: tuple[RunConfig, RunFolder],
) -> None:
    run, folder = with_policies
    measured = read_evaluations(folder.root).comparison
    corpus = read_corpus(folder.corpus)
    prompts = {prompt.text: prompt for prompt in held_out_prompts(corpus, "test", 10_000, run.evaluate.seed)}
    context = StageContext.of(run, folder)
    scorer, rewarder = context.scorer("evaluate.scorer", corpus), context.scorer("rl.scorer", corpus)
    for example in measured.examples:
        prompt, given = prompts[example.prompt], example.answers["reference"]
        assert given.text == prompt.reference
        ids = np.append(context.tok.encode(given.text), context.control.end_of_text).astype(np.uint32)
        completion = Completion(0, 0, ids, np.zeros(len(ids), np.float32), True, "end", given.text)
        assert given.score == scorer.scores([prompt], [completion]).values[0]
        assert given.reward == pytest.approx(rewarder.scores([prompt], [completion]).values[0], abs=1e-4)


def test_distinct_2_is_of_equally_many_bigrams_and_repeated_answers_are_counted(
    with_policies: tuple[RunConfig, RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, folder = with_policies
    answered: dict[str, Any] = {}
    examples = comparison._examples
    monkeypatch.setattr(
        comparison, "_examples", lambda judge, answers: answered.update(answers) or examples(judge, answers)
    )
    measured = stage._measure(StageContext.of(run, folder))["evaluation.json"]
    budget = measured.distinct_2_bigrams
    counts = {
        name: [sum(len(diversity.ngrams(text, 2)) for text in texts) for texts in given.texts]
        for name, given in answered.items()
    }
    assert budget == min(count for of_sets in counts.values() for count in of_sets if count)
    for name, given in answered.items():
        expected = np.mean([diversity.distinct_n(texts, budget=budget) for texts in given.texts])
        assert measured.systems[name].distinct_2 == pytest.approx(expected), name
        texts = [text for of_seed in given.texts for text in of_seed]
        assert measured.systems[name].answers == len(texts)
        for repeated in measured.systems[name].repeated:
            assert repeated.count == texts.count(repeated.text) > 1
    change = measured.diversity_change.distinct_2
    assert change is not None
    assert change.mean == pytest.approx(measured.systems["rlhf"].distinct_2 - measured.systems["sft"].distinct_2)


def test_the_scorer_that_the_run_names_decides_wins(
    with_policies: tuple[RunConfig, RunFolder], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run, folder = with_policies
    (tmp_path / "rules_of_comparison.py").write_text(
        "def length(prompts, completions):\n    return [float(len(c.text)) for c in completions]\n"
    )
    monkeypatch.chdir(tmp_path)
    by_length = replace(run, evaluate=replace(run.evaluate, scorer="rules_of_comparison:length"))
    measured = stage._measure(StageContext.of(by_length, folder))["evaluation.json"]
    assert measured.scorer == "rules_of_comparison:length"
    for example in measured.examples:
        assert all(given.score == len(given.text) for given in example.answers.values())
    assert read_evaluations(folder.root).comparison.scorer == "docstring_style"
    rewards = [one.systems["rlhf"].reward_mean for one in (measured, read_evaluations(folder.root).comparison)]
    assert rewards[0] == pytest.approx(rewards[1]), "rewards are rl.scorer's"
