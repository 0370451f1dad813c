"""Figures of training: bits per byte, the loss of every stage, the course of RL."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stategpt.config.stage_names import STAGES, folder_title
from stategpt.report.canvas import Sketch, Theme
from stategpt.report.run_files import RunFiles
from stategpt.report.wording import Names, count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Series = tuple[str, str, npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""Label, color name, steps [L], values [L]."""


def training_sketches(files: RunFiles) -> list[Sketch]:
    """The figures that the run has the data for."""
    return [*_bits_per_byte(files), *_losses(files), *_rl_course(files)]


def _bits_per_byte(files: RunFiles) -> list[Sketch]:
    base = files.evaluations.base
    rows = {**base.sources, "mixed": base.mixed}
    named = [(name, row.kneser_ney_bits_per_byte, row.bits_per_byte) for name, row in rows.items()]
    whole = [(name, kn, bits) for name, kn, bits in named if kn is not None and bits is not None]
    if not whole:
        return []
    caption = (
        "Bits for each raw byte of test documents; lower is better. The n-gram model (Kneser-Ney, on bytes) counted "
        "the same bytes that the base model read."
    )
    paint = partial(
        _paint_bars,
        labels=[name for name, _, _ in whole],
        values=[[kn for _, kn, _ in whole], [bits for _, _, bits in whole]],
        legend=("n-gram model", "base model"),
        axis="bits per byte",
    )
    return [Sketch("bits_per_byte", "Base model against counting", caption, paint)]


def _losses(files: RunFiles) -> list[Sketch]:
    """The loss of each stage but RL, whose loss is no measure of progress."""
    sketches = []
    for stage in (stage.folder for stage in STAGES if stage.folder != "rl"):
        log = files.metrics(stage)
        unit = next((key for key in (log[-1] if log else {}) if key.startswith("loss_")), None)
        if unit is None:
            continue
        title = f"Loss: {folder_title(stage)}"
        if stage == "base":
            sketches.append(_base_loss(files, log, unit, title))
            continue
        steps, values = _column(log, unit)
        paint = partial(_paint_course, series=[("", stage, steps, values)], axis=_loss_axis(unit))
        caption = f"{len(steps)} logged steps (pale) and their running mean."
        sketches.append(Sketch(f"loss_{stage}", title, caption, paint))
    return sketches


def _base_loss(files: RunFiles, log: Sequence[dict[str, Any]], unit: str, title: str) -> Sketch:
    """Training and validation loss of the base model over tokens, with the losses of two baselines."""
    tokens = {line["step"]: line["tokens"] for line in log if line.get("tokens") is not None}
    steps, values = _column(log, unit)
    per_step = max(tokens.values()) / max(tokens) if tokens and max(tokens) else 1.0
    course = [(line.step * per_step, line.nats_per_token) for line in files.validation_losses()]
    references = files.loss_references
    lines = [
        (label, value)
        for label, value in (("ln V", references.uniform), ("unigram", references.unigram))
        if value is not None
    ]
    caption = "Training loss (pale, and its running mean)"
    if course:
        caption += f" and validation loss (dots), at the end {np.exp(-course[-1][1]):.1%} for the right token"
    if lines:
        caption += (
            "; ln V: every token of the vocabulary equally likely; unigram: each as likely as it is frequent. Below "
            "it, the model uses context"
        )
    axis = "tokens" if tokens else "step"
    paint = partial(_paint_base_loss, steps=steps * per_step, values=values, course=course, lines=lines, axis=axis)
    return Sketch("loss_base", title, caption + ".", paint)


def _paint_base_loss(
    axes: "Axes",
    theme: Theme,
    steps: npt.NDArray[np.float64],
    values: npt.NDArray[np.float64],
    course: Sequence[tuple[float, float]],
    lines: Sequence[tuple[str, float]],
    axis: str,
) -> None:
    _paint_course(axes, theme, [("training", "base", steps, values)], "loss, nats per token")
    for label, value in lines:
        axes.axhline(value, color=theme.color("baseline"), linewidth=1.2, linestyle=(0, (4, 3)))
        axes.annotate(
            f"{label} {value:.2f}",
            (0.99, value),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="right",
            fontsize=9,
            color=theme.muted,
        )
    if course:
        axes.plot(*zip(*course, strict=True), "o-", color=theme.color("sft"), markersize=4.5, label="validation")
        axes.legend(loc="center right")
    axes.set_xlabel(axis)
    axes.xaxis.set_major_formatter(lambda value, _: count(value))


