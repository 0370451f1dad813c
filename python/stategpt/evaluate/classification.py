"""Measures of classification: accuracy with an interval over test texts and draws of labels, F1, paired differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from stategpt.errors import InvalidArgument
from stategpt.evaluate.records.classification import ArmResult, Arms, ClassifierMeasures, MethodGain
from stategpt.evaluate.statistics import Interval, seeded_bootstrap

Numbers = npt.NDArray[np.int64]
Sets = Mapping[tuple[str, int], Sequence[ArmResult]]
"""Results of each method and number of labels, one a draw."""


def confusion_matrix(truth: npt.ArrayLike, predicted: npt.ArrayLike, classes: int) -> Numbers:
    """How many texts of each class (row) were given each label (column). -> int64[C, C].

    Raises:
        InvalidArgument: vectors of different length, or a number outside 0 .. C-1.
    """
    truth_N, predicted_N = np.asarray(truth, np.int64), np.asarray(predicted, np.int64)
    if truth_N.shape != predicted_N.shape:
        raise InvalidArgument(f"{truth_N.size} true labels and {predicted_N.size} predicted ones; give one each a text")
    both = np.concatenate([truth_N, predicted_N])
    if both.size and not (both.min() >= 0 and both.max() < classes):
        raise InvalidArgument(f"labels are numbers of 0 .. {classes - 1}; got {both.min()} .. {both.max()}")
    cells = np.bincount(truth_N * classes + predicted_N, minlength=classes * classes)
    return cells.reshape(classes, classes).astype(np.int64)


def macro_f1(confusion: Numbers) -> float:
    """Mean over classes of F1 = 2 TP / (2 TP + FP + FN); a class that is neither there nor predicted counts 0."""
    right = np.diag(confusion).astype(np.float64)
    named = confusion.sum(axis=0) + confusion.sum(axis=1)
    return float(np.mean(np.divide(2 * right, named, out=np.zeros_like(right), where=named > 0)))


def measure_arms(arms: Arms, sets: Sets, seed: int, resamples: int) -> list[ClassifierMeasures]:
    """Measures of each method and number of labels.

    Args:
        arms: labels, truth and groups of the test texts.
        sets: results by (method, number of labels), one a draw.
        seed: of the bootstrap.
        resamples: of the test groups.
    """
    classes = len(arms.labels)
    found = []
    for (method, count), results in sets.items():
        right_SN = _right(arms, results)
        scores = [macro_f1(confusion_matrix(arms.truth, each.predicted, classes)) for each in results]
        found.append(
            ClassifierMeasures(
                method=method,
                labels=count,
                used=max(each.texts for each in results),
                seeds=len(results),
                accuracy=_within_0_and_1(seeded_bootstrap(right_SN, arms.groups, seed, resamples)),
                by_seed=tuple(right_SN.mean(axis=1).tolist()),
                macro_f1=float(np.mean(scores)),
                train_tokens=float(np.mean([each.train_tokens for each in results])),
                test_tokens=float(np.mean([each.test_tokens for each in results])),
            )
        )
    return found


def method_gains(arms: Arms, sets: Sets, first: str, seed: int, resamples: int) -> Iterator[MethodGain]:
    """Accuracy of the method `first` minus that of each other one with the same labels, draw by draw."""
    for (method, count), results in sets.items():
        own = sets.get((first, count))
        if method == first or own is None:
            continue
        difference_SN = _right(arms, own) - _right(arms, results)
        yield MethodGain(count, first, method, seeded_bootstrap(difference_SN, arms.groups, seed, resamples))


def _within_0_and_1(share: Interval) -> Interval:
    """The interval of a share, without what no share can be: with few draws Student's t reaches far."""
    return replace(share, low=max(0.0, share.low), high=min(1.0, share.high))


def _right(arms: Arms, results: Sequence[ArmResult]) -> npt.NDArray[np.float64]:
    """1 where the label is right, one row a draw. -> [S, N]."""
    predicted_SN = np.array([each.predicted for each in results], dtype=np.int64)
    return np.asarray(predicted_SN == np.asarray(arms.truth), dtype=np.float64)
