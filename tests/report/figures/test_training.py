"""Figures of training draw what the files say."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the report needs the train extra")

from matplotlib.figure import Figure

from stategpt.report.canvas import LIGHT
from stategpt.report.figures.training import running_mean, training_sketches
from stategpt.report.run_files import RunFiles


def test_a_run_without_files_has_no_figures(tmp_path: Path) -> None:
    assert training_sketches(RunFiles(tmp_path)) == []


def test_loss_axes_carry_the_unit_of_the_logged_loss(run_folder: Path) -> None:
    labels = {}
    for sketch in training_sketches(RunFiles(run_folder)):
        axes = Figure().subplots()
        sketch.paint(axes, LIGHT)
        labels[sketch.name] = axes.get_ylabel()
    assert labels["loss_base"] == "loss, nats per token"
    assert labels["loss_reward"] == "loss, nats per pair"
    assert "loss_rl" not in labels, "a policy-gradient loss is no measure of progress"


def test_the_loss_curve_has_every_logged_step(run_folder: Path) -> None:
    files = RunFiles(run_folder)
    sketch = next(s for s in training_sketches(files) if s.name == "loss_base")
    axes = Figure().subplots()
    sketch.paint(axes, LIGHT)
    drawn = axes.lines[0].get_xydata()
    assert np.asarray(drawn).tolist() == [[m["tokens"], m["loss_nats_per_token"]] for m in files.metrics("base")]


def test_the_validation_loss_is_drawn_over_tokens_beside_two_baselines(run_folder: Path) -> None:
    files = RunFiles(run_folder)
    axes = Figure().subplots()
    next(s for s in training_sketches(files) if s.name == "loss_base").paint(axes, LIGHT)
    curves = {line.get_label(): np.asarray(line.get_xydata()).tolist() for line in axes.lines}
    expected = [[1024.0 * line.step, line.nats_per_token] for line in files.validation_losses()]
    assert curves["validation"] == expected
    assert [text.get_text() for text in axes.texts] == ["ln V 8.32", "unigram 6.60"]
    assert axes.get_xlabel() == "tokens"


def test_bars_have_the_measured_lengths(run_folder: Path) -> None:
    sketch = next(s for s in training_sketches(RunFiles(run_folder)) if s.name == "bits_per_byte")
    axes = Figure().subplots()
    sketch.paint(axes, LIGHT)
    assert [bar.get_width() for bar in axes.patches] == [2.032, 2.214, 2.53, 2.17, 1.878, 2.004, 2.463, 2.01]


def test_the_running_mean_is_centered_and_keeps_a_line_straight() -> None:
    line = np.arange(300.0)
    np.testing.assert_allclose(running_mean(line)[10:-10], line[10:-10])
    np.testing.assert_array_equal(running_mean(np.ones(7)), np.ones(7))
    assert running_mean(np.array([3.0])).tolist() == [3.0]
