"""Scored completions of an instruction, as in UltraFeedback (https://arxiv.org/abs/2310.01377).

    {"instruction": "Why?", "completions": [{"response": "Because.", "overall_score": 8.5, "model": "one"},
                                            {"response": "No.", "overall_score": 4.0, "model": "two"}]}

A completion's score is `overall_score`, or where it has none `fine-grained_score`, or `score`; more is better and equal
scores are a tie. A completion without a finite score rejects the record (`no_score`).
"""

from __future__ import annotations

from typing import Any, Final

from stategpt.data.formats.alpaca import instruction_of
from stategpt.data.formats.conversations import required_text
from stategpt.data.formats.judgments import ranked_group, ranks_by_score, score_of
from stategpt.data.lines import BadLine, json_type
from stategpt.data.ranked_group import RankedGroup
from stategpt.data.records import Message, Place

KIND: Final = "ranking"
KEYS: Final = (("instruction", "completions"),)
_SCORES: Final = ("overall_score", "fine-grained_score", "score")


def read(record: dict[str, Any], where: Place) -> RankedGroup:
    """Reads one record."""
    listed = record.get("completions")
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        found = "a list with other values" if isinstance(listed, list) else json_type(listed)
        raise BadLine("wrong_type", f"completions is {found}, expected a list of objects")
    texts = [required_text(item, "response") for item in listed]
    scores = [_score(item, number) for number, item in enumerate(listed)]
    return ranked_group(record, where, (Message("user", instruction_of(record)),), texts, ranks_by_score(scores))


def _score(completion: dict[str, Any], number: int) -> float:
    key = next((name for name in _SCORES if completion.get(name) is not None), None)
    if key is None:
        raise BadLine("no_score", f"completions[{number}] has none of {', '.join(_SCORES)}")
    return score_of(completion[key], f"completions[{number}].{key}")
