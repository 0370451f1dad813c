"""Ragged: documents end to end, seen without copying."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stategpt.errors import InvalidArgument
from stategpt.tokenizer.ragged import Ragged


@given(st.lists(st.lists(st.integers(0, 2**32 - 1), max_size=5), max_size=8))
def test_documents_come_back_as_they_went_in(documents: list[list[int]]) -> None:
    ragged = Ragged.of(documents)
    assert len(ragged) == len(documents)
    assert [document.tolist() for document in ragged] == documents
    assert [ragged[i].tolist() for i in range(len(ragged))] == documents
    assert ragged.lengths.tolist() == [len(document) for document in documents]


def test_documents_are_views() -> None:
    ragged = Ragged.of([[1, 2], [3]])
    assert np.shares_memory(ragged[0], ragged.ids)
    assert all(np.shares_memory(document, ragged.ids) for document in ragged)
    assert ragged[-1].tolist() == [3]


@pytest.mark.parametrize("index", [2, -3])
def test_a_document_that_is_not_there_is_an_index_error(index: int) -> None:
    with pytest.raises(IndexError, match="of 2"):
        Ragged.of([[1], [2]])[index]


@pytest.mark.parametrize(
    ("ids", "offsets"),
    [
        (np.zeros(2, np.int64), np.array([0, 2], np.uint64)),
        (np.zeros(2, np.uint32), np.array([0, 2], np.int64)),
        (np.zeros((1, 2), np.uint32), np.array([0, 2], np.uint64)),
        (np.zeros(2, np.uint32), np.array([], np.uint64)),
        (np.zeros(2, np.uint32), np.array([1, 2], np.uint64)),
        (np.zeros(2, np.uint32), np.array([0, 1], np.uint64)),
        (np.zeros(2, np.uint32), np.array([0, 2, 1, 2], np.uint64)),
    ],
)
def test_arrays_that_are_no_ragged_are_refused(ids: np.ndarray, offsets: np.ndarray) -> None:
    with pytest.raises(InvalidArgument):
        Ragged(ids, offsets)
