"""The comparison reads the right models, in the right order, and nothing else."""

from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.artifacts import RunFolder, read_manifest  # noqa: E402
from stategpt.config import RunConfig  # noqa: E402
from stategpt.data.corpus import Corpus  # noqa: E402
from stategpt.errors import DataError  # noqa: E402
from stategpt.evaluate import HeldOutComparison, statistics  # noqa: E402
from stategpt.evaluate.records import ComparisonEvaluation, read_evaluations  # noqa: E402
from stategpt.json_records import from_json  # noqa: E402
from stategpt.model import GPT, RewardModel  # noqa: E402
from stategpt.stages import compare as stage  # noqa: E402
from stategpt.stages.compare import compare  # noqa: E402
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
        judge: HeldOutComparison, corpus: Corpus, base: GPT, policies: Iterable[tuple[str, GPT]]
    ) -> ComparisonEvaluation:
        models = {"sft": judge.reference, "base": base, **dict(policies)}
        compared.update({name: model.embed_tokens.weight for name, model in models.items()})
        compared["reward"] = judge.scorer.model.gpt.embed_tokens.weight
        return ComparisonEvaluation()

    monkeypatch.setattr(stage, "compare_systems", note)
    monkeypatch.setattr(RunFolder, "publish_evaluation", lambda *given, **more: None)
    monkeypatch.setattr(RunFolder, "published", lambda *given: False)
    monkeypatch.setattr(RunFolder, "close", lambda *given: None)
    compare(run, folder)
    assert list(compared) == ["sft", "base", "rl", "rl/seed_1", "reward"]
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
    measures = [each.name for each in fields(seed) if each.name != "stage"]
    assert all(getattr(rlhf, name) == getattr(seed, name) for name in measures)
    both = read_evaluations(folder.root).comparison.systems["rlhf"]
    assert both.seeds[0].reward_mean == seed.reward_mean, "the first seed's answers do not depend on others"
