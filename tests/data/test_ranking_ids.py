"""Sampled ids: used where a record has them, and held to what its completions can be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from stategpt.config.control import CONTROL_TOKENS
from stategpt.data import ControlTokens, Rankings
from stategpt.data.ranking_batch import ranking_batches
from stategpt.data.ranking_ids import CompletionIds
from stategpt.errors import ForeignArtifact, InvalidArgument, RankingError
from stategpt.tokenizer import Tokenizer

TOK = Tokenizer.train(["the cat and the hat, the cat"] * 4, vocab_size=280, special_tokens=list(CONTROL_TOKENS))
CONTROL = ControlTokens.of(TOK)
END = CONTROL.end_of_text
TEXT = "the cat"
BYTES = [int(TOK.encode(letter)[0]) for letter in TEXT]
"""Ids of the text that encoding it does not give: a token for each letter."""


def record(ids: Sequence[int] | None, *, text: str = TEXT, ended: bool = True, **extra: object) -> dict[str, Any]:
    completion = {"text": text, "rank": 1, "ended": ended} | ({} if ids is None else {"ids": list(ids)})
    completions = [completion, {"text": "the hat", "rank": 2}]
    return {"id": "a", "prompt": "why?", "completions": completions, "tokenizer": TOK.fingerprint, **extra}


def ids_of(made: dict[str, Any]) -> list[list[int]]:
    (group,) = Rankings.read([made]).groups
    return [ids.tolist() for ids in CompletionIds(TOK).of(group)]


def test_ids_as_sampled_are_used_and_texts_without_ids_are_encoded() -> None:
    encoded = [*TOK.encode("the hat").tolist(), END]
    assert TOK.encode(TEXT).tolist() != BYTES
    assert ids_of(record([*BYTES, END])) == [[*BYTES, END], encoded]
    assert ids_of(record(BYTES, ended=False)) == [BYTES, encoded]
    assert ids_of(record(None)) == [[*TOK.encode(TEXT).tolist(), END], encoded]
    assert ids_of(record(None, tokenizer="another")) == ids_of(record(None)), "it says nothing about a text"


def test_batches_hold_the_ids_as_sampled() -> None:
    (batch,) = ranking_batches(Rankings.read([record([*BYTES, END])]), TOK)
    last = int(batch.reward_index[0])
    assert batch.tokens[last - len(BYTES) - 1 : last + 1].tolist() == [*BYTES, END, CONTROL.reward]


@pytest.mark.parametrize(
    ("ids", "ended", "reason"),
    [
        (BYTES, True, "end of text"),
        ([*BYTES, CONTROL.user], True, "end of text"),
        ([*BYTES, END], False, "control token"),
        ([END, *BYTES, END], True, "control token"),
        ([CONTROL.reward, *BYTES, END], True, "control token"),
        ([*BYTES, CONTROL.user, CONTROL.assistant], False, "control token"),
        ([*BYTES, TOK.vocab_size, END], True, f"ids of 0 to {TOK.vocab_size - 1}"),
        ([2**32 - 1], False, f"ids of 0 to {TOK.vocab_size - 1}"),
        ([*BYTES[:-1], END], True, "'the ca'"),
        ([END], True, "''"),
    ],
)
def test_ids_that_are_not_those_of_the_text_are_left_out_with_the_reason(
    ids: list[int], ended: bool, reason: str
) -> None:
    bad = record(ids, ended=ended)
    (group,) = Rankings.read([bad]).groups
    with pytest.raises(RankingError, match=r"group 'a' \(line 1\).*completion 0") as raised:
        CompletionIds(TOK).of(group)
    assert reason in str(raised.value)
    batches = ranking_batches(Rankings.read([bad, record(None) | {"id": "good"}]), TOK)
    assert [rejected.code for rejected in batches.rejected] == ["unusable_ids"]
    assert batches[0].ids == ("good",)


def test_ids_of_another_tokenizer_are_refused_with_both_fingerprints() -> None:
    foreign = record([*BYTES, END], tokenizer="blake3:other")
    with pytest.raises(ForeignArtifact, match=r"'blake3:other'.*remove `ids` and `tokenizer`") as raised:
        ranking_batches(Rankings.read([foreign]), TOK)
    assert TOK.fingerprint in str(raised.value)


def test_a_tokenizer_without_a_fingerprint_serves_records_without_ids_only() -> None:
    class Plain:
        special_tokens = TOK.special_tokens
        encode, encode_segments = TOK.encode, TOK.encode_segments

    assert len(ranking_batches(Rankings.read([record(None)]), Plain())) == 1  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="type Plain no fingerprint"):
        ranking_batches(Rankings.read([record([*BYTES, END])]), Plain())  # type: ignore[arg-type]


def test_groups_keep_ids_and_tokenizer_and_say_nothing_where_there_are_none() -> None:
    (group,) = Rankings.read([record([*BYTES, END])]).groups
    first, second = group.token_ids
    assert first is not None
    assert first.dtype == np.uint32
    assert (first.tolist(), second, group.tokenizer) == ([*BYTES, END], None, TOK.fingerprint)
    (plain,) = Rankings.read([record(None)]).groups
    assert plain.token_ids == ()
