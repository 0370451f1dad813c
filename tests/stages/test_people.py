"""People's rankings: what their evaluation says of them."""

from __future__ import annotations

import pytest

from stategpt.config import CONTROL_TOKENS, RunConfig
from stategpt.data import ChatTemplate
from stategpt.data.corpus import Corpus
from stategpt.data.rankings import RankedGroup, Rankings
from stategpt.evaluate.records import RankingsEvaluation
from stategpt.stages.people import describe_people
from stategpt.tokenizer import Tokenizer

TOK = Tokenizer.train(["yes no"], vocab_size=256 + len(CONTROL_TOKENS), special_tokens=list(CONTROL_TOKENS))


def groups_of(side: str, *ranks_of_annotators: list[list[int]]) -> list[RankedGroup]:
    """A group of two completions for each list of two people's ranks."""
    records = [
        {
            "id": str(number),
            "prompt": f"{side} question {number}",
            "completions": [{"text": "yes"}, {"text": "no"}],
            "votes": [{"annotator": name, "ranks": ranks} for name, ranks in zip(("ann", "bob"), given, strict=False)],
        }
        for number, given in enumerate(ranks_of_annotators)
    ]
    return list(Rankings.read(records).groups)


def described(train: list[RankedGroup], test: list[RankedGroup]) -> RankingsEvaluation:
    corpus = Corpus({}, {"train": [], "validation": [], "test": []}, {}, {"train": train, "test": test})
    return describe_people(corpus, RunConfig(), ChatTemplate.own(TOK))


def test_agreement_is_that_of_the_annotators_of_all_sides() -> None:
    agree, differ = [[1, 2], [1, 2]], [[1, 2], [2, 1]]
    found = described(groups_of("train", agree, differ), groups_of("test", differ)).agreement
    assert found is not None
    assert (found.annotators, found.votes, found.pairs, found.conflicting_pairs) == (2, 6, 3, 2)


def test_one_annotator_a_pair_says_nothing_of_agreement() -> None:
    assert described(groups_of("train", [[1, 2]], [[2, 1]]), groups_of("test", [[1, 2]])).agreement is None


def test_pairs_that_are_the_same_tokens_are_counted_on_every_side(monkeypatch: pytest.MonkeyPatch) -> None:
    encode = Tokenizer.encode
    monkeypatch.setattr(Tokenizer, "encode", lambda self, text: encode(self, "yes" if text in ("yes", "no") else text))
    found = described(groups_of("train", [[1, 2]], [[1, 1]]), groups_of("test", [[2, 1]]))
    assert found.equal_pairs == 2, "those of a clear preference"
