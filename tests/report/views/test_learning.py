"""Samples over training and the measures of SFT."""

from pathlib import Path

from stategpt.report.run_files import RunFiles
from stategpt.report.views.learning import learning


def test_samples_are_grouped_by_prompt_and_step_with_the_greedy_one_apart(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    lines = [(50, "a", "2", 1), (0, "a", "1", 0), (0, "b", "3", 1), (50, "a", "again", 2), (50, "a", "likely", 0)]
    text = "".join(
        f'{{"step": {step}, "prompt": "{prompt}", "text": "{said}", "draw": {draw}}}\n'
        for step, prompt, said, draw in lines
    )
    (tmp_path / "base" / "samples.jsonl").write_text(text)
    assert learning(RunFiles(tmp_path))["samples"] == [
        {
            "prompt": "a",
            "steps": [
                {"step": "0", "greedy": "1", "drawn": []},
                {"step": "50", "greedy": "likely", "drawn": ["2", "again"]},
            ],
        },
        {"prompt": "b", "steps": [{"step": "0", "greedy": None, "drawn": ["3"]}]},
    ]


def test_hyperparameters_are_beside_the_published_ones(run_folder: Path) -> None:
    rows = dict(learning(RunFiles(run_folder))["hyperparameters"])
    assert rows["parameters"][1:] == ["175 B", "65.2 B"]
    assert rows["training tokens"] == ["1.05 M", "300 B", "1.4 T"]
    assert rows["tokens per parameter"][1:] == ["1.7", "21.5"]


def test_the_mask_says_which_tokens_are_learned(run_folder: Path) -> None:
    tokens = learning(RunFiles(run_folder))["training_example"]
    assert [token["text"] for token in tokens if token["trained"]] == ["Return", "·a", "·queue", ".", "<|endoftext|>"]
    assert [token["text"] for token in tokens if token["control"]][1:3] == ["<|user|>", "<|assistant|>"]


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
    found = learning(RunFiles(tmp_path))
    assert all(not value for value in found.values())
