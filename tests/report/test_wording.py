"""Numbers and foreign text as the report writes them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stategpt.evaluate.statistics import Interval
from stategpt.report import wording
from stategpt.visible_text import visible


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (wording.fixed(-0.16), "−0.160"),
        (wording.fixed(None), "–"),
        (wording.fixed(float("nan")), "–"),
        (wording.signed(0.0321), "+0.032"),
        (wording.percent(0.6153), "62 %"),
        (wording.percent(0.6153, 1), "61.5 %"),
        (wording.count(1_049_600), "1.05 M"),
        (wording.count(368_640), "368,640"),
        (wording.duration(21.4), "21 s"),
        (wording.duration(184.2), "3 min 04 s"),
        (wording.duration(3_725), "1 h 02 min"),
        (wording.span(Interval(0.6, 0.5839, 0.6421)), "0.584 to 0.642"),
        (wording.span(Interval(0.6, -math.inf, math.inf)), ""),
        (wording.Names().system("best_of_4"), "best-of-4"),
        (wording.Names().system("rlhf_beta_0.04"), "RLHF, beta 0.04"),
    ],
)
def test_numbers_are_written_for_people(written: str, expected: str) -> None:
    assert written == expected


def test_tokens_show_their_white_space() -> None:
    assert wording.visible_token(" the\n") == "·the↵"
    assert wording.visible_token("") == "∅"


@given(st.text(alphabet=st.characters(codec=None)))
def test_any_text_becomes_printable_utf8_and_plain_text_stays(text: str) -> None:
    shown = visible(text)
    shown.encode("utf-8")
    assert not any(character < " " and character not in "\n\t" for character in shown)
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\x7f\x9b")
    if text.isascii() and text.isprintable():
        assert shown == text


def test_control_characters_are_escaped_as_python_writes_them() -> None:
    assert visible("a\x00\x1b[31m\u202eb") == "a\\x00\\x1b[31m\\u202eb"
    assert visible("lone \ud800") == "lone ?"


def test_only_short_runs_are_said_to_be_rarely_true() -> None:
    assert wording.sentence(1_049_600).endswith("at a million tokens they are rarely true.")
    assert wording.sentence(6_144).endswith("and after 6,144 tokens they are rarely true.")
    assert wording.sentence(None) == wording.sentence(1_049_600)
    assert wording.sentence(6_000_000).endswith("about the question, after 6 M tokens, is measured below.")
