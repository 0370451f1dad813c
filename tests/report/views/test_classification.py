"""The section on classification: numbers as measured, and no claim beyond an interval."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stategpt.report.figures.classification import classification_sketches
from stategpt.report.run_files import RunFiles
from stategpt.report.views.classification import classification


def _interval(mean: float, half: float = 0.02) -> dict[str, float]:
    return {"mean": mean, "low": mean - half, "high": mean + half}


def _evaluation(random: tuple[float, float], few_shot: tuple[float, float]) -> dict[str, Any]:
    """An evaluation with these gains at 10 and 100 labels, each with an interval of +- 0.02."""
    gains = [
        {"labels": labels, "method": "full", "other": other, "accuracy": _interval(gain)}
        for other, given in (("random", random), ("few_shot", few_shot))
        for labels, gain in zip((10, 100), given, strict=True)
    ]
    measures = [
        {"method": method, "labels": labels, "used": 6 if method == "few_shot" else labels, "seeds": 3,
         "accuracy": _interval(0.6), "by_seed": [0.59, 0.6, 0.61], "macro_f1": 0.58, "train_tokens": 1200.0,
         "test_tokens": 5e5}
        for method in ("full", "few_shot", "random")
        for labels in (10, 100)
    ]  # fmt: skip
    return {
        "labels": ["bad", "good"],
        "train_texts": 500,
        "test_texts": 100,
        "duplicates": 7,
        "max_tokens": 128,
        "cut_texts": 40,
        "majority_share": 0.5,
        "measures": measures,
        "gains": gains,
        "confusion": {"bad": [40, 10], "good": [5, 45]},
        "few_shot_document": "Text: a\nLabel:",
    }


@pytest.fixture
def shown(publish_part: Callable[..., str], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The section's context for gains at 10 and 100 labels."""

    def of(random: tuple[float, float], few_shot: tuple[float, float]) -> dict[str, Any]:
        publish_part(tmp_path, "classify/evaluation", {"evaluation.json": _evaluation(random, few_shot)})
        return classification(RunFiles(tmp_path))

    return of


def test_the_table_has_what_was_measured(shown: Callable[..., dict[str, Any]]) -> None:
    found = shown((0.1, 0.1), (0.1, 0.1))
    assert [(row["method"], row["labels"], row["used"]) for row in found["rows"]][2:4] == [
        ("few-shot prompt", "10", "6"),
        ("few-shot prompt", "100", "6"),
    ]
    first = found["rows"][0]
    assert (first["accuracy"], first["interval"], first["by_seed"]) == ("60.0 %", "58.0 to 62.0", "59.0, 60.0, 61.0")
    assert found["confusion"][1] == {"label": "good", "counts": ["5", "45"]}
    assert ("copies left out", "7", "before the split") in found["facts"]


def test_a_gain_is_said_only_where_its_interval_excludes_0(shown: Callable[..., dict[str, Any]]) -> None:
    lesson = shown((0.01, 0.1), (0.08, 0.12))["lesson"]
    assert lesson.verdict == "seen"
    assert lesson.text == (
        "Accuracy of the fine-tuned model: against the same shape from random weights it is higher by +10.0 points "
        "(8.0 to 12.0) with 100 labels, not measurably different (+1.0 points (−1.0 to 3.0) with 10 labels); against a "
        "few-shot prompt of the same base model it is higher by +8.0 points (6.0 to 10.0) with 10 labels, +12.0 points "
        "(10.0 to 14.0) with 100 labels."
    )
    found = shown((0.01, 0.01), (0.1, 0.1))
    assert found["lesson"].verdict == "undecided"
    assert [row["verdict"] for row in found["gains"]] == ["not decided", "not decided", "higher", "higher"]
    worse = shown((-0.1, 0.1), (0.1, 0.1))
    assert worse["lesson"].verdict == "not seen"
    assert "lower by −10.0 points (−12.0 to −8.0) with 10 labels" in worse["lesson"].text


def test_without_a_measurement_nothing_is_said(tmp_path: Path) -> None:
    found = classification(RunFiles(tmp_path))
    assert (found["lesson"], found["rows"], found["gains"]) == (None, [], [])
    assert classification_sketches(RunFiles(tmp_path)) == []


def test_the_figure_says_how_many_draws_and_texts(shown: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    shown((0.1, 0.1), (0.1, 0.1))
    (sketch,) = classification_sketches(RunFiles(tmp_path))
    assert "the same 100 held-out texts, mean over 3 draws" in sketch.caption
