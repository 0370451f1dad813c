"""Alpaca: `instruction`, `output`, and where they apply `input`, `system` and the earlier turns as `history`.

    {"instruction": "Translate to French.", "input": "Good morning", "output": "Bonjour",
     "system": "Be brief.", "history": [["Hello", "Hi"]]}

A non-empty input follows the instruction after a blank line. Earlier turns are pairs of a question and an answer; there
is loss on their answers too.
"""

from __future__ import annotations

from typing import Any, Final

from stategpt.data.formats.conversations import conversation, optional_text, required_text
from stategpt.data.lines import BadLine, json_type
from stategpt.data.message_records import text_of
from stategpt.data.records import Conversation, Message, Place

KIND: Final = "conversation"
KEYS: Final = (("instruction", "output"), ("instruction", "input", "output"))


def read(record: dict[str, Any], where: Place) -> Conversation:
    """Reads one record."""
    question, answer = instruction_of(record), required_text(record, "output")
    messages = [*_history(record.get("history")), Message("user", question), Message("assistant", answer)]
    return conversation(record, messages, where)


def instruction_of(record: dict[str, Any]) -> str:
    """The instruction, and after a blank line its input. Raises BadLine."""
    instruction, given = required_text(record, "instruction"), optional_text(record, "input")
    parts = [part for part in (instruction, given) if part.strip()]
    if not parts:
        raise BadLine("empty_text", "instruction is empty")
    return "\n\n".join(parts)


def _history(value: object) -> list[Message]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadLine("wrong_type", f"history is {json_type(value)}, expected a list of pairs")
    messages = []
    for number, turn in enumerate(value):
        path = f"history[{number}]"
        if not isinstance(turn, list) or len(turn) != 2:
            raise BadLine("wrong_type", f"{path} must be a question and an answer")
        messages += [Message("user", text_of(turn[0], path)), Message("assistant", text_of(turn[1], path))]
    return messages
