"""Systems side by side."""

from collections.abc import Callable
from pathlib import Path

from stategpt.report.run_files import RunFiles
from stategpt.report.views.comparison import comparison


def test_all_systems_answer_the_same_prompt(run_folder: Path) -> None:
    example = comparison(RunFiles(run_folder))["examples"][0]
    assert [answer["label"] for answer in example["answers"]] == [
        *("base", "prompted base", "SFT", "best-of-4", "RLHF"),
        *("RLHF, beta 0.04", "reference answers"),
    ]
    assert example["answers"][-1]["text"].startswith("Remove and return")
    assert all(answer["score"] is not None for answer in example["answers"])


def test_another_best_of_n_takes_the_place_of_four(publish_part: Callable[..., str], tmp_path: Path) -> None:
    answers = {name: {"text": name} for name in ("sft", "best_of_2", "best_of_16")}
    example = {"prompt": "p", "answers": answers}
    publish_part(tmp_path, "comparison/evaluation", {"evaluation.json": {"examples": [example]}})
    shown = comparison(RunFiles(tmp_path))["examples"][0]["answers"]
    assert [(answer["label"], answer["score"]) for answer in shown] == [("SFT", None), ("best-of-16", None)]


def test_best_of_n_shows_the_bound_of_its_kl_and_sft_none(run_folder: Path) -> None:
    rows = {row["name"]: row for row in comparison(RunFiles(run_folder))["systems"]}
    assert rows["best_of_4"]["kl"] == "≤ 0.64"
    assert rows["rlhf"]["kl"] == "4.10"
    assert rows["sft"]["wins_interval"] == ""
    assert rows["base"]["kl"] == "–"


def test_the_change_of_diversity_has_its_interval(run_folder: Path) -> None:
    change = comparison(RunFiles(run_folder))["diversity_change"]
    assert change[:2] == [
        ("distinct-2", "0.467 → 0.259", "−45 %"),
        ("distinct-2, change", "−0.208", "−0.229 to −0.187"),
    ]


def test_seeds_have_a_row_each_and_one_seed_is_said_to_be_left_out(
    run_folder: Path, publish_part: Callable[..., str], tmp_path: Path
) -> None:
    shown = comparison(RunFiles(run_folder))
    assert [(row["name"], row["wins"], row["kl"]) for row in shown["seeds"]] == [
        ("rl", "62.0 %", "4.10"),
        ("rl/seed_1", "60.0 %", "3.90"),
        ("rl/seed_2", "64.0 %", "4.30"),
    ]
    assert "mean over 3 policies" in shown["left_out"]
    one = {"seeds": 1, "systems": {"rlhf": {"seeds": [{"stage": "rl"}]}}}
    publish_part(tmp_path, "comparison/evaluation", {"evaluation.json": one})
    alone = comparison(RunFiles(tmp_path))
    assert alone["seeds"] == []
    assert "leave the seed out" in alone["left_out"]


def test_rlhf_against_best_of_n_says_what_the_intervals_show(
    run_folder: Path, publish_part: Callable[..., str], tmp_path: Path
) -> None:
    shown = comparison(RunFiles(run_folder))
    four = shown["against"][1]
    assert (four["label"], four["wins"], four["wins_interval"]) == ("best-of-4", "−3.0 %", "−5.8 to −0.2")
    assert (four["kl_bound"], four["kl"]) == ("≤ 0.64", "4.10")
    assert "best-of-4, at 6.4 times the KL" in shown["judged"][0]
    assert len(shown["judged"]) == 2
    assert "more reward than best-of-4 and wins less often" in shown["judged"][1]

    def judged(wins: float, reward: float, kl: float) -> list[str]:
        row = {
            "wins": {"mean": wins, "low": wins - 0.05, "high": wins + 0.05},
            "reward": {"mean": reward, "low": reward},
            "kl_bound": 0.64,
        }
        system = {"rlhf": {"kl": {"mean": kl}}}
        part = {"against_best_of": {"4": row}, "systems": system}
        publish_part(tmp_path, "comparison/evaluation", {"evaluation.json": part})
        return comparison(RunFiles(tmp_path))["judged"]

    assert judged(wins=0.1, reward=1.0, kl=4.0) == [], "more wins for more KL and reward"
    assert judged(wins=-0.1, reward=-1.0, kl=0.5) == []
    assert len(judged(wins=-0.1, reward=-1.0, kl=0.7)) == 1
    assert "over-optimization" in judged(wins=-0.1, reward=1.0, kl=0.5)[0]
    assert judged(wins=-0.04, reward=1.0, kl=0.5) == [], "fewer wins, but the interval does not decide it"


def test_policies_of_other_betas_are_in_every_table(run_folder: Path) -> None:
    shown = comparison(RunFiles(run_folder))
    assert "RLHF, beta 0.04" in [row["label"] for row in shown["systems"]]
    assert [(row["label"], row["wins"], row["reward"]) for row in shown["against_rlhf"]] == [
        ("RLHF, beta 0.04", "−3.5 %", "+0.90"),
    ]


def test_the_most_repeated_answers_of_each_system_are_listed_with_their_shares(run_folder: Path) -> None:
    shown = {row["name"]: row for row in comparison(RunFiles(run_folder))["repeated"]}
    assert list(shown) == ["sft", "rlhf", "rlhf_beta_0.04", "reference"]
    assert shown["rlhf_beta_0.04"]["rows"][0] == {
        "text": "Return the current context.",
        "count": "90",
        "share": "13.4 %",
        "width": 13.39,
    }
    assert shown["reference"]["rows"] == []