def _loss_axis(name: str) -> str:
    """loss_nats_per_token -> loss, nats per token; loss_per_completion -> loss per completion."""
    unit = name.removeprefix("loss_").replace("_", " ")
    return f"loss {unit}" if unit.startswith("per ") else f"loss, {unit}"


def _rl_course(files: RunFiles) -> list[Sketch]:
    folders = [folder for folder in files.stage_folders if folder.partition("/")[0] == "rl"]
    logs = {folder: log for folder in folders if (log := files.metrics(folder))}
    labels = {folder: folder.removeprefix("rl/").replace("_", " ") for folder in logs if "/beta_" in folder}
    seeds = len(logs) - len(labels)
    labels["rl"] = f"beta {files.run.rl.beta:g}" if files.run else "default beta"
    if seeds > 1:
        labels["rl"] += f", {seeds} seeds"
    wanted = (
        (
            "reward_mean",
            "Reward during RL",
            "mean reward",
            _reward_caption(files.names),
        ),
        (
            "kl_nats_per_completion",
            f"Distance from {files.names.policy}",
            "nats per completion",
            f"KL of the policy to the {files.names.policy} model.",
        ),
        ("entropy_nats_per_token", "Entropy during RL", "nats per token", "How undecided the policy is at each token."),
        ("length_tokens", "Length during RL", "tokens", "Mean length of the sampled completions."),
    )
    sketches = []
    for key, title, axis, caption in wanted:
        # Policies of further seeds have the first one's color, and no line of their own in the legend.
        series = [
            (labels.get(folder, "_"), folder, *_column(log, key))
            for folder, log in logs.items()
            if any(key in line for line in log)
        ]
        if series:
            sketches.append(Sketch(f"rl_{key}", title, caption, partial(_paint_course, series=series, axis=axis)))
    return sketches


def _reward_caption(names: Names) -> str:
    said = "Mean reward of the sampled completions"
    return f"{said}; {names.demonstrations} are 0." if names.rewarder == Names.rewarder else f"{said}."


def _column(log: Sequence[dict[str, Any]], key: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    rows = [(line["step"], line[key]) for line in log if isinstance(line.get(key), int | float)]
    table = np.array(rows, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def running_mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean of each point and its neighbors, a fifteenth of all points; fewer at the ends, so it never lags."""
    reach = len(values) // 30
    sums = np.concatenate([[0.0], np.cumsum(values)])
    first = np.maximum(np.arange(len(values)) - reach, 0)
    last = np.minimum(np.arange(len(values)) + reach + 1, len(values))
    return np.asarray((sums[last] - sums[first]) / (last - first), dtype=np.float64)


def _paint_course(axes: "Axes", theme: Theme, series: Sequence[Series], axis: str) -> None:
    for label, color, steps, values in series:
        axes.plot(steps, values, color=theme.color(color), alpha=0.28, linewidth=0.9)
        axes.plot(steps, running_mean(values), color=theme.color(color), label=label)
    if len(series) > 1:
        axes.legend(loc="best")
    axes.set_xlabel("step")
    axes.locator_params(axis="x", integer=True)
    axes.set_ylabel(axis)
    axes.margins(x=0.01)
    axes.grid(axis="x", visible=False)


def _paint_bars(
    axes: "Axes",
    theme: Theme,
    labels: Sequence[str],
    values: Sequence[Sequence[float]],
    legend: tuple[str, str],
    axis: str,
) -> None:
    """Two bars a label, the first the pale baseline; numbers at their ends instead of an axis."""
    places = np.arange(len(labels))
    colors = (theme.color("baseline"), theme.color("sft"))
    for number_of_bar, (row, name, color) in enumerate(zip(values, legend, colors, strict=True)):
        bars = axes.barh(places + 0.2 * (2 * number_of_bar - 1), row, height=0.34, color=color, label=name)
        axes.bar_label(bars, fmt="{:.2f}", padding=3, fontsize=9, color=theme.muted)
    axes.set_yticks(places, labels)
    axes.invert_yaxis()
    axes.set_xlabel(axis)
    axes.margins(x=0.12)
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.1)
