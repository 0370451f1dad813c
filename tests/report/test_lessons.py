"""A takeaway sentence says no more than its intervals decide."""

import math
from dataclasses import replace

import pytest

from stategpt.evaluate.records import (
    ComparisonEvaluation,
    DiversityChange,
    Evaluations,
    FrontierPoint,
    PairedGain,
    PretrainEvaluation,
    RepeatedAnswer,
    RewardEvaluation,
    SFTEvaluation,
    SourceBits,
    SystemMeasures,
)
from stategpt.evaluate.statistics import Interval
from stategpt.report import lessons


def interval(mean: float, half: float = 0.01) -> Interval:
    return Interval(mean, mean - half, mean + half)


def frontier(*points: tuple[float, float], half: float = 0.01) -> tuple[FrontierPoint, ...]:
    """Points of (reward, win rate) at a growing KL."""
    return tuple(
        FrontierPoint(step, 192, interval(2.0 * step), interval(reward, half), interval(wins, half))
        for step, (reward, wins) in enumerate(points)
    )


@pytest.mark.parametrize(
    ("reward", "wins", "verdict", "said"),
    [
        (0.9, -0.1, "seen", "Over-optimization is seen: the policy of beta 0.04 earns more reward"),
        (0.9, 0.1, "not seen", "not seen here"),
        (0.9, 0.0, "undecided", "not decided"),
        (0.0, -0.1, "undecided", "not decided"),
        (-0.9, -0.1, "undecided", "not decided"),
    ],
)
def test_over_optimization_between_two_betas(reward: float, wins: float, verdict: str, said: str) -> None:
    gain = PairedGain(wins=interval(wins), reward=interval(reward))
    lesson = lessons.over_optimization(ComparisonEvaluation(against_rlhf={"rlhf_beta_0.04": gain}))
    assert lesson is not None
    assert lesson.verdict == verdict
    assert said in lesson.text


@pytest.mark.parametrize(
    ("points", "half", "verdict"),
    [
        (((0.0, 0.5), (1.0, 0.65), (2.0, 0.55)), 0.01, "seen"),
        (((0.0, 0.5), (1.0, 0.65), (2.0, 0.55)), 0.08, "undecided"),
        (((0.0, 0.5), (1.0, 0.6), (2.0, 0.65)), 0.01, "not seen"),
        (((0.0, 0.5), (1.0, 0.66), (2.0, 0.65)), 0.01, "not seen"),
        (((0.0, 0.5), (0.0, 0.5), (0.0, 0.5)), 0.01, "undecided"),
        (((0.0, 0.5), (1.0, 0.65), (1.0, 0.55)), 0.01, "undecided"),
    ],
)
def test_over_optimization_along_the_training_of_a_policy(
    points: tuple[tuple[float, float], ...], half: float, verdict: str
) -> None:
    lesson = lessons.over_optimization(ComparisonEvaluation(frontiers={"rl": frontier(*points, half=half)}))
    assert lesson is not None
    assert lesson.verdict == verdict
    assert ("is seen" in lesson.text) == (verdict == "seen")


def test_over_optimization_is_seen_if_any_policy_shows_it_and_not_said_without_data() -> None:
    gain = PairedGain(wins=interval(0.1), reward=interval(0.9))
    falls = frontier((0.0, 0.5), (1.0, 0.65), (2.0, 0.55))
    both = ComparisonEvaluation(against_rlhf={"rlhf_beta_0.04": gain}, frontiers={"rl": falls})
    found = lessons.over_optimization(both)
    assert found is not None
    assert found.verdict == "seen"
    assert lessons.over_optimization(ComparisonEvaluation()) is None
    assert lessons.over_optimization(ComparisonEvaluation(frontiers={"rl": frontier((0.0, 0.5))})) is None


