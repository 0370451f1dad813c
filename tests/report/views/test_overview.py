"""The head of the page: four stages with their numbers, and the gates."""

from collections.abc import Callable
from pathlib import Path

from stategpt.report.run_files import RunFiles
from stategpt.report.views.overview import overview


def test_each_stage_shows_its_own_numbers(run_folder: Path) -> None:
    stages = overview(RunFiles(run_folder))["stages"]
    assert [stage.title for stage in stages] == [
        "Pretraining",
        "Supervised fine-tuning",
        "Reward modeling",
        "Reinforcement learning",
    ]
    assert [dict(stage.facts) for stage in stages] == [
        {"tokens": "1.05 M", "bits per byte": "2.010", "n-gram model's": "2.170"},
        {"tokens": "368,640", "answers end": "99.9 %", "chrF above base": "+0.032"},
        {"ranked prompts": "1,600", "pair accuracy": "0.815", "by length alone": "0.552"},
        {"steps": "75", "wins against SFT": "62.0 %", "KL to SFT": "4.1 nats"},
    ]


def test_a_stage_that_was_not_reached_has_no_numbers(write_run: Callable[..., Path], tmp_path: Path) -> None:
    stages = overview(
        RunFiles(write_run(tmp_path, ["rankings", "reward", "rl", "comparison", "gates", "lineage.json"]))
    )["stages"]
    assert [bool(stage.facts) for stage in stages] == [True, True, False, False]


def test_every_gate_has_words_for_a_reader(run_folder: Path) -> None:
    rows = overview(RunFiles(run_folder))["gates"]
    assert all(row["label"] and row["label"] != row["name"] for row in rows)
    assert [row["name"] for row in rows if row["verdict"] == "fail"] == ["rl_best_of_n"], "KL 4.1 is 6.4 times 0.64"
    assert rows[1]["rule"].startswith("share ending with end-of-text: lower bound > 0.97")
