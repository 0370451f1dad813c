"""Figures of data and training: the mixture, bits per byte, the loss of every stage, the course of RL."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stategpt.config.stage_names import STAGES, folder_title
from stategpt.report.canvas import Sketch, Theme
from stategpt.report.run_files import RunFiles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Series = tuple[str, str, npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""Label, colour name, steps [L], values [L]."""


def training_sketches(files: RunFiles) -> list[Sketch]:
    """The figures that the run has the data for."""
    return [*_mixture(files), *_bits_per_byte(files), *_losses(files), *_rl_course(files)]


def _mixture(files: RunFiles) -> list[Sketch]:
    planned = files.mixture.planned
    drawn = {name: row.share for name, row in files.mixture.drawn.items() if row.share is not None}
    sources = [name for name in planned if name in drawn]
    if not sources:
        return []
    values = [[planned[name] for name in sources], [drawn[name] for name in sources]]
    caption = "Share of the training tokens that each source was to give, and gave."
    paint = partial(_paint_bars, labels=sources, values=values, legend=("planned", "drawn"), axis="share of tokens")
    return [Sketch("mixture", "The mixture, planned and drawn", caption, paint)]


def _bits_per_byte(files: RunFiles) -> list[Sketch]:
    base = files.evaluations.base
    rows = {**base.sources, "mixed": base.mixed}
    named = [(name, row.kneser_ney_bits_per_byte, row.bits_per_byte) for name, row in rows.items()]
    whole = [(name, kn, bits) for name, kn, bits in named if kn is not None and bits is not None]
    if not whole:
        return []
    caption = (
        "Bits per byte on test modules, from raw bytes; lower is better. The 5-gram (Kneser-Ney, on bytes) was "
        "trained on the same bytes that the model saw."
    )
    paint = partial(
        _paint_bars,
        labels=[name for name, _, _ in whole],
        values=[[kn for _, kn, _ in whole], [bits for _, _, bits in whole]],
        legend=("5-gram", "base model"),
        axis="bits per byte",
    )
    return [Sketch("bits_per_byte", "Base model against a 5-gram", caption, paint)]


def _losses(files: RunFiles) -> list[Sketch]:
    sketches = []
    for stage in (stage.folder for stage in STAGES):
        log = files.metrics(stage)
        unit = next((key for key in (log[-1] if log else {}) if key.startswith("loss_")), None)
        if unit is None:
            continue
        steps, values = _column(log, unit)
        paint = partial(_paint_course, series=[("", stage, steps, values)], axis=_loss_axis(unit))
        title = f"Loss: {folder_title(stage)}"
        caption = f"{len(steps)} logged steps (pale) and their running mean."
        if stage == "rl":
            caption += " A policy-gradient loss is no measure of progress: read reward and KL."
        sketches.append(Sketch(f"loss_{stage}", title, caption, paint))
    return sketches


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
            "Mean reward of the sampled completions; SFT demonstrations are 0.",
        ),
        ("kl_nats_per_completion", "Distance from SFT", "nats per completion", "KL of the policy to the SFT model."),
        ("entropy_nats_per_token", "Entropy during RL", "nats per token", "How undecided the policy is at each token."),
        ("length_tokens", "Length during RL", "tokens", "Mean length of the sampled completions."),
    )
    sketches = []
    for key, title, axis, caption in wanted:
        # Policies of further seeds have the first one's colour, and no line of their own in the legend.
        series = [
            (labels.get(folder, "_"), folder, *_column(log, key))
            for folder, log in logs.items()
            if any(key in line for line in log)
        ]
        if series:
            sketches.append(Sketch(f"rl_{key}", title, caption, partial(_paint_course, series=series, axis=axis)))
    return sketches


def _column(log: Sequence[dict[str, Any]], key: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    rows = [(line["step"], line[key]) for line in log if isinstance(line.get(key), int | float)]
    table = np.array(rows, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def running_mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean of each point and its neighbours, a fifteenth of the points in all; fewer at the ends, so it never lags."""
    reach = len(values) // 30
    sums = np.concatenate([[0.0], np.cumsum(values)])
    first = np.maximum(np.arange(len(values)) - reach, 0)
    last = np.minimum(np.arange(len(values)) + reach + 1, len(values))
    return np.asarray((sums[last] - sums[first]) / (last - first), dtype=np.float64)


def _paint_course(axes: "Axes", theme: Theme, series: Sequence[Series], axis: str) -> None:
    for label, colour, steps, values in series:
        axes.plot(steps, values, color=theme.colour(colour), alpha=0.28, linewidth=0.9)
        axes.plot(steps, running_mean(values), color=theme.colour(colour), label=label)
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
    colours = (theme.colour("baseline"), theme.colour("sft"))
    for number_of_bar, (row, name, colour) in enumerate(zip(values, legend, colours, strict=True)):
        bars = axes.barh(places + 0.2 * (2 * number_of_bar - 1), row, height=0.34, color=colour, label=name)
        axes.bar_label(bars, fmt="{:.2f}", padding=3, fontsize=9, color=theme.muted)
    axes.set_yticks(places, labels)
    axes.invert_yaxis()
    axes.set_xlabel(axis)
    axes.margins(x=0.12)
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.1)
