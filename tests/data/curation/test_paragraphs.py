"""Paragraphs that occur in several documents stay in the first one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stategpt.config import CurateConfig
from stategpt.data.curation import curate
from stategpt.data.curation.paragraphs import without_duplicate_paragraphs
from stategpt.data.records import Document, Place
from stategpt.errors import InvalidArgument


def placed(texts: list[str]) -> list[Document]:
    return [Document(text, "wiki", where=Place("wiki.jsonl", line)) for line, text in enumerate(texts, start=1)]


def test_the_first_document_keeps_a_paragraph() -> None:
    documents = placed(["Title\n\nshared one", "own text\n\nshared one\n\n\nmore of it", "shared one\n \nend", "x"])
    found = list(without_duplicate_paragraphs(documents[::-1], min_characters=6))
    texts = [cut.document.text for cut in found if cut.removed is None]
    assert texts == ["x", "end", "own text\n\nmore of it", "Title\n\nshared one"]
    assert [(cut.paragraphs, cut.characters) for cut in found] == [
        (0, 0),
        (1, len("shared one\n \n")),
        (1, len("shared one\n\n\n")),
        (0, 0),
    ]


def test_a_document_without_a_paragraph_of_its_own_is_removed_as_it_was() -> None:
    documents = placed(["first one\n\nsecond one", " second one \n\nfirst one"])
    kept, (document, removed, *_) = without_duplicate_paragraphs(documents, min_characters=6)
    assert kept.removed is None
    assert document is documents[1]
    assert removed is not None
    assert removed.rule == "duplicate_paragraphs"
    assert removed.evidence == (
        "every paragraph, 2, occurs before; the first is equal to wiki.jsonl:1 (byte 0) of source wiki"
    )


def test_the_twin_of_a_document_without_a_place_is_named_by_the_number_of_its_document() -> None:
    documents = [Document("one\n\ntwo\n\nsix"), Document("new"), Document("ten\n\nfew"), Document("few")]
    cut = list(without_duplicate_paragraphs(documents, min_characters=3))[3]
    assert cut.removed is not None
    assert cut.removed.evidence.endswith("the first is equal to document 2")


def test_a_curation_cuts_them_last_and_counts_them(tmp_path: Path) -> None:
    shared, own = "This paragraph is in several documents. " * 3, "This one is in a single document alone. " * 3
    documents = placed(
        [f"{shared}\n\n{own}", f"{shared}\n\n{own}", shared, f"new {own}\n\n{shared}", f"{shared}\n\nlast"]
    )
    config = CurateConfig(exact_duplicates=True, duplicate_paragraphs=True)
    curated = curate(documents, config, tmp_path / "out")
    assert [document.text for document in curated.documents()] == [documents[0].text, f"new {own}", "last"]
    twin = "equal to wiki.jsonl:1 (byte 0) of source wiki"
    assert [(removed.rule, removed.evidence) for removed in curated.removed()] == [
        ("exact_duplicate", twin),
        ("duplicate_paragraphs", f"every paragraph, 1, occurs before; the first is {twin}"),
    ]
    source = curated.summary.sources["wiki"]
    assert (source.documents, source.kept, source.edited) == (5, 3, 2)
    assert (source.paragraphs_removed, source.paragraph_characters_removed) == (2, 2 * (len(shared) + 2))
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"documents", "summary.json"}
    assert not list((tmp_path / "out").glob("**/paragraphs-*"))


def test_they_stay_unless_asked(tmp_path: Path) -> None:
    documents = placed([f"{'paragraph' * 20}\n\n{number}" for number in range(3)])
    assert list(curate(documents, CurateConfig(clean=True), tmp_path / "out").documents()) == documents


def test_short_paragraphs_stay() -> None:
    documents = placed(["Introduction\n\nabc", "Introduction\n\nabd"])
    assert [cut.document for cut in without_duplicate_paragraphs(documents)] == documents


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_paragraph_stays_once_in_any_order_and_a_second_run_changes_nothing(data: st.DataObject) -> None:
    paragraphs = st.lists(st.sampled_from(["aaa", "bbb", "ccc", "ddd", "e"]), max_size=5).map("\n\n".join)
    documents = placed(data.draw(st.lists(paragraphs, max_size=8)))
    found = list(without_duplicate_paragraphs(documents, min_characters=3, memory_bytes=50))
    kept = [cut.document for cut in found if cut.removed is None]
    left = Counter(part for document in kept for part in document.text.split("\n\n"))
    every = {part for document in documents for part in document.text.split("\n\n")}
    assert {part for part in left if part} == {part for part in every if part}
    assert all(count == 1 for part, count in left.items() if len(part) == 3)
    shuffled = data.draw(st.permutations(documents))
    again = {str(cut.document.where): cut for cut in found}
    other = without_duplicate_paragraphs(shuffled, min_characters=3)
    assert {str(cut.document.where): cut for cut in other} == again
    assert [cut.document for cut in without_duplicate_paragraphs(kept, min_characters=3)] == kept


def test_wrong_arguments_are_errors() -> None:
    with pytest.raises(InvalidArgument, match="begins again"):
        without_duplicate_paragraphs(iter(placed(["a"])))
    with pytest.raises(InvalidArgument, match="min_characters"):
        without_duplicate_paragraphs(placed(["a"]), min_characters=0)
