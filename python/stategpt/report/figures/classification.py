"""Figure of classification: accuracy against the number of labels, one line a method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from stategpt.evaluate.statistics import Interval
from stategpt.report.canvas import Sketch, Theme
from stategpt.report.run_files import RunFiles
from stategpt.report.wording import METHOD_LABELS, count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Lines = Mapping[str, Sequence[tuple[int, Interval]]]
"""Method -> number of labels and accuracy, rising."""
_COLORS = {"full": "sft", "lora": "best_of", "few_shot": "prompted_base", "random": "rlhf"}


def classification_sketches(files: RunFiles) -> list[Sketch]:
    """The figure, where the run has classified texts."""
    found = files.evaluations.classify
    lines: dict[str, list[tuple[int, Interval]]] = {}
    for row in found.measures:
        if row.accuracy is not None:
            lines.setdefault(row.method, []).append((row.labels, row.accuracy))
    if not lines:
        return []
    seeds = max(row.seeds for row in found.measures)
    caption = (
        f"Accuracy on the same {count(found.test_texts)} held-out texts, mean over {seeds} draws of label sets; bars: "
        "95 % intervals for other texts and other draws. Dashes: always the most frequent label."
    )
    paint = partial(_paint, lines=lines, majority=found.majority_share)
    return [Sketch("accuracy_by_labels", "Accuracy against labels", caption, paint, 3.1)]


def _paint(axes: Axes, theme: Theme, lines: Lines, majority: float | None) -> None:
    if majority is not None:
        axes.axhline(majority, color=theme.color("baseline"), linewidth=1.2, linestyle=(0, (4, 3)))
    shift = 1.0
    for method, points in lines.items():
        color = theme.color(_COLORS.get(method, method))
        places = [labels * shift for labels, _ in points]
        label = METHOD_LABELS.get(method, method)
        axes.plot(places, [value.mean for _, value in points], "o-", color=color, markersize=5, label=label)
        for place, (_, value) in zip(places, points, strict=True):
            if math.isfinite(value.low) and math.isfinite(value.high):
                axes.plot([place, place], [value.low, value.high], color=color, linewidth=1.4, alpha=0.6)
        shift *= 1.06  # bars of several methods beside each other
    ticks = sorted({labels for points in lines.values() for labels, _ in points})
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{labels:,}" for labels in ticks])
    axes.minorticks_off()
    axes.set_xlabel("labeled texts")
    axes.set_ylabel("accuracy")
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.1)