def test_judging_is_easier_only_where_both_intervals_say_so() -> None:
    def told(accuracy: float, wins: float) -> lessons.Lesson:
        systems = {"best_of_2": SystemMeasures(), "best_of_16": SystemMeasures(win_rate_vs_sft=interval(wins))}
        lesson = lessons.judging(
            RewardEvaluation(pair_accuracy=interval(accuracy)), ComparisonEvaluation(systems=systems)
        )
        assert lesson is not None
        return lesson

    assert told(0.8, 0.65).verdict == "seen"
    assert "among 16 samples" in told(0.8, 0.65).text
    for undecided in (told(0.505, 0.65), told(0.8, 0.505)):
        assert undecided.verdict == "undecided"
        assert "is not decided" in undecided.text
    assert lessons.judging(RewardEvaluation(), ComparisonEvaluation()) is None


def test_variety_names_the_least_varied_policy_and_its_most_frequent_answer() -> None:
    systems = {
        "sft": SystemMeasures(unique_share=interval(0.95)),
        "rlhf": SystemMeasures(unique_share=interval(0.9)),
        "rlhf_beta_0.04": SystemMeasures(unique_share=interval(0.5), repeated=(RepeatedAnswer("a", 90),)),
    }
    found = lessons.variety(ComparisonEvaluation(systems=systems))
    assert found is not None
    assert found.verdict == "seen"
    assert "50.0 % (49.0 to 51.0 %) of those of RLHF, beta 0.04" in found.text
    assert "90 times" in found.text
    same = {name: replace(row, unique_share=interval(0.95)) for name, row in systems.items()}
    unchanged = DiversityChange(unique_share=interval(0.0))
    kept = lessons.variety(ComparisonEvaluation(systems=same, diversity_change=unchanged))
    assert kept is not None
    assert kept.verdict == "not seen"
    assert lessons.variety(ComparisonEvaluation()) is None


def test_the_reward_models_opinion_of_people_is_compared_with_the_scorers_by_intervals() -> None:
    def told(sft: float, wins: float, spread: float = 0.1) -> lessons.Lesson:
        around = [-spread, spread] * 50
        rewards = {"sft": tuple(sft + value for value in around), "demonstrations": tuple(around)}
        systems = {"reference": SystemMeasures(win_rate_vs_sft=interval(wins))}
        lesson = lessons.imitation(RewardEvaluation(rewards=rewards), ComparisonEvaluation(systems=systems))
        assert lesson is not None
        return lesson

    assert told(1.1, 0.6).verdict == "seen"
    assert "likes the imitation better" in told(1.1, 0.6).text
    assert told(-1.1, 0.6).verdict == "not seen"
    assert "both prefer people's answers" in told(-1.1, 0.6).text
    assert "both prefer SFT's answers" in told(1.1, 0.4).text
    assert told(1.1, 0.505).verdict == told(0.01, 0.6).verdict == told(0.1, 0.6, spread=2.0).verdict == "undecided"
    assert lessons.imitation(RewardEvaluation(), ComparisonEvaluation()) is None


def test_pretraining_and_fine_tuning_follow_their_intervals() -> None:
    def base(mean: float, half: float = 0.01) -> str:
        mixed = SourceBits(difference=interval(mean, half))
        lesson = lessons.pretraining(Evaluations(base=PretrainEvaluation(mixed=mixed)))
        assert lesson is not None
        return lesson.verdict

    assert (base(-0.2), base(0.2), base(0.0), base(-0.2, math.inf)) == ("seen", "not seen", "undecided", "undecided")

    def sft(mean: float) -> str:
        measured = SFTEvaluation(ended_share=interval(0.99), difference_to_base=interval(mean))
        lesson = lessons.fine_tuning(Evaluations(sft=measured))
        assert lesson is not None
        return lesson.text

    assert "and they are nearer" in sft(0.1)
    assert "is not decided" in sft(0.005)
    assert lessons.pretraining(Evaluations()) is lessons.fine_tuning(Evaluations()) is None
