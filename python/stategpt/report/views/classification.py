"""Classification: accuracy, F1, tokens and seconds of every method and number of labels, and what the intervals say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stategpt.config import RunConfig
from stategpt.config.dial import resolved_optim
from stategpt.evaluate.records import ClassifierMeasures, ClassifyEvaluation, MethodGain
from stategpt.report import lessons
from stategpt.report.run_files import RunFiles, number
from stategpt.report.wording import METHOD_LABELS, count, duration, fixed, percent
from stategpt.visible_text import visible


def classification(files: RunFiles) -> dict[str, Any]:
    """Context of the part on classification."""
    found = files.evaluations.classify
    seconds = _seconds(files)
    return {
        "facts": _facts(found, files.run),
        "rows": [_row(row, seconds) for row in found.measures],
        "gains": [_gain(row) for row in found.gains if row.accuracy is not None],
        "lesson": lessons.few_labels(found),
        "confusion": _confusion(found),
        "prompt": visible(found.few_shot_document),
        "calibrated": found.calibrated,
    }


def _seconds(files: RunFiles) -> Mapping[tuple[str, int], tuple[float, float]]:
    """Mean seconds of training and of testing by method and texts used, from the log, which has a line an arm."""
    log = files.metrics("classify")
    arms = files.classified_arms()
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for line in log:
        place, train, test = (number(line, key) for key in ("step", "train_seconds", "test_seconds"))
        if place is None or train is None or test is None or not 1 <= int(place) <= len(arms):
            continue
        arm = arms[int(place) - 1]
        found.setdefault((arm.method, arm.texts), []).append((train, test))
    return {key: (_mean([a for a, _ in each]), _mean([b for _, b in each])) for key, each in found.items()}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _facts(found: ClassifyEvaluation, run: RunConfig | None) -> list[tuple[str, str, str]]:
    """What was read, with what was left out or cut."""
    cut = f"of a longer one the first are read; {count(found.cut_texts)} test texts are longer"
    wanted: tuple[tuple[str, float | None, str], ...] = (
        ("training texts", found.train_texts, "label sets are drawn from them"),
        ("test texts", found.test_texts, "held out by text; every method reads the same"),
        ("copies left out", found.duplicates, "before the split"),
        ("tokens of a text at most", found.max_tokens, cut),
    )
    rows = [(label, count(value), note) for label, value, note in wanted if value is not None]
    if run is not None and found.measures:
        given, rate = run.classify, resolved_optim(run, "classify").learning_rate
        scales = {"lora": given.lora_rate_scale, "random": given.random_rate_scale}
        others = ", ".join(
            f"{method} {rate * scale:.2g}" for method, scale in scales.items() if method in given.methods
        )
        rows.append(("learning rate", f"{rate:.2g}", others))
        note = f"{given.epochs:g} epochs, {given.batch_texts} texts a step"
        rows.append(("steps at least", count(given.min_steps), note))
    return rows


def _row(row: ClassifierMeasures, seconds: Mapping[tuple[str, int], tuple[float, float]]) -> dict[str, str]:
    train, test = seconds.get((row.method, row.used), (None, None))
    interval = row.accuracy
    return {
        "method": METHOD_LABELS.get(row.method, row.method),
        "labels": count(row.labels),
        "used": count(row.used),
        "accuracy": "–" if interval is None else percent(interval.mean, 1),
        "interval": "" if interval is None else f"{fixed(100 * interval.low, 1)} to {fixed(100 * interval.high, 1)}",
        "by_seed": ", ".join(fixed(100 * value, 1) for value in row.by_seed),
        "f1": fixed(row.macro_f1),
        "train_tokens": count(row.train_tokens),
        "test_tokens": count(row.test_tokens),
        "train_seconds": duration(train),
        "test_seconds": duration(test),
    }


def _gain(row: MethodGain) -> dict[str, str]:
    """Difference of two methods in points, with its interval."""
    said = lessons.points(row.accuracy)
    return {
        "labels": count(row.labels),
        "other": METHOD_LABELS.get(row.other, row.other),
        "points": said.mean,
        "interval": said.span,
        "verdict": {1: "higher", -1: "lower", 0: "not decided"}[lessons.sign_of(row.accuracy)],
    }


def _confusion(found: ClassifyEvaluation) -> list[dict[str, Any]]:
    """Rows of the published classifier's confusion matrix."""
    return [
        {"label": visible(label), "counts": [count(number) for number in row]} for label, row in found.confusion.items()
    ]
