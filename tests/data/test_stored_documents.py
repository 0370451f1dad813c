"""Documents of a published corpus: views equal the lists that were written, by order, by number and by slice."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stategpt.data.corpus import SIDES, Corpus, SplitDocuments, read_corpus, write_corpus
from stategpt.data.records import Document
from stategpt.data.stored_documents import StoredDocuments
from stategpt.errors import CorruptArtifact

TEXTS = st.lists(st.text(max_size=12).filter(lambda text: text.encode("utf-8", "ignore").decode() == text), max_size=6)


@given(TEXTS, TEXTS, st.integers(-7, 7), st.integers(-7, 7))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_views_are_the_lists_that_were_written(
    tmp_path_factory: pytest.TempPathFactory, train: list[str], test: list[str], start: int, stop: int
) -> None:
    split = SplitDocuments([Document(text, "a", "g") for text in train], [], [Document(text, "a") for text in test])
    folder = tmp_path_factory.mktemp("stored") / "corpus"
    corpus = Corpus({"a": split}, {side: [] for side in SIDES}, {})
    write_corpus(corpus, folder)
    stored = read_corpus(folder).sources["a"]
    assert isinstance(stored, StoredDocuments)
    assert stored == split
    for side in SIDES:
        wanted, view = split.of(side), stored.of(side)
        assert (len(view), list(view)) == (len(wanted), wanted)
        assert [view[number] for number in range(len(view))] == wanted
        assert view[start:stop] == wanted[start:stop]
        assert stored.texts(side)[start:stop] == split.texts(side)[start:stop]
        assert not view or (view[-1] == wanted[-1] and view == wanted)
        with pytest.raises(IndexError):
            view[len(wanted)]
    assert read_corpus(folder).counts() == corpus.counts()
    assert str(len(train)) in repr(stored)
    assert stored != SplitDocuments([Document("another", "a")])


def test_a_count_that_the_file_does_not_have_is_a_damaged_corpus(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(json.dumps({"text": "a", "group": ""}) + "\n")
    counts = {side: {"documents": 2 if side == "train" else 0, "bytes": 0} for side in SIDES}
    with pytest.raises(CorruptArtifact, match=r"train\.jsonl does not have the 2 lines"):
        StoredDocuments(tmp_path, "a", counts).train[1]
