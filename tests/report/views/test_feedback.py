"""The ranked prompt, the reward model's numbers and the frontier."""

from collections.abc import Callable
from pathlib import Path

from stategpt.report.page import render
from stategpt.report.run_files import RunFiles
from stategpt.report.views.feedback import feedback


def test_the_ranked_prompt_shows_the_best_completion_first_with_its_points(run_folder: Path) -> None:
    ranked = feedback(RunFiles(run_folder))["ranked"]
    assert [row["rank"] for row in ranked["completions"]] == [1, 2, 3, 4]
    assert [row["letter"] for row in ranked["completions"]] == ["A", "B", "C", "D"]
    assert all(sum(map(int, row["points"])) == int(row["score"]) for row in ranked["completions"])
    assert ranked["pairs"] == "A over B, A over C, A over D, B over C, B over D, C over D"


def test_completions_without_points_still_show(
    write_run: Callable[..., Path], publish_part: Callable[..., str], tmp_path: Path
) -> None:
    root = write_run(tmp_path / "run", ["rankings", "lineage.json"])
    record = {"prompt": "p", "completions": [{"text": "y", "rank": 2}, {"text": "x", "rank": 1}]}
    publish_part(root, "rankings/evaluation", {"evaluation.json": {"example": record}})
    ranked = feedback(RunFiles(root))["ranked"]
    assert [(row["text"], row["score"], row["points"]) for row in ranked["completions"]] == [
        ("x", "–", []),
        ("y", "–", []),
    ]
    assert ranked["pairs"] == ""


def test_only_measured_numbers_of_the_reward_model_are_listed(run_folder: Path, tmp_path: Path) -> None:
    numbers = {label: (value, note) for label, value, note in feedback(RunFiles(run_folder))["reward"]}
    assert numbers["pair accuracy"] == ("0.815", "0.797 to 0.833")
    assert numbers["model minus length"] == ("+0.263", "0.222 to 0.304")
    assert numbers["pairs"] == ("2,103", "with a clear preference, of 451 of 672 prompts")
    assert feedback(RunFiles(tmp_path))["reward"] == []


def test_the_frontier_says_where_wins_were_highest(run_folder: Path) -> None:
    rows = feedback(RunFiles(run_folder))["frontiers"]
    assert [(row["label"], row["wins"], row["best"]) for row in rows] == [
        ("beta 0.8", "62.0 %", "62.0 % at 4.1 nats"),
        ("beta 0.04", "58.5 %", "61.5 % at 5.9 nats"),
    ]


def test_the_scorers_part_is_said(run_folder: Path, tmp_path: Path) -> None:
    said = " ".join(feedback(RunFiles(run_folder))["scoring"])
    assert "One scorer ranks the completions and judges the policies" in said
    assert "451 of 672 test prompts" in said
    page = render(run_folder).read_text()
    assert "The prompts are those of SFT" in page
    assert "672 test prompts about 518 subjects" in page
