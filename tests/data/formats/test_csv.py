"""CSV and TSV files of records: quoting, places, and a code for each row that cannot be read."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stategpt.data.formats import read_conversations, read_labeled
from stategpt.data.rejections import Rejection
from stategpt.data.sources import csv_rows
from stategpt.data.sources.records import read_records
from stategpt.errors import CorpusError

TEXTS = st.lists(
    st.tuples(*[st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=12)] * 2), max_size=8
)


def rows_of(path: Path) -> list[object]:
    return [found if isinstance(found, dict) else found.code for _, found in read_records(path)]


def test_labeled_texts_come_from_csv_with_their_places(tmp_path: Path) -> None:
    path = tmp_path / "reviews.csv"
    path.write_bytes(
        b"\xef\xbb\xbftext,label\r\n"
        b"A dull film.,negative\r\n"
        b"\r\n"
        b'"Two lines,\r\nand a ""quote"".",positive\r\n'
        b"Fine.,positive\r\n"
    )
    texts, tally = read_labeled(path)
    assert [(each.text.replace("\r", ""), each.label) for each in texts] == [
        ("A dull film.", "negative"),
        ('Two lines,\nand a "quote".', "positive"),
        ("Fine.", "positive"),
    ]
    assert [each.where.line for each in texts] == [2, 4, 6]
    assert texts[0].where.byte_offset == len(b"\xef\xbb\xbftext,label\r\n")
    assert tally.formats == {str(path): "labeled_text"}


@given(TEXTS)
def test_every_row_that_python_writes_comes_back(
    tmp_path_factory: pytest.TempPathFactory, texts: list[tuple[str, str]]
) -> None:
    path, written = tmp_path_factory.getbasetemp() / "written.csv", io.StringIO()
    csv.writer(written, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([("a", "b"), *texts])
    path.write_text(written.getvalue(), encoding="utf-8", newline="")
    assert rows_of(path) == [{"a": one, "b": other} for one, other in texts]


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.tsv", "prompt\tresponse\nWhy?\tSo, it is.\n"), ("a.csv", "prompt;response\nWhy?;So, it is.\n")],
)
def test_tabs_and_semicolons_separate_too(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content.encode()))
    for path in (tmp_path / name, tmp_path / f"{name}.gz"):
        found, _ = read_conversations(path)
        assert [message.content for message in found[0].messages] == ["Why?", "So, it is."]


def test_rows_that_cannot_be_read_have_a_code_and_the_others_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'text,label\none\na,b,c\n"quoted" behind,b\ncaf\xe9,b\nfine,yes\n"never closed,b\n')
    assert rows_of(path) == [
        "missing_field", "invalid_csv", "invalid_csv", "not_utf8", {"text": "fine", "label": "yes"}, "cut_off",
    ]  # fmt: skip
    places = [where.line for where, _ in read_records(path)]
    assert places == [2, 3, 4, 5, 6, 7]


def test_a_quote_that_is_not_closed_ends_at_the_limit_of_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_rows, "MAX_LINE_BYTES", 1000)
    path = tmp_path / "a.csv"
    path.write_text('text,label\n"' + "x" * 90 + "\n" + "more,rows\n" * 200)
    found = [each for _, each in read_records(path) if isinstance(each, Rejection)]
    assert found[0].code == "line_too_long"
    assert "is a quote not closed?" in found[0].message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"text,text\na,b\n", "the column 'text' twice"),
        (b"text,\na,b\n", "a column without a name"),
        (b'"text,label\na,b\n', "cut_off: the file ends within a quoted field"),
        (b"caf\xe9,label\na,b\n", "not_utf8"),
        (b"", "holds no records"),
        (b"text,label\n", "holds no records"),
    ],
)
def test_a_first_row_that_names_no_columns_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        read_labeled(tmp_path / "a.csv")
