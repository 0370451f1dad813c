"""The sentence of each section that a reader should keep: what this run shows, as far as its intervals decide it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import Literal

from stategpt.evaluate.records import (
    ClassifyEvaluation,
    ComparisonEvaluation,
    Evaluations,
    FrontierPoint,
    MethodGain,
    PairedGain,
    RewardEvaluation,
    SystemMeasures,
)
from stategpt.evaluate.statistics import Interval
from stategpt.report.wording import ALL_RAN, Names, count, fixed, percent, signed, span

Verdict = Literal["seen", "not seen", "undecided"]


@dataclass(frozen=True)
class Lesson:
    """A takeaway sentence."""

    text: str
    """What the run shows."""
    verdict: Verdict
    """Whether the effect that the section is about is there."""


def sign_of(interval: Interval | None, zero: float = 0.0) -> int:
    """1 or -1 where the whole interval is above or below `zero`, else 0."""
    if interval is None:
        return 0
    return (interval.low > zero) - (interval.high < zero)


def pretraining(evaluations: Evaluations) -> Lesson | None:
    """Whether the base model predicts held-out text better than counting does."""
    mixed = evaluations.base.mixed
    if mixed.difference is None:
        return None
    measured = f"{signed(mixed.difference.mean)} bits per byte, {span(mixed.difference)}"
    if mixed.start_bits_per_byte is not None and mixed.bits_per_byte is not None:
        measured += (
            f"; the start model, which had read other text before, needed {fixed(mixed.start_bits_per_byte)} bits per "
            f"byte on these documents, and after pretraining {fixed(mixed.bits_per_byte)}"
        )
    sign = sign_of(mixed.difference)
    if sign < 0:
        return Lesson(
            f"Predicting the next token teaches more than counting: the base model needs fewer bits than an n-gram "
            f"model that read the same bytes ({measured}).",
            "seen",
        )
    if sign > 0:
        return Lesson(
            f"This base model is still worse than an n-gram model that read the same bytes ({measured}): it needs "
            "more tokens.",
            "not seen",
        )
    return Lesson(
        f"The base model and an n-gram model that read the same bytes cannot be told apart here ({measured}).",
        "undecided",
    )


@dataclass(frozen=True)
class Points:
    """A difference of shares in percentage points."""

    mean: str
    """As in "+4.2"."""
    span: str
    """As in "1.3 to 7.1"."""


def points(difference: Interval | None) -> Points:
    """A difference of shares in percentage points; dashes where nothing was measured."""
    if difference is None:
        return Points("–", "")
    low, high = (fixed(100 * bound, 1) for bound in (difference.low, difference.high))
    return Points(signed(100 * difference.mean, 1), f"{low} to {high}")


def few_labels(found: ClassifyEvaluation) -> Lesson | None:
    """Whether a fine-tuned pretrained model needs fewer labels than the others: only where the interval excludes 0."""
    said, signs = [], []
    for other, label in _AGAINST.items():
        rows = [row for row in found.gains if row.other == other and row.accuracy is not None]
        if not rows:
            continue
        signs.append({sign_of(row.accuracy) for row in rows})
        parts = [_with_labels(rows, sign, words) for sign, words in _WORDS.items()]
        said.append(f"against {label} it is " + ", ".join(part for part in parts if part))
    if not said:
        return None
    verdict: Verdict = "undecided"
    if all(1 in each for each in signs) and not any(-1 in each for each in signs):
        verdict = "seen"
    elif any(-1 in each for each in signs):
        verdict = "not seen"
    return Lesson(f"Accuracy of the fine-tuned model: {'; '.join(said)}.", verdict)


_AGAINST = {"random": "the same shape from random weights", "few_shot": "a few-shot prompt of the same base model"}
_WORDS = {1: "higher", 0: "not measurably different", -1: "lower"}


def _with_labels(rows: Sequence[MethodGain], sign: int, words: str) -> str:
    """As in "higher by +4.2 points (1.3 to 7.1) with 100 labels"; empty where no row has this sign."""
    shown = []
    for row in rows:
        if sign_of(row.accuracy) == sign:
            by = points(row.accuracy)
            shown.append(f"{by.mean} points ({by.span}) with {count(row.labels)} labels")
    return f"{words} ({', '.join(shown)})" if shown and not sign else f"{words} by {', '.join(shown)}" if shown else ""


def fine_tuning(evaluations: Evaluations, names: Names = ALL_RAN) -> Lesson | None:
    """Whether SFT made a completer of documents an answerer of prompts."""
    sft = evaluations.sft
    if sft.ended_share is None or sft.difference_to_base is None:
        return None
    start = f"After SFT {percent(sft.ended_share.mean, 1)} of the answers end by themselves"
    if sft.base_ended_share is not None:
        start += f", of the {names.base} model's {percent(sft.base_ended_share, 1)}"
    measured = f"chrF {signed(sft.difference_to_base.mean)}, {span(sft.difference_to_base)}"
    verdict: Verdict = "seen" if sign_of(sft.difference_to_base) > 0 else "undecided"
    end = {
        "seen": f"and they are nearer the reference answers ({measured}).",
        "undecided": f"and whether they are nearer the reference answers is not decided ({measured}).",
    }[verdict]
    return Lesson(f"{start}, {end}", verdict)


def judging(reward: RewardEvaluation, comparison: ComparisonEvaluation, names: Names = ALL_RAN) -> Lesson | None:
    """Whether judging answers is easier than writing them: the reason for RLHF."""
    best = max(
        (name for name in comparison.systems if name.startswith("best_of_") and name[8:].isdigit()),
        key=lambda name: int(name[8:]),
        default=None,
    )
    wins = None if best is None else comparison.systems[best].win_rate_vs_sft
    if reward.pair_accuracy is None or best is None or wins is None:
        return None
    right = reward.pair_accuracy
    accuracy = f"orders {percent(right.mean, 1)} of held-out pairs correctly ({_percents(right)})"
    chosen = (
        f"the answer it chooses among {best[8:]} samples of the same {names.policy} model wins {percent(wins.mean, 1)} "
        f"({_percents(wins)}) against one sample"
    )
    if sign_of(reward.pair_accuracy, 0.5) > 0 and sign_of(wins, 0.5) > 0:
        return Lesson(
            f"Judging is easier than writing: a reward model of the same size {accuracy}, and {chosen}. Nobody wrote a "
            "better answer; it was only recognized. That is what RLHF feeds on.",
            "seen",
        )
    return Lesson(
        f"Whether judging is easier than writing is not decided here: the reward model {accuracy}, and {chosen}.",
        "undecided",
    )


def over_optimization(comparison: ComparisonEvaluation, names: Names = ALL_RAN) -> Lesson | None:
    """Whether more reward cost wins; said to be seen only where the intervals of both show it."""
    found = [
        *(_against_main(name, gain, names) for name, gain in comparison.against_rlhf.items()),
        *(_along(folder, points) for folder, points in comparison.frontiers.items()),
    ]
    order: list[Verdict] = ["seen", "not seen", "undecided"]
    said = [lesson for lesson in found if lesson is not None]
    return min(said, key=lambda lesson: order.index(lesson.verdict), default=None)


def _against_main(name: str, gain: PairedGain, names: Names) -> Lesson | None:
    """A policy of another beta against the main one, on the same prompts."""
    if gain.reward is None or gain.wins is None:
        return None
    label = _policy(name.replace("rlhf_beta_", "rl/beta_"))
    measured = f"reward {signed(gain.reward.mean, 2)} ({span(gain.reward, 2)}), wins {_points(gain.wins)}"
    if sign_of(gain.reward) > 0 and sign_of(gain.wins) < 0:
        return Lesson(
            f"Over-optimization is seen: {label} earns more reward than RLHF and wins less often ({measured}). It "
            f"exploits what {names.rewarder} gets wrong.",
            "seen",
        )
    if sign_of(gain.reward) > 0 and sign_of(gain.wins) > 0:
        return Lesson(
            f"Over-optimization is not seen here: {label} earns more reward than RLHF and also wins more often "
            f"({measured}). What more reward costs shows in the variety of the answers instead, below.",
            "not seen",
        )
    return Lesson(
        f"Whether {label} over-optimizes is not decided by these prompts: compared with RLHF, {measured}.", "undecided"
    )


def _along(folder: str, points: Sequence[FrontierPoint]) -> Lesson | None:
    """A policy's end against the moment of its training with the most wins."""
    whole = [(p.reward, p.win_rate, p.kl) for p in points if p.reward is not None and p.win_rate is not None]
    if len(whole) < 2:
        return None
    (reward, wins, _), (best_reward, best_wins, best_kl) = whole[-1], max(whole, key=lambda point: point[1].mean)
    policy = _policy(folder)
    place = f"{percent(best_wins.mean, 1)} at {fixed(None if best_kl is None else best_kl.mean, 1)} nats of KL"
    rewards = f"reward {fixed(best_reward.mean, 2)} → {fixed(reward.mean, 2)}"
    measured = f"{rewards}, wins {place} → {percent(wins.mean, 1)} at the end"
    if reward.low > best_reward.high and wins.high < best_wins.low:
        return Lesson(
            f"Over-optimization is seen in {policy}: reward rose and wins fell after the best moment ({measured}).",
            "seen",
        )
    if reward.low > whole[0][0].high and wins.low > 0.5 and best_wins.low <= wins.high:
        return Lesson(
            f"Over-optimization is not seen in {policy}: at the end, wins are not measurably below the best moment of "
            f"training ({measured}).",
            "not seen",
        )
    return Lesson(f"Whether {policy} over-optimizes is not decided by these prompts ({measured}).", "undecided")


