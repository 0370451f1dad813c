"""Figures of the comparison draw what the files say."""

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="the report needs the train extra")

from matplotlib.figure import Figure

from stategpt.report.canvas import LIGHT
from stategpt.report.figures.comparison import comparison_sketches
from stategpt.report.run_files import RunFiles, mean


def test_win_rates_are_dots_with_their_intervals_in_the_order_of_the_file(run_folder: Path) -> None:
    files = RunFiles(run_folder)
    axes = Figure().subplots()
    next(s for s in comparison_sketches(files) if s.name == "win_rates").paint(axes, LIGHT)
    systems = files.evaluations.comparison.systems
    dots = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
    assert dots == [mean(row.win_rate_vs_sft) for row in systems.values()]
    spans = [list(line.get_xdata()) for line in axes.lines[1:] if line.get_marker() != "o"]
    assert spans == [
        [row.win_rate_vs_sft.low, row.win_rate_vs_sft.high] for row in systems.values() if row.win_rate_vs_sft
    ]
    assert [tick.get_text() for tick in axes.get_yticklabels()][:3] == ["base", "prompted base", "SFT"]


def test_an_interval_without_bounds_is_a_dot(publish_part: Callable[..., str], tmp_path: Path) -> None:
    elo = {"sft": {"mean": 1000.0, "low": None, "high": None}}
    publish_part(tmp_path, "comparison/evaluation", {"evaluation.json": {"elo": elo}})
    (sketch,) = comparison_sketches(RunFiles(tmp_path))
    sketch.paint(Figure().subplots(), LIGHT)


def test_seconds_add_up_in_the_caption(run_folder: Path) -> None:
    sketch = next(s for s in comparison_sketches(RunFiles(run_folder)) if s.name == "seconds")
    assert sketch.caption.startswith("13 min 07 s in total")
