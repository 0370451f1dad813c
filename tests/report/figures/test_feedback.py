"""Figures of feedback draw what the files say."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the report needs the train extra")

from matplotlib.figure import Figure

from stategpt.report.canvas import LIGHT
from stategpt.report.figures.feedback import feedback_sketches
from stategpt.report.run_files import RunFiles, mean


def test_reward_and_wins_are_drawn_over_the_same_moments_of_both_policies(run_folder: Path) -> None:
    files = RunFiles(run_folder)
    frontiers = files.evaluations.comparison.frontiers
    for name, key in (("reward_over_kl", "reward"), ("wins_over_kl", "win_rate")):
        axes = Figure().subplots()
        next(s for s in feedback_sketches(files) if s.name == name).paint(axes, LIGHT)
        curves = {line.get_label(): np.asarray(line.get_xydata()).tolist() for line in axes.lines}
        assert curves["RL, beta 0.8"] == [[mean(p.kl), mean(getattr(p, key))] for p in frontiers["rl"]]
        assert curves["RL, beta 0.04"] == [[mean(p.kl), mean(getattr(p, key))] for p in frontiers["rl/beta_0.04"]]
        assert [text.get_text() for text in axes.texts] == ["2", "4", "8"]
        spans = [line.get_xydata().tolist() for line in axes.lines if line.get_label().startswith("_child")]
        last = frontiers["rl"][-1]
        assert [[mean(last.kl), getattr(last, key).low], [mean(last.kl), getattr(last, key).high]] in spans


def test_one_policy_alone_is_drawn(publish_part: Callable[..., str], tmp_path: Path) -> None:
    points = [{"step": 0, "kl": {"mean": 0.0}, "reward": {"mean": -1.0}, "win_rate": {"mean": 0.5}}]
    publish_part(tmp_path, "comparison/evaluation", {"evaluation.json": {"frontiers": {"rl": points}}})
    assert [sketch.name for sketch in feedback_sketches(RunFiles(tmp_path))] == ["reward_over_kl", "wins_over_kl"]


def test_equal_rewards_can_be_drawn(publish_part: Callable[..., str], tmp_path: Path) -> None:
    publish_part(tmp_path, "reward/evaluation", {"evaluation.json": {"rewards": {"sft": [1.0, 1.0], "base": []}}})
    (sketch,) = feedback_sketches(RunFiles(tmp_path))
    axes = Figure().subplots()
    sketch.paint(axes, LIGHT)
    assert axes.get_legend_handles_labels()[1] == ["SFT samples"]
