"""Samples over training and the measures of SFT."""

from pathlib import Path

from stategpt.report.run_files import RunFiles
from stategpt.report.views.learning import learning


def test_samples_are_grouped_by_prompt_and_ordered_by_step(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    lines = [(50, "a", "2"), (0, "a", "1"), (0, "b", "3"), (50, "a", "again")]
    text = "".join(f'{{"step": {step}, "prompt": "{prompt}", "text": "{said}"}}\n' for step, prompt, said in lines)
    (tmp_path / "base" / "samples.jsonl").write_text(text)
    assert learning(RunFiles(tmp_path))["samples"] == [
        {"prompt": "a", "texts": [{"step": "0", "text": "1"}, {"step": "50", "text": "again"}]},
        {"prompt": "b", "texts": [{"step": "0", "text": "3"}]},
    ]


def test_similarities_stand_beside_the_prompted_base_and_shuffled_references(run_folder: Path) -> None:
    found = learning(RunFiles(run_folder))
    assert [(row["label"], row["value"], row["difference"]) for row in found["sft"]] == [
        ("SFT", "0.147", ""),
        ("prompted base", "0.138", "+0.009"),
        ("base, same prompt", "0.115", "+0.032"),
        ("SFT, shuffled references", "0.140", "+0.007"),
    ]
    assert found["relevance"]["mentions"] == "3 %"


def test_without_an_evaluation_there_is_nothing_to_say(tmp_path: Path) -> None:
    assert learning(RunFiles(tmp_path)) == {"samples": [], "sft": [], "relevance": None}
