"""Figures of feedback: rewards, their calibration, and how reward and wins part as the policy leaves SFT."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from stategpt.evaluate.records import FrontierPoint, SeedMeasures, SystemMeasures
from stategpt.evaluate.statistics import Interval
from stategpt.report.canvas import Sketch, Theme
from stategpt.report.run_files import RunFiles, mean
from stategpt.report.wording import system_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Points = Sequence[tuple[float, float]]


def feedback_sketches(files: RunFiles) -> list[Sketch]:
    """The figures that the run has the data for."""
    return [*_rewards(files), *_calibration(files), *_frontiers(files)]


def _rewards(files: RunFiles) -> list[Sketch]:
    found = files.evaluations.reward.rewards
    scores = {name: np.asarray(values, np.float64) for name, values in found.items() if values}
    if not scores:
        return []
    caption = (
        "Reward of the demonstrations, on training prompts, and of SFT samples, on test prompts; shifted so that the "
        "demonstrations average 0. Dashes mark the means."
    )
    return [Sketch("rewards", "What the reward model says", caption, partial(_paint_densities, scores=scores))]


def _paint_densities(axes: "Axes", theme: Theme, scores: Mapping[str, Any]) -> None:
    everything = np.concatenate(list(scores.values()))
    low, high = np.quantile(everything, [0.002, 0.998])
    edges = np.linspace(low, max(high, low + 1e-3), 42).tolist()
    for name, values in scores.items():
        color = theme.color(name)
        axes.hist(values, bins=edges, density=True, color=color, alpha=0.22)
        axes.hist(
            values, bins=edges, density=True, histtype="step", color=color, linewidth=1.5, label=_score_label(name)
        )
        axes.axvline(values.mean(), color=color, linestyle=(0, (4, 3)), linewidth=1.2)
    axes.set_xlabel("reward")
    axes.set_ylabel("share of answers")
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.1)


def _score_label(name: str) -> str:
    return "demonstrations" if name == "demonstrations" else f"{system_label(name)} samples"


def _calibration(files: RunFiles) -> list[Sketch]:
    points = [(bucket.claimed, bucket.observed) for bucket in files.evaluations.reward.calibration]
    if not points:
        return []
    caption = (
        "Test pairs in buckets of the score difference: how sure the model is of the order, and how often it is "
        "right. On the diagonal it knows how much it knows."
    )
    return [
        Sketch("calibration", "Is it as sure as it should be?", caption, partial(_paint_calibration, points=points))
    ]


def _paint_calibration(axes: "Axes", theme: Theme, points: Points) -> None:
    claimed, observed = zip(*points, strict=True)
    axes.plot([0.5, 1], [0.5, 1], color=theme.color("baseline"), linestyle=(0, (4, 3)), linewidth=1.2)
    axes.plot(claimed, observed, "o-", color=theme.color("reward"), markersize=5)
    axes.set_xlabel("claimed probability of the order")
    axes.set_ylabel("share of pairs in that order")


def _frontiers(files: RunFiles) -> list[Sketch]:
    data, run = files.evaluations.comparison, files.run
    several = len(data.systems.get("rlhf", SystemMeasures()).seeds) > 1
    label = f"RL, beta {run.rl.beta:g}" if run else "RL, default beta"
    frontiers = {label: data.frontiers.get("rl", ())} | {
        f"RL, {folder.removeprefix('rl/').replace('_', ' ')}": points
        for folder, points in data.frontiers.items()
        if folder.startswith("rl/beta_")
    }
    sketches = []
    more = " Lines: 95 % intervals."
    for key, best, name, title, axis, caption in (
        ("reward", "reward_mean", "reward_over_kl", "What the reward model sees", "mean reward",
         "Mean reward on validation prompts as the policy moves away from SFT; each point is a moment of training."),
        ("win_rate", "win_rate_vs_sft", "wins_over_kl", "What the scorer sees", "win rate against SFT",
         "The same moments, by the scorer that decides wins."),
    ):  # fmt: skip
        curves = {label: _frontier_points(points, key) for label, points in frontiers.items()}
        if not any(curves.values()):
            continue
        best_of = _best_of_points(data.systems, best)
        ends = _seed_points(data.systems, best)
        paint = partial(_paint_frontier, curves=curves, best_of=best_of, ends=ends, axis=axis, even=key == "win_rate")
        crosses = " Crosses: the finished policy of each seed, on the prompts of the comparison." if several else ""
        sketches.append(Sketch(name, title, caption + more + crosses, paint, height_inches=3.2))
    return sketches


def _frontier_points(points: Sequence[FrontierPoint], key: str) -> Sequence[tuple[float, Interval]]:
    return [(p.kl.mean, getattr(p, key)) for p in points if p.kl is not None and getattr(p, key) is not None]


def _value(row: SeedMeasures, key: str) -> float | None:
    value = getattr(row, key)
    return value.mean if isinstance(value, Interval) else value


def _best_of_points(systems: Mapping[str, SystemMeasures], key: str) -> list[tuple[float, float, str]]:
    found = []
    for name, row in systems.items():
        kl, value = mean(row.kl) if row.kl_bound is None else row.kl_bound, _value(row, key)
        if name.startswith("best_of_") and kl is not None and value is not None:
            found.append((kl, value, name.removeprefix("best_of_")))
    return found


def _seed_points(systems: Mapping[str, SystemMeasures], key: str) -> Points:
    """KL and value of the finished policy of each seed, where there are several."""
    rows = systems.get("rlhf", SystemMeasures()).seeds
    points = [(mean(row.kl), _value(row, key)) for row in rows if len(rows) > 1]
    return [(kl, value) for kl, value in points if kl is not None and value is not None]


def _paint_frontier(
    axes: "Axes",
    theme: Theme,
    curves: Mapping[str, Sequence[tuple[float, Interval]]],
    best_of: Sequence[tuple[float, float, str]],
    ends: Points,
    axis: str,
    even: bool,
) -> None:
    if even:
        axes.axhline(0.5, color=theme.color("baseline"), linewidth=1.2, linestyle=(0, (4, 3)))
    for index, (label, points) in enumerate(curves.items()):
        if points:
            color, marker = ("beta", "s") if index else ("rlhf", "o")
            for kl, measured in points:
                if math.isfinite(measured.low) and math.isfinite(measured.high):
                    axes.plot(
                        [kl, kl], [measured.low, measured.high], color=theme.color(color), alpha=0.35, linewidth=1.6
                    )
            course = [(kl, measured.mean) for kl, measured in points]
            axes.plot(*zip(*course, strict=True), marker + "-", color=theme.color(color), markersize=4.5, label=label)
    if ends:
        kls, values = zip(*ends, strict=True)
        axes.plot(kls, values, "x", color=theme.color("rlhf"), markersize=6, label="each seed's end")
    if best_of:
        kls, values, names = zip(*best_of, strict=True)
        axes.plot(kls, values, "D", color=theme.color("best_of"), markersize=5, label="best-of-n of SFT")
        for kl, value, name in zip(kls, values, names, strict=True):
            axes.annotate(name, (kl, value), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=9)
    axes.margins(y=0.12)
    axes.set_xlabel("KL to SFT, nats per completion")
    axes.set_ylabel(axis)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, borderaxespad=0.1, columnspacing=1.2)
