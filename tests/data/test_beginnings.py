"""Beginnings are of held-out documents, of every source, cut at a word, and the same each time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stategpt.data import beginnings
from stategpt.data.corpus import Corpus, SplitDocuments
from stategpt.data.records import Document
from stategpt.errors import InvalidArgument
from stategpt.tokenizer import Tokenizer

TOK = Tokenizer.train(["some words of a text that goes further than this " * 3], vocab_size=300)


def corpus_of(*texts: str, other: tuple[str, ...] = ()) -> Corpus:
    def split(given: tuple[str, ...]) -> SplitDocuments:
        return SplitDocuments([Document("secret training text " * 9)], [Document(text) for text in given])

    sources = {"a": split(texts), "b": split(other)} if other else {"a": split(texts)}
    return Corpus(sources, {"train": [], "validation": [], "test": []}, {})


@given(st.lists(st.text(alphabet="ab cdé\n", max_size=150), max_size=6), st.integers(0, 8), st.booleans())
@settings(deadline=None)
def test_each_is_the_beginning_of_a_held_out_document(texts: list[str], count: int, measured: bool) -> None:
    found = beginnings(corpus_of(*texts), count, TOK if measured else None)
    assert len(found) == len(set(found)) <= count
    for beginning in found:
        assert len(beginning.strip()) >= 8
        assert any(text.startswith(beginning) and len(text) > len(beginning) for text in texts)
        assert measured or len(beginning) <= 60
        assert not measured or len(TOK.encode(beginning)) <= 16 + 2
    assert found == beginnings(corpus_of(*texts), count, TOK if measured else None)


def test_words_are_whole_and_sources_take_turns() -> None:
    texts = [f"number {n} and then a rather long sentence that is cut somewhere in the middle of it" for n in range(9)]
    others = tuple(text.upper() for text in texts)
    found = beginnings(corpus_of(*texts, other=others), 6)
    assert sum(text.isupper() for text in found) == 3
    assert all(text.endswith(("that is", "THAT IS", "is cut", "IS CUT")) for text in found)
    assert all("secret" not in text for text in found)
    assert beginnings(corpus_of(*texts, other=others), 6, seed=1) != found


def test_a_document_without_anything_to_continue_gives_none() -> None:
    assert beginnings(corpus_of("short", "just so", "x" * 200), 5) == ("x" * 60,)
    with pytest.raises(InvalidArgument, match="held-out documents"):
        beginnings(corpus_of("a"), 1, side="train")
