"""Cleaning of single texts."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stategpt.data.curation import clean_text, repair_mojibake
from stategpt.errors import InvalidArgument

ODD = "ab é\u0301\u0327 \t\n\r\x0b\x0c\x00\x7f\x85\xa0\xad\ufeff\u2000\u2028\u2029\u3000\u212b"
TEXTS = st.text(ODD, max_size=40) | st.text(st.characters(exclude_categories=("Cs",)), max_size=40)


def reference(text: str) -> str:
    """The definition, in the order in which `clean_text` states it."""
    for end in ("\r\n", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029"):
        text = text.replace(end, "\n")
    kept = (
        " " if unicodedata.category(each) == "Zs" else each
        for each in text
        if each in "\t\n" or (unicodedata.category(each) != "Cc" and each not in "\ufeff\xad")
    )
    lines = [line.rstrip(" \t") for line in unicodedata.normalize("NFC", "".join(kept)).split("\n")]
    single = [line for number, line in enumerate(lines) if line or (number and lines[number - 1])]
    return "\n".join(single).strip("\n")


@given(TEXTS)
def test_a_clean_text_is_what_the_definition_says(text: str) -> None:
    assert clean_text(text) == reference(text)


@given(TEXTS)
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    assert clean_text(clean_text(text)) == clean_text(text)


def test_indentation_and_runs_of_spaces_stay() -> None:
    code = "def f():\n\n    return  1  # one"
    assert clean_text(code) == code


def test_half_a_character_is_an_error_that_says_where() -> None:
    with pytest.raises(InvalidArgument, match="surrogate at character 2"):
        clean_text("ab\ud83d")


def test_wrongly_decoded_text_is_repaired_and_right_text_is_not() -> None:
    pytest.importorskip("ftfy", reason="ftfy is not installed (extra: data)")
    wrong = "schön – déjà vu".encode().decode("windows-1252")
    assert repair_mojibake(wrong) == "schön – déjà vu"
    assert repair_mojibake("“schön” ﬁne") == "“schön” ﬁne"
