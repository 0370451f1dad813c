"""Paragraphs that occur in several documents stay in the first one."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stategpt.data.curation.paragraphs import without_duplicate_paragraphs
from stategpt.data.records import Document, Place
from stategpt.errors import InvalidArgument


def placed(texts: list[str]) -> list[Document]:
    return [Document(text, "wiki", where=Place("wiki.jsonl", line)) for line, text in enumerate(texts, start=1)]


def test_the_first_document_keeps_a_paragraph() -> None:
    documents = placed(["Title\n\nshared one", "own text\n\nshared one\n\n\nmore of it", "shared one\n \nend", "x"])
    found = list(without_duplicate_paragraphs(documents[::-1], min_characters=6))
    texts = [document.text for document, removed in found if removed is None]
    assert texts == ["x", "end", "own text\n\nmore of it", "Title\n\nshared one"]


def test_a_document_without_a_paragraph_of_its_own_is_removed_as_it_was() -> None:
    documents = placed(["first one\n\nsecond one", " second one \n\nfirst one"])
    (_, kept), (document, removed) = without_duplicate_paragraphs(documents, min_characters=6)
    assert kept is None
    assert document is documents[1]
    assert removed is not None
    assert removed.rule == "duplicate_paragraphs"
    assert removed.evidence == (
        "every paragraph, 2, occurs before; the first is equal to wiki.jsonl:1 (byte 0) of source wiki"
    )


def test_short_paragraphs_stay() -> None:
    documents = placed(["Introduction\n\nabc", "Introduction\n\nabd"])
    assert [document for document, _ in without_duplicate_paragraphs(documents)] == documents


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_paragraph_stays_once_in_any_order_and_a_second_run_changes_nothing(data: st.DataObject) -> None:
    paragraphs = st.lists(st.sampled_from(["aaa", "bbb", "ccc", "ddd", "e"]), max_size=5).map("\n\n".join)
    documents = placed(data.draw(st.lists(paragraphs, max_size=8)))
    found = list(without_duplicate_paragraphs(documents, min_characters=3, memory_bytes=50))
    kept = [document for document, removed in found if removed is None]
    left = Counter(part for document in kept for part in document.text.split("\n\n"))
    every = {part for document in documents for part in document.text.split("\n\n")}
    assert {part for part in left if part} == {part for part in every if part}
    assert all(count == 1 for part, count in left.items() if len(part) == 3)
    shuffled = data.draw(st.permutations(documents))
    again = {str(document.where): (document.text, removed) for document, removed in found}
    other = without_duplicate_paragraphs(shuffled, min_characters=3)
    assert {str(document.where): (document.text, removed) for document, removed in other} == again
    assert [document for document, _ in without_duplicate_paragraphs(kept, min_characters=3)] == kept


def test_wrong_arguments_are_errors() -> None:
    with pytest.raises(InvalidArgument, match="begins again"):
        without_duplicate_paragraphs(iter(placed(["a"])))
    with pytest.raises(InvalidArgument, match="min_characters"):
        without_duplicate_paragraphs(placed(["a"]), min_characters=0)
