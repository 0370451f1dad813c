"""Golden values are worked out by hand (the fractions) and agree with sacrebleu 2.6's sentence chrF divided by 100."""

import doctest
import importlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stategpt.errors import InvalidArgument
from stategpt.evaluate.chrf import chrf

TEXTS = st.text("ab c.", max_size=12)


@pytest.mark.parametrize(
    ("hypothesis", "reference", "expected"),
    [
        # n=1: P 2/2, R 2/3; n=2: P 1/1, R 1/2; longer n: none in the hypothesis. P = 1, R = 7/12.
        ("ab", "abc", 5 * (7 / 12) / (4 + 7 / 12)),
        # Precision and recall change places, and recall weighs more.
        ("abc", "ab", 5 * (7 / 12) / (4 * 7 / 12 + 1)),
        # n=1: 3/4; n=2: 1/3; n=3 and n=4: 0; P = R = 13/48.
        ("abcd", "abxd", 13 / 48),
        # Counts are clipped: n=1: P 2/4, R 1; n=2: P 1/3, R 1.
        ("aaaa", "aa", 25 / 32),
        ("x", "y", 0.0),
        ("", "x", 0.0),
        ("x", "", 0.0),
        ("", "", 0.0),
    ],
)
def test_values_worked_out_by_hand(hypothesis: str, reference: str, expected: float) -> None:
    assert chrf(hypothesis, reference, beta=2) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("hypothesis", "reference", "sacrebleu"),
    [
        ("the cat", "the cats", 77.57103344229319),
        ("Return the value.", "Return a value of the key.", 39.125649460179865),
    ],
)
def test_it_equals_sacrebleu(hypothesis: str, reference: str, sacrebleu: float) -> None:
    assert 100 * chrf(hypothesis, reference, beta=2) == pytest.approx(sacrebleu, abs=1e-10)


@given(TEXTS.filter(lambda text: text.strip() != ""))
def test_a_text_scores_one_against_itself(text: str) -> None:
    assert chrf(text, text) == pytest.approx(1, abs=1e-12)


@given(TEXTS, TEXTS)
def test_whitespace_is_ignored_and_scores_stay_in_range(hypothesis: str, reference: str) -> None:
    score = chrf(hypothesis, reference)
    assert 0 <= score <= 1 + 1e-12
    assert chrf(" ".join(hypothesis), reference.replace(" ", "\n")) == score


def test_rambling_on_is_rewarded_only_where_recall_weighs_more() -> None:
    reference, short = "Return the name of the file.", "Return the name."
    rambling = "Return the name of the class and the method, a path to the given file or None if it is not there"
    assert chrf(short, reference) > chrf(rambling, reference)
    assert chrf(short, reference, beta=3) < chrf(rambling, reference, beta=3)


def test_plain_chrf_is_symmetric() -> None:
    assert chrf("return a list", "return the lists") == pytest.approx(chrf("return the lists", "return a list"))


@pytest.mark.parametrize(("order", "beta"), [(0, 2.0), (6, 0.0), (6, -1.0)])
def test_bad_arguments_are_refused(order: int, beta: float) -> None:
    with pytest.raises(InvalidArgument):
        chrf("a", "a", order=order, beta=beta)


def test_the_example_in_the_docstring_holds() -> None:
    module = importlib.import_module("stategpt.evaluate.chrf")
    assert doctest.testmod(module) == (0, 1)
