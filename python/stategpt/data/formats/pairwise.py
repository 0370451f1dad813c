"""Votes on two answers, one vote a record: LMSYS' Chatbot Arena (https://arxiv.org/abs/2403.04132), and plain ones.

    {"prompt": "Why?", "response_a": "Because.", "response_b": "No.", "winner": "a", "annotator": "ann"}
    {"model_a": "one", "model_b": "two", "winner": "model_a", "judge": "ann",
     "conversation_a": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}],
     "conversation_b": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "No."}]}

`winner` is a, b, model_a, model_b, left, right, or a tie (tie, both, neither, "tie (bothbad)"); in place of it there
may be `winner_model_a`, `winner_model_b` and `winner_tie`, of which one is 1. Votes on (a, b) and on (b, a) are on one
pair. They are kept as counts: more votes for one side make it the winner, equal numbers a tie. Conversations of several
turns must agree up to their last answers; those that differ earlier are rejected (`different_prompts`).
"""

from __future__ import annotations

from typing import Any, Final

from stategpt.data.formats.conversations import asked, required_text
from stategpt.data.formats.judgments import ranked_group
from stategpt.data.formats.records import shown
from stategpt.data.lines import BadLine, json_type, require_unicode
from stategpt.data.message_records import messages_of
from stategpt.data.ranked_group import RankedGroup
from stategpt.data.records import Message, Place
from stategpt.json_reader import decode_json

KIND: Final = "ranking"
COUNTS_VOTES: Final = True
"""Equal records without an annotator are votes of several people, not copies."""
KEYS: Final = (
    ("prompt", "response_a", "response_b", "winner"),
    ("prompt", "response_a", "response_b", "winner_model_a", "winner_model_b"),
    ("conversation_a", "conversation_b", "winner"),
)
_RANKS: Final = {
    **dict.fromkeys(("a", "model_a", "left", "response_a"), (1, 2)),
    **dict.fromkeys(("b", "model_b", "right", "response_b"), (2, 1)),
    **dict.fromkeys(("tie", "both", "neither", "tie (bothbad)", "both_bad", "bothbad"), (1, 1)),
}
_FLAGS: Final = (("winner_model_a", (1, 2)), ("winner_model_b", (2, 1)), ("winner_tie", (1, 1)))


def read(record: dict[str, Any], where: Place) -> RankedGroup:
    """Reads one record."""
    ranks = _ranks(record)
    if "conversation_a" in record:
        sides = [_conversation(record, side) for side in ("conversation_a", "conversation_b")]
    else:
        sides = [_turns(record, side) for side in ("response_a", "response_b")]
    if sides[0][0] != sides[1][0]:
        raise BadLine("different_prompts", "the two conversations differ before their last answer")
    return ranked_group(record, where, sides[0][0], [answer for _, answer in sides], ranks, _annotator(record))


def _annotator(record: dict[str, Any]) -> str:
    for key in ("annotator", "judge"):
        value = record.get(key)
        if isinstance(value, str):
            return require_unicode(value, key)
        if value is not None:
            raise BadLine("wrong_type", f"{key} is {json_type(value)}, expected a string")
    return ""


def _ranks(record: dict[str, Any]) -> tuple[int, int]:
    if record.get("winner") is None and any(key in record for key, _ in _FLAGS):
        chosen = [ranks for key, ranks in _FLAGS if record.get(key) in (1, True, "1")]
        if len(chosen) != 1:
            raise BadLine(
                "unknown_winner", f"{len(chosen)} of winner_model_a, winner_model_b, winner_tie are 1; one is"
            )
        return chosen[0]
    winner = required_text(record, "winner")
    ranks = _RANKS.get(winner.strip().lower())
    if ranks is None:
        raise BadLine("unknown_winner", f"winner is {shown(winner)}; it is one of {', '.join(_RANKS)}")
    return ranks


def _conversation(record: dict[str, Any], key: str) -> tuple[tuple[Message, ...], str]:
    messages = messages_of(record.get(key), key)
    if messages[-1].role != "assistant":
        raise BadLine("no_assistant_turn", f"{key} does not end with an answer")
    return messages[:-1], messages[-1].text


def _turns(record: dict[str, Any], key: str) -> tuple[tuple[Message, ...], str]:
    """Prompt and answer; strings that are JSON lists of strings are the turns of a dialogue, as in LMSYS' CSV files."""
    questions, answers = _listed(record.get("prompt")), _listed(record.get(key))
    if questions is None or answers is None or len(questions) != len(answers):
        return asked(record, "prompt"), required_text(record, key)
    messages = []
    for question, answer in zip(questions, answers, strict=True):
        messages += [Message("user", question), Message("assistant", answer)]
    return tuple(messages[:-1]), messages[-1].content


def _listed(value: object) -> list[str] | None:
    """The strings of a list, or of a string that is a JSON list."""
    if isinstance(value, str) and value.startswith("["):
        try:
            value = decode_json(value)
        except (ValueError, RecursionError):
            return None
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return [require_unicode(item, "a turn") for item in value]
    return None
