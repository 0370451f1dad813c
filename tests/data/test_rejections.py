"""Counts of an input add up, and a share of rejections over the limit is an error with the first ten."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stategpt.data.records import Place
from stategpt.data.rejections import Rejection, Tally
from stategpt.errors import CorpusError


@given(st.lists(st.sampled_from(["keep", "duplicate", "a", "b"])), st.floats(0, 1))
def test_counts_add_up_and_the_share_is_exact(events: list[str], share: float) -> None:
    tally = Tally()
    for number, event in enumerate(events):
        if event == "keep":
            tally.keep()
        elif event == "duplicate":
            tally.drop_duplicate()
        else:
            tally.reject(Rejection(Place("f", number + 1, number), event, "why"))
    rejected = [number for number, event in enumerate(events) if event in "ab"]
    assert tally.total == len(events)
    assert tally.kept == events.count("keep")
    assert tally.rejected == {code: events.count(code) for code in ("a", "b") if code in events}
    assert [rejection.where.byte_offset for rejection in tally.first] == rejected[:10]
    if len(rejected) <= share * len(events):
        tally.require(share, "x")
    else:
        with pytest.raises(CorpusError, match=rf"x: {len(rejected)} of {len(events)} records were rejected"):
            tally.require(share, "x")


def test_a_rejection_is_shown_with_its_place() -> None:
    rejection = Rejection(Place("chats.jsonl", 7, 512), "empty_text", "no text")
    assert str(rejection) == "chats.jsonl:7 (byte 512): empty_text: no text"
