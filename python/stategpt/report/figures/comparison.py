"""Figures of the comparison: win rates, Elo and diversity of all systems, and where the time went."""

import math
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from stategpt.config.stage_names import folder_title
from stategpt.evaluate.statistics import Interval
from stategpt.report.canvas import Sketch, Theme
from stategpt.report.run_files import RunFiles, mean
from stategpt.report.wording import Names, duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Estimates = Mapping[str, tuple[float, float, float]]
"""System -> mean, low, high."""


def comparison_sketches(files: RunFiles) -> list[Sketch]:
    """The figures that the run has the data for."""
    return [*_win_rates(files), *_elo(files), *_diversity(files), *_seconds(files)]


def _estimates(rows: Mapping[str, Interval | None]) -> Estimates:
    found = {}
    for name, value in rows.items():
        if value is not None:
            low, high = (bound if math.isfinite(bound) else value.mean for bound in (value.low, value.high))
            found[name] = (value.mean, low, high)
    return found


def _win_rates(files: RunFiles) -> list[Sketch]:
    systems = files.evaluations.comparison.systems
    estimates = _estimates({name: row.win_rate_vs_sft for name, row in systems.items()})
    if not estimates:
        return []
    caption = (
        f"Share of prompts on which the scorer prefers the system's answer to one {files.names.policy} sample; ties "
        "count one half. Lines: 95 % intervals."
    )
    paint = partial(
        _paint_estimates,
        estimates=estimates,
        names=files.names,
        axis=f"win rate against {files.names.policy}",
        middle=0.5,
        digits=2,
    )
    return [Sketch("win_rates", "Win rates", caption, paint, _height(len(estimates)))]


def _elo(files: RunFiles) -> list[Sketch]:
    estimates = _estimates(files.evaluations.comparison.elo)
    if not estimates:
        return []
    caption = (
        f"Bradley-Terry strengths from all pairs of systems; {files.names.policy} is 1000, and 400 points are odds of "
        "ten to one."
    )
    paint = partial(_paint_estimates, estimates=estimates, names=files.names, axis="Elo", middle=1000.0, digits=0)
    return [Sketch("elo", "Elo", caption, paint, _height(len(estimates)))]


def _height(rows: int) -> float:
    return 0.85 + 0.34 * rows


def _paint_estimates(
    axes: "Axes", theme: Theme, estimates: Estimates, names: Names, axis: str, middle: float, digits: int
) -> None:
    """A dot and its interval for each system, its number at the right edge."""
    axes.axvline(middle, color=theme.color("baseline"), linewidth=1.2, linestyle=(0, (4, 3)))
    for place, (name, (middle_of, low, high)) in enumerate(estimates.items()):
        color = theme.color(name)
        axes.plot([low, high], [place, place], color=color, linewidth=2.4, alpha=0.55)
        axes.plot([middle_of], [place], "o", color=color, markersize=6)
        axes.annotate(
            f"{middle_of:.{digits}f}",
            (1.02, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
            annotation_clip=False,
        )
    axes.set_yticks(range(len(estimates)), [names.system(name) for name in estimates])
    axes.set_ylim(len(estimates) - 0.5, -0.5)
    axes.set_xlabel(axis)
    axes.grid(axis="y", visible=False)


def _diversity(files: RunFiles) -> list[Sketch]:
    systems = files.evaluations.comparison.systems
    measured = {name: (row.distinct_2, mean(row.unique_share)) for name, row in systems.items()}
    whole = {name: (d, u) for name, (d, u) in measured.items() if d is not None and u is not None}
    if not whole:
        return []
    caption = (
        "All answers of a system: different pairs of neighboring tokens over all pairs (filled; of equally many pairs "
        "of every system), and different answers over all answers (ring). Wins are often bought with sameness."
    )
    return [
        Sketch(
            "diversity",
            "Diversity",
            caption,
            partial(_paint_diversity, rows=whole, names=files.names),
            _height(len(whole)),
        )
    ]


def _paint_diversity(axes: "Axes", theme: Theme, rows: Mapping[str, tuple[float, float]], names: Names) -> None:
    for place, (name, (distinct, unique)) in enumerate(rows.items()):
        color = theme.color(name)
        axes.plot([distinct, unique], [place, place], color=color, alpha=0.3, linewidth=1.6)
        axes.plot([distinct], [place], "o", color=color, markersize=6)
        axes.plot([unique], [place], "o", color=color, markersize=6, markerfacecolor=theme.paper, markeredgewidth=1.6)
    axes.set_yticks(range(len(rows)), [names.system(name) for name in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 1.04)
    axes.set_xlabel("share of token pairs, share of answers")
    axes.grid(axis="y", visible=False)


def _seconds(files: RunFiles) -> list[Sketch]:
    seconds = files.seconds()
    if not seconds:
        return []
    caption = f"{duration(sum(seconds.values()))} in total, measured on the machine named above."
    return [
        Sketch("seconds", "Time per stage", caption, partial(_paint_seconds, seconds=seconds), _height(len(seconds)))
    ]


def _paint_seconds(axes: "Axes", theme: Theme, seconds: Mapping[str, float]) -> None:
    places = np.arange(len(seconds))
    bars = axes.barh(places, list(seconds.values()), height=0.6, color=[theme.color(stage) for stage in seconds])
    axes.bar_label(bars, [duration(s) for s in seconds.values()], padding=4, fontsize=9, color=theme.muted)
    axes.set_yticks(places, [folder_title(stage) for stage in seconds])
    axes.invert_yaxis()
    axes.margins(x=0.22)
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
