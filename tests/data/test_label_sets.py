"""Label sets: nested, balanced, another for each seed, independent of the order of the files."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from labeled_files import labeled_rows, small_run
from stategpt.data.corpus import Corpus
from stategpt.data.label_sets import drawn_sequence, drawn_tests, require_labels
from stategpt.data.records import LabeledText
from stategpt.errors import DataError

NAMES = ("negative", "positive")
TEXTS = [LabeledText(row["text"], row["label"]) for row in labeled_rows(60)]


def test_each_set_is_balanced_and_holds_the_smaller_ones() -> None:
    drawn = drawn_sequence(TEXTS, NAMES, 40, seed=3)
    assert len({each.text for each in drawn}) == 40
    for count in (4, 10, 40):
        assert Counter(each.label for each in drawn[:count]) == dict.fromkeys(NAMES, count // 2)
        assert drawn_sequence(TEXTS, NAMES, count, seed=3) == drawn[:count]


def test_the_order_of_the_files_changes_nothing() -> None:
    assert drawn_sequence(TEXTS[::-1], NAMES, 20, 0) == drawn_sequence(TEXTS, NAMES, 20, 0)
    assert drawn_tests(TEXTS[::-1], 20, 0) == drawn_tests(TEXTS, 20, 0)


def test_another_seed_draws_others() -> None:
    first, second = (frozenset(each.text for each in drawn_sequence(TEXTS, NAMES, 10, seed)) for seed in (0, 1))
    assert first != second


def test_no_more_tests_than_there_are() -> None:
    assert len(drawn_tests(TEXTS, 1000, 0)) == 60
    assert len({each.text for each in drawn_tests(TEXTS, 7, 0)}) == 7


def test_a_class_with_too_few_texts_is_named() -> None:
    run = small_run(Path("/nowhere"), label_counts=[4, 40])
    few = [each for each in TEXTS if each.label == "negative"] + [TEXTS[0]]
    sides = {"train": few, "validation": [], "test": TEXTS[:4]}
    corpus = Corpus({}, {"train": [], "validation": [], "test": []}, {}, labels=sides)
    with pytest.raises(DataError, match=r"train side has 1 texts of 'positive', and 20 are needed"):
        require_labels(run, corpus)
    require_labels(replace(run, stages=("prepare", "pretrain")), corpus)
    named = small_run(Path("/nowhere"), labels=["positive", "neutral"])
    with pytest.raises(DataError, match="the data also has negative"):
        require_labels(named, corpus)
