"""Leave one group out: what a fold trains on, what it is measured on, and what the intervals resample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")

from stategpt.config import RunConfig  # noqa: E402
from stategpt.data import Rankings  # noqa: E402
from stategpt.errors import RankingError  # noqa: E402
from stategpt.evaluate.statistics import cluster_bootstrap  # noqa: E402
from stategpt.model import GPT, RewardModel  # noqa: E402
from stategpt.stages import leave_one_out as module  # noqa: E402
from stategpt.stages.leave_one_out import leave_one_out  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402
from stategpt.train.reward import RewardTask  # noqa: E402


def ranked(question: str, *pairs: Sequence[str], group: str = "") -> list[dict[str, object]]:
    """Records of one prompt: (winner, loser) each."""
    return [
        {
            "id": f"{question}-{number}",
            "prompt": question,
            "completions": [{"text": winner, "rank": 1}, {"text": loser, "rank": 1 + (winner != loser)}],
            **({"group": group} if group else {}),
        }
        for number, (winner, loser) in enumerate(pairs)
    ]


RECORDS = [
    *ranked("first?", ("Return the file.", "no"), ("Return the line.", "file"), ("Return the name.", "it")),
    *ranked("second?", ("Read the list.", "no"), ("same", "same")),
    *ranked("third?", ("no", "Write all the values.")),
]


class Seen:
    """The groups of every training, by the text of their prompts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.prompts: list[set[str]] = []
        before = RewardTask.__init__

        def noting(task: RewardTask, config: object, model: object, rankings: Rankings, *given: object, **more: object):
            self.prompts.append({str(group.prompt) for group in rankings.groups})
            before(task, config, model, rankings, *given, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(RewardTask, "__init__", noting)


def test_a_fold_learns_from_all_other_groups_and_is_measured_on_its_own(
    recipe: RunConfig, model: GPT, tok: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen(monkeypatch)
    found = leave_one_out(recipe, model, tok, Rankings.read(RECORDS))
    assert seen.prompts == [{"second?", "third?"}, {"first?", "third?"}, {"first?", "second?"}]
    assert [(fold.question, fold.pairs) for fold in found.folds] == [("first?", 3), ("second?", 1), ("third?", 1)]
    weighted = sum(fold.accuracy * fold.pairs for fold in found.folds) / 5
    assert found.accuracy.mean == pytest.approx(weighted)


@pytest.fixture
def by_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of training: the longer completion is better where "first?" was learned from, else the shorter."""

    def of_length(run: RunConfig, policy: GPT, tok: Tokenizer, chat: object, rankings: Rankings) -> RewardModel:
        sign = 1.0 if "first?" in {str(group.prompt) for group in rankings.groups} else -1.0
        made = RewardModel(policy).eval()
        monkeypatch.setattr(made, "scores", lambda tokens, layout, index: sign * layout.position[index].float())
        return made

    monkeypatch.setattr(module, "_trained", of_length)


@pytest.mark.usefixtures("by_length")
def test_the_accuracy_is_of_the_model_that_was_trained_without_the_group(
    recipe: RunConfig, model: GPT, tok: Tokenizer
) -> None:
    found = leave_one_out(recipe, model, tok, Rankings.read(RECORDS))
    assert [fold.accuracy for fold in found.folds] == [0.0, 1.0, 0.0]
    assert found.accuracy.mean == pytest.approx(1 / 5)


def test_the_length_baseline_is_fitted_on_the_other_groups(recipe: RunConfig, model: GPT, tok: Tokenizer) -> None:
    found = leave_one_out(recipe, model, tok, Rankings.read(RECORDS))
    # Without "third?" longer always wins, so it is wrong on "third?"; on the others most pairs still say longer.
    assert [fold.length_only for fold in found.folds][2] == 0.0
    assert found.length_margin.mean == pytest.approx(found.accuracy.mean - found.length_only.mean)


def test_a_model_learns_what_the_groups_share(recipe: RunConfig, model: GPT, tok: Tokenizer) -> None:
    run = replace(recipe, reward=replace(recipe.reward, epochs=12.0, checkpoint_every_steps=100))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pairs = [(f"Return the {thing}.", f"{thing} {thing}") for thing in ("file", "line", "name", "list")]
    records = [record for number in range(4) for record in ranked(f"what of {number}?", *pairs)]
    found = leave_one_out(run, model, tok, Rankings.read(records))
    assert found.accuracy.mean == 1.0
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items()), "given model kept"


@pytest.mark.usefixtures("by_length")
def test_intervals_resample_groups(recipe: RunConfig, model: GPT, tok: Tokenizer) -> None:
    found = leave_one_out(recipe, model, tok, Rankings.read(RECORDS))
    points, groups = [0.0, 0.0, 0.0, 1.0, 0.0], [0, 0, 0, 1, 2]
    chosen = recipe.evaluate
    assert found.accuracy == cluster_bootstrap(points, groups, chosen.seed, chosen.bootstrap_resamples)
    assert found.accuracy != cluster_bootstrap(points, range(5), chosen.seed, chosen.bootstrap_resamples)


def test_records_with_a_group_are_left_out_together(recipe: RunConfig, model: GPT, tok: Tokenizer) -> None:
    records = [
        *ranked("one?", ("Return the file.", "no"), group="a"),
        *ranked("two?", ("Return the line.", "no"), group="a"),
        *ranked("three?", ("Return the name.", "no"), group="b"),
    ]
    found = leave_one_out(recipe, model, tok, Rankings.read(records))
    assert [(fold.group, fold.pairs) for fold in found.folds] == [("a", 2), ("b", 1)]


def test_answers_that_do_not_fit_are_counted(recipe: RunConfig, model: GPT, tok: Tokenizer) -> None:
    long = ranked("second?", ("file " * recipe.model.context_tokens, "no"))
    records = [
        *RECORDS[:3],
        *ranked("second?", ("Read it.", "no"), ("Read the file.", "so")),
        {**long[0], "id": "long"},
    ]
    found = leave_one_out(recipe, model, tok, Rankings.read(records))
    assert [(fold.pairs, fold.left_out) for fold in found.folds] == [(3, 0), (2, 1)]


def test_one_group_cannot_be_left_out(recipe: RunConfig, model: GPT, tok: Tokenizer) -> None:
    with pytest.raises(RankingError, match=r"1 groups of 3 have a clear pair; leaving one out takes two"):
        leave_one_out(recipe, model, tok, Rankings.read(RECORDS[:3]))


def test_what_cannot_be_measured_is_an_error_before_training(
    recipe: RunConfig, model: GPT, tok: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen(monkeypatch)
    records = [*RECORDS[:3], *ranked("second?", ("file " * recipe.model.context_tokens, "no"))]
    with pytest.raises(RankingError, match="no group fits a batch"):
        leave_one_out(recipe, model, tok, Rankings.read(records))
    assert seen.prompts == []
