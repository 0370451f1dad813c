"""Pairs of comments on a post, as in the Stanford Human Preferences set (https://arxiv.org/abs/2110.08420).

    {"post_id": "p1", "history": "Why is the sky blue?", "human_ref_A": "Because of scattering.",
     "human_ref_B": "It is not.", "labels": 1, "score_ratio": 3.5}

`labels` is 1 where A is preferred and 0 where B is. Pairs of one post have one
prompt, and so one group for the split.
"""

from __future__ import annotations

from typing import Any, Final

from stategpt.data.formats.conversations import asked, required_text
from stategpt.data.formats.judgments import ranked_group
from stategpt.data.lines import BadLine
from stategpt.data.ranked_group import RankedGroup
from stategpt.data.records import Place

KIND: Final = "ranking"
KEYS: Final = (("history", "human_ref_A", "human_ref_B", "labels"),)


def read(record: dict[str, Any], where: Place) -> RankedGroup:
    """Reads one record."""
    label = record.get("labels")
    if type(label) is not int or label not in (0, 1):
        raise BadLine("unknown_winner", f"labels is {label!r:.40}; it is 1 (A is preferred) or 0 (B is)")
    texts = [required_text(record, key) for key in ("human_ref_A", "human_ref_B")]
    return ranked_group(record, where, asked(record, "history"), texts, (1, 2) if label else (2, 1))
