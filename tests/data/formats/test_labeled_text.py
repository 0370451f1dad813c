"""Labeled texts: labels of several types, copies found by normalized text, and texts with several labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from labeled_files import write_lines
from stategpt.data.formats import read_labeled, recognize
from stategpt.data.formats.labels import normalized
from stategpt.data.groups import text_digest
from stategpt.data.rejections import Tally


def _read(tmp_path: Path, rows: list[dict[str, Any]]) -> tuple[list[tuple[str, str]], Tally]:
    found, tally = read_labeled(write_lines(tmp_path / "texts.jsonl", rows))
    return [(each.text, each.label) for each in found], tally


@pytest.mark.parametrize(
    ("record", "label"),
    [
        ({"text": "a", "label": "good"}, "good"),
        ({"text": "a", "label": 1}, "1"),
        ({"text": "a", "label": True}, "True"),
        ({"sentence": "a", "label": " good "}, "good"),
        ({"review": "a", "sentiment": "positive"}, "positive"),
    ],
)
def test_a_label_is_the_name_or_the_number_of_a_class(record: dict[str, Any], label: str, tmp_path: Path) -> None:
    assert recognize(record, "label").name == "labeled_text"
    assert _read(tmp_path, [record])[0] == [("a", label)]


@pytest.mark.parametrize(
    ("record", "code"),
    [
        ({"text": "  ", "label": "good"}, "empty_text"),
        ({"text": "b", "label": 0.5}, "wrong_type"),
        ({"text": "b", "label": None}, "missing_field"),
        ({"text": "b", "label": ""}, "invalid_label"),
        ({"text": "b", "label": "x" * 101}, "invalid_label"),
        ({"text": "b"}, "missing_field"),
        ({"text": "b", "label": "good", "group": 3}, "wrong_type"),
    ],
)
def test_what_is_no_labeled_text_is_rejected_with_its_code(record: dict[str, Any], code: str, tmp_path: Path) -> None:
    found, tally = _read(tmp_path, [{"text": "a", "label": "good"}, record])
    assert (found, tally.rejected) == ([("a", "good")], {code: 1})


def test_copies_differ_in_case_white_space_and_unicode_form(tmp_path: Path) -> None:
    rows = [{"text": text, "label": "good"} for text in ("A caf\u00e9.", "a  CAFE\u0301.\n", "A caf\u00e9!")]
    found, tally = _read(tmp_path, rows)
    assert [text for text, _ in found] == ["A caf\u00e9.", "A caf\u00e9!"]
    assert (tally.kept, tally.duplicate, tally.total) == (2, 1, 3)
    assert normalized(" A\tCAFE\u0301 ") == "a caf\u00e9"


def test_a_text_with_two_labels_is_rejected_with_all_its_copies(tmp_path: Path) -> None:
    rows = [
        {"text": "so so", "label": "good"},
        {"text": "fine", "label": "good"},
        {"text": "So so", "label": "bad"},
        {"text": "so  so", "label": "good"},
    ]
    found, tally = _read(tmp_path, rows)
    assert found == [("fine", "good")]
    assert (tally.kept, tally.duplicate, tally.rejected) == (1, 0, {"conflicting_label": 3})
    assert "'good'" in tally.first[0].message
    assert "'bad'" in tally.first[0].message


def test_without_a_group_a_text_has_that_of_an_equal_document(tmp_path: Path) -> None:
    rows = [{"text": "A film.", "label": "good"}, {"text": "Another.", "label": "good", "group": "g"}]
    found, _ = read_labeled(write_lines(tmp_path / "texts.jsonl", rows))
    assert [each.group for each in found] == [text_digest("A film."), "g"]
