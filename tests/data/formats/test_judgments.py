"""Ranked groups made directly are those that the compiled reader makes of a record, and so are the rejections."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stategpt.data.formats import judgments
from stategpt.data.formats.judgments import group_of_record, place_name, ranked_group
from stategpt.data.lines import BadLine
from stategpt.data.ranked_group import RankedGroup
from stategpt.data.records import Message, Place

TEXTS = st.one_of(st.sampled_from(["", " ", "a", "b", "é\u2028\x1c", "half \ud83d", "\x85"]), st.text(max_size=8))
ROLES = st.sampled_from(["user", "user", "user", "assistant", "system", "tool"])


def shown(make: Any) -> Any:
    """Every field of the group, or the rejection."""
    try:
        group: RankedGroup = make()
    except BadLine as bad:
        return bad.code, bad.message
    fields = {field.name: getattr(group, field.name) for field in dataclasses.fields(group)}
    return fields | {"pairs": (group.pairs.dtype, group.pairs.shape, group.pairs.tolist())}


@settings(max_examples=300, deadline=None)
@given(
    prompt=st.lists(st.builds(Message, ROLES, TEXTS), min_size=1, max_size=3),
    completions=st.lists(st.tuples(TEXTS, st.integers(0, 3)), min_size=1, max_size=5),
    file=st.sampled_from(["hh.jsonl", "dir/é.jsonl.gz", "half\udcff.jsonl"]),
    annotator=st.sampled_from(["", "ann"]),
)
def test_a_group_made_directly_is_that_of_the_compiled_reader(
    prompt: list[Message], completions: list[tuple[str, int]], file: str, annotator: str
) -> None:
    where, record = Place(file, 3, 17), {"group": "g"}
    texts, ranks = [text for text, _ in completions], [rank for _, rank in completions]
    directly = shown(lambda: ranked_group(record, where, prompt, texts, ranks, annotator))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judgments, "_plain_group", lambda *_: None)
        assert directly == shown(lambda: ranked_group(record, where, prompt, texts, ranks, annotator))


def test_a_record_of_many_completions_or_much_text_is_left_to_the_compiled_reader() -> None:
    prompt, where = [Message("user", "Why?")], Place("hh.jsonl", 1, 0)
    with pytest.raises(BadLine, match="16"):
        ranked_group({}, where, prompt, [str(number) for number in range(17)], range(1, 18))
    row = {
        "id": place_name(where),
        "prompt": "Why?",
        "completions": [{"text": "x" * (17 << 20), "rank": 1}, {"text": "y", "rank": 2}],
    }
    with pytest.raises(BadLine) as expected:
        group_of_record(row, where)
    with pytest.raises(BadLine) as found:
        ranked_group({}, where, prompt, ["x" * (17 << 20), "y"], (1, 2))
    assert found.value.code == expected.value.code == "line_too_long"