def _policy(folder: str) -> str:
    """rl -> RLHF, rl/beta_0.04 -> the policy of beta 0.04."""
    _, _, variant = folder.partition("/")
    return f"the policy of {variant.replace('_', ' ')}" if variant else "RLHF"


def variety(comparison: ComparisonEvaluation, names: Names = ALL_RAN) -> Lesson | None:
    """Whether RL made the answers more alike: mode collapse."""
    change = comparison.diversity_change.unique_share
    shares = {name: row.unique_share for name, row in comparison.systems.items() if row.unique_share is not None}
    policies = {name: share for name, share in shares.items() if name.startswith("rlhf")}
    if "sft" not in shares or not policies:
        return None
    least = min(policies, key=lambda name: policies[name].mean)
    repeated = comparison.systems[least].repeated
    said = (
        f"{percent(shares['sft'].mean, 1)} of {names.policy}'s answers are different ones, and "
        f"{percent(policies[least].mean, 1)} ({_percents(policies[least])}) of those of {names.system(least)}"
    )
    if repeated:
        said += f"; its most frequent answer was given {count(repeated[0].count)} times"
    if policies[least].high < shares["sft"].low or sign_of(change) < 0:
        return Lesson(
            f"{said}. RL finds what pays and repeats it: the more freely it may leave {names.policy}, the less varied "
            "the answers. Base models are the better choice where variety matters.",
            "seen",
        )
    return Lesson(f"{said}. A loss of variety is not measurable here.", "undecided" if change is None else "not seen")


