"""Accuracy, F1 and differences of classifiers against computations by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stategpt.errors import InvalidArgument
from stategpt.evaluate.classification import confusion_matrix, macro_f1, measure_arms, method_gains
from stategpt.evaluate.records import ArmResult, Arms
from stategpt.evaluate.statistics import seeded_bootstrap

TRUTH = (0, 0, 0, 1, 1, 2)
ARMS = Arms(labels=("a", "b", "c"), truth=TRUTH, groups=("g1", "g1", "g2", "g3", "g4", "g5"))


def _arm(method: str, seed: int, predicted: tuple[int, ...], texts: int = 10) -> ArmResult:
    return ArmResult(method, texts, seed, predicted, train_tokens=100 * (seed + 1), test_tokens=7)


def test_the_confusion_matrix_counts_truth_by_prediction() -> None:
    found = confusion_matrix(TRUTH, (0, 1, 0, 1, 1, 0), 3)
    assert found.tolist() == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]
    with pytest.raises(InvalidArgument, match="6 true labels and 1 predicted"):
        confusion_matrix(TRUTH, (0,), 3)
    with pytest.raises(InvalidArgument, match=r"numbers of 0 \.\. 2"):
        confusion_matrix((0, 3), (0, 0), 3)


def test_macro_f1_is_the_mean_over_classes_rare_ones_included() -> None:
    # a: precision 2/3, recall 2/3; b: precision 2/3, recall 1; c: never found
    found = macro_f1(confusion_matrix(TRUTH, (0, 1, 0, 1, 1, 0), 3))
    assert found == pytest.approx((2 / 3 + 2 * (2 / 3) / (5 / 3) + 0) / 3)
    assert macro_f1(np.diag([3, 2, 1])) == 1.0
    assert macro_f1(np.array([[2, 0], [0, 0]])) == 0.5


def test_accuracy_is_over_texts_and_draws_with_an_interval_for_both() -> None:
    draws = [
        _arm("full", 0, (0, 0, 0, 1, 1, 2)),
        _arm("full", 1, (0, 0, 1, 1, 1, 1)),
        _arm("full", 2, (0, 1, 1, 1, 0, 1)),
    ]
    (found,) = measure_arms(ARMS, {("full", 10): draws}, seed=1, resamples=200)
    right = np.array([np.array(draw.predicted) == TRUTH for draw in draws], dtype=float)
    assert found.by_seed == (1.0, pytest.approx(4 / 6), pytest.approx(2 / 6))
    expected = seeded_bootstrap(right, ARMS.groups, 1, 200)
    assert found.accuracy is not None
    assert found.accuracy == replace(expected, low=max(0.0, expected.low), high=min(1.0, expected.high))
    assert found.accuracy.mean == pytest.approx(right.mean())
    scores = [macro_f1(confusion_matrix(TRUTH, draw.predicted, 3)) for draw in draws]
    assert found.macro_f1 == pytest.approx(sum(scores) / 3)
    assert (found.seeds, found.used, found.train_tokens, found.test_tokens) == (3, 10, 200.0, 7.0)


def test_draws_that_differ_widen_the_interval() -> None:
    many = Arms(labels=("a", "b"), truth=(0, 1) * 200, groups=tuple(f"g{number}" for number in range(400)))
    widths = []
    for accuracies in ((0.5, 0.5, 0.5), (0.45, 0.5, 0.55)):
        predicted = [(0, 1) * int(200 * share) + (1, 0) * round(200 * (1 - share)) for share in accuracies]
        draws = [_arm("full", seed, given) for seed, given in enumerate(predicted)]
        (found,) = measure_arms(many, {("full", 10): draws}, seed=1, resamples=200)
        assert found.accuracy is not None
        assert found.accuracy.mean == pytest.approx(0.5)
        widths.append(found.accuracy.high - found.accuracy.low)
    assert widths[1] > 1.5 * widths[0]


def test_no_bound_of_a_share_is_outside_0_and_1() -> None:
    apart = [_arm("full", 0, TRUTH), _arm("full", 1, (1, 1, 1, 0, 0, 0))]
    (found,) = measure_arms(ARMS, {("full", 10): apart}, seed=1, resamples=200)
    assert found.accuracy is not None
    assert (found.accuracy.low, found.accuracy.high) == (0.0, 1.0)


def test_gains_compare_full_with_each_other_method_at_the_same_labels() -> None:
    sets = {
        ("full", 10): [_arm("full", 0, TRUTH)],
        ("few_shot", 10): [_arm("few_shot", 0, (0, 0, 1, 1, 0, 2), texts=4)],
        ("random", 100): [_arm("random", 0, TRUTH, texts=100)],
    }
    (gain,) = method_gains(ARMS, sets, "full", seed=1, resamples=200)
    assert (gain.labels, gain.method, gain.other) == (10, "full", "few_shot")
    assert gain.accuracy is not None
    assert gain.accuracy.mean == pytest.approx(2 / 6)
