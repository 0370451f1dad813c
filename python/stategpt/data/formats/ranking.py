"""Our ranking records: a prompt or a dialogue, and 2 to 16 completions with ranks; equal ranks are a tie.

    {"prompt": "What does math.sin do?",
     "completions": [{"text": "Return the sine of x.", "rank": 1}, {"text": "A sine", "rank": 2},
                     {"text": "Sin", "rank": 2}]}

Several annotators give `votes` in place of ranks, with null for a completion that one did not judge:

    {"messages": [{"role": "user", "content": "Why?"}], "group": "page 4",
     "completions": [{"text": "Because."}, {"text": "Rain."}],
     "votes": [{"annotator": "ann", "ranks": [1, 2]}, {"annotator": "bob", "ranks": [1, 1]}]}

or each annotator's order is a record with `annotator`. `stategpt.data.Rankings` documents the other fields; `id` is
optional here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from stategpt.data.formats.judgments import group_of_record, place_name
from stategpt.data.groups import group_of
from stategpt.data.lines import BadLine, json_type, require_unicode
from stategpt.data.ranked_group import RankedGroup, Vote
from stategpt.data.records import Place

KIND: Final = "ranking"
KEYS: Final = (("prompt", "completions"), ("messages", "completions"))


def read(record: dict[str, Any], where: Place) -> RankedGroup:
    """Reads one record."""
    row = dict(record)
    annotator = row.pop("annotator", None)
    if annotator is not None:
        if not isinstance(annotator, str):
            raise BadLine("wrong_type", f"annotator is {json_type(annotator)}, expected a string")
        if "votes" in row:
            raise BadLine("unknown_field", "the record has annotator and votes; give one of them")
        require_unicode(annotator, "annotator")
    row.setdefault("id", place_name(where))
    if row.get("group") is None:
        row.pop("group", None)
    group = group_of_record(row, where)
    votes = (Vote(annotator, group.ranks),) if annotator else group.votes
    return replace(group, votes=votes, group=group_of(group))