def imitation(reward: RewardEvaluation, comparison: ComparisonEvaluation, names: Names = ALL_RAN) -> Lesson | None:
    """What the reward model says of people's answers and of their imitation, beside what the scorer says."""
    difference = _difference(reward.rewards.get("sft", ()), reward.rewards.get("demonstrations", ()))
    wins = comparison.systems.get("reference", SystemMeasures()).win_rate_vs_sft
    if difference is None or wins is None:
        return None
    measured = (
        f"reward of {names.policy} samples minus that of {names.demonstrations} {signed(difference.mean, 2)} "
        f"({span(difference, 2)}); by the scorer, the reference answers win {percent(wins.mean, 1)} "
        f"against {names.policy} ({_percents(wins)})"
    )
    by_reward, by_scorer = -sign_of(difference), sign_of(wins, 0.5)
    if by_reward < 0 < by_scorer:
        return Lesson(
            f"The reward model likes the imitation better than the original, and the scorer says the opposite "
            f"({measured}). It was trained on samples of {names.policy} alone: a reward is an opinion that holds near "
            "what the model was trained on.",
            "seen",
        )
    if by_reward == by_scorer != 0:
        better = "people's answers" if by_scorer > 0 else f"{names.policy}'s answers"
        return Lesson(f"Reward model and scorer both prefer {better} ({measured}).", "not seen")
    return Lesson(
        f"Whether the reward model judges people's answers as the scorer does is not decided ({measured}).", "undecided"
    )


def _difference(first: Sequence[float], second: Sequence[float]) -> Interval | None:
    """Mean of `first` minus mean of `second` with its normal 95 % interval, the values taken as independent."""
    if min(len(first), len(second)) < 2:
        return None
    middle = fmean(first) - fmean(second)
    half = 1.96 * math.sqrt(variance(first) / len(first) + variance(second) / len(second))
    return Interval(middle, middle - half, middle + half)


def _percents(interval: Interval) -> str:
    return span(Interval(100 * interval.mean, 100 * interval.low, 100 * interval.high), 1) + " %"


def _points(interval: Interval) -> str:
    return f"{signed(100 * interval.mean, 1)} percentage points ({_percents(interval).removesuffix(' %')})"
