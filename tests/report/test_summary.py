"""The short text at the end of a run."""

from collections.abc import Callable
from pathlib import Path

from stategpt.report.summary import summary


def test_the_summary_names_stages_seconds_and_gates(run_folder: Path) -> None:
    text = summary(run_folder)
    lines = text.splitlines()
    assert lines[0].startswith("tiny_cpu: How a GPT assistant is made")
    assert max(map(len, lines)) <= 80
    assert any("pretraining" in line and "3 min 04 s" in line and "1.05 M tokens" in line for line in lines)
    assert any("total" in line and "13 min 07 s" in line for line in lines)
    assert [line.split()[1] for line in lines if line.startswith(("  pass", "  fail", "  warn"))] == [
        "base",
        "sft_ended",
        "sft_similarity",
        "reward_accuracy",
        "reward_beats_length",
        "rl_win_rate",
        "rl_kl",
        "rl_best_of_n",
        "diversity_unique",
    ]


def test_a_run_that_has_just_begun_has_a_summary_too(write_run: Callable[..., Path], tmp_path: Path) -> None:
    parts = ["data", "base", "sft", "rankings", "reward", "rl", "comparison", "gates", "lineage.json"]
    assert summary(write_run(tmp_path / "run", parts), width=200).splitlines() == [
        "tiny_cpu: How a GPT assistant is made, in miniature; its answers have the form of the reference answers, and "
        "at a million tokens they are rarely true."
    ]
