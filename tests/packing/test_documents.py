"""Documents of token ids: what they take, and what they refuse."""

import numpy as np
import pytest

from stategpt.errors import InvalidArgument, UnknownToken
from stategpt.packing import TokenizedDocument


def test_a_document_takes_any_integers_and_refuses_the_rest() -> None:
    assert TokenizedDocument(np.array([1, 2], dtype=np.int64)).ids.dtype == np.uint32
    assert TokenizedDocument([]).ids.shape == (0,)  # type: ignore[arg-type]
    with pytest.raises(UnknownToken, match="from -1 to 2"):
        TokenizedDocument(np.array([-1, 2]))
    with pytest.raises(UnknownToken, match="below 2\\^32"):
        TokenizedDocument(np.array([2**32]))
    with pytest.raises(InvalidArgument, match="vector of integers"):
        TokenizedDocument(np.array([[1]]))
    with pytest.raises(InvalidArgument, match="vector of integers"):
        TokenizedDocument(np.array([1.5]))
    with pytest.raises(InvalidArgument, match="3 entries of 0 or 1"):
        TokenizedDocument(np.array([1, 2]), mask=np.array([1, 1]))
    with pytest.raises(InvalidArgument, match="3 entries of 0 or 1"):
        TokenizedDocument(np.array([1, 2]), mask=np.array([1, 2, 1]))
    for doc_id in (-1, 2**64 - 1, 2**64, 10**5_000, 1.5, "7"):
        with pytest.raises(InvalidArgument, match="doc_id is"):
            TokenizedDocument(np.array([1]), doc_id=doc_id)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="ids are not an array"):
        TokenizedDocument([[1], [2, 3]])  # type: ignore[arg-type]
