"""Systems side by side."""

from collections.abc import Callable
from pathlib import Path

from stategpt.report.run_files import RunFiles
from stategpt.report.views.comparison import comparison


def test_the_five_systems_answer_the_same_prompt(run_folder: Path) -> None:
    example = comparison(RunFiles(run_folder))["examples"][0]
    assert [answer["label"] for answer in example["answers"]] == ["base", "prompted base", "SFT", "best-of-4", "RLHF"]
    assert example["reference"].startswith("Remove and return")


def test_another_best_of_n_takes_the_place_of_four(publish_part: Callable[..., str], tmp_path: Path) -> None:
    answers = {name: {"text": name} for name in ("sft", "best_of_2", "best_of_16")}
    example = {"prompt": "p", "reference": "r", **answers}
    publish_part(tmp_path, "comparison/evaluation", {"evaluation.json": {"examples": [example]}})
    shown = comparison(RunFiles(tmp_path))["examples"][0]["answers"]
    assert [(answer["label"], answer["points"]) for answer in shown] == [("SFT", None), ("best-of-16", None)]


def test_best_of_n_shows_the_bound_of_its_kl_and_sft_none(run_folder: Path) -> None:
    rows = {row["name"]: row for row in comparison(RunFiles(run_folder))["systems"]}
    assert rows["best_of_4"]["kl"] == "≤ 0.64"
    assert rows["rlhf"]["kl"] == "4.1"
    assert rows["sft"]["wins_interval"] == ""
    assert rows["base"]["kl"] == "–"


def test_the_change_of_diversity_has_its_interval(run_folder: Path) -> None:
    change = comparison(RunFiles(run_folder))["diversity_change"]
    assert change[:2] == [
        ("distinct-2", "0.467 → 0.259", "−45 %"),
        ("distinct-2, change", "−0.208", "−0.229 to −0.187"),
    ]
