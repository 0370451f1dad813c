"""A prompt and its answer, in the spellings that published sets have.

    {"prompt": "What is 2 + 2?", "response": "4"}

Spellings: prompt/response, prompt/completion, prompt/answer, question/answer, question/response, query/response,
input/output, and Dolly's instruction/context/response, where a non-empty context follows the instruction after a blank
line. `prompt` and `completion` may be lists of messages. `system` may be beside them.
"""

from __future__ import annotations

from typing import Any, Final

from stategpt.data.formats.conversations import asked, conversation, optional_text, required_text
from stategpt.data.lines import BadLine
from stategpt.data.message_records import messages_of, shown_roles
from stategpt.data.records import Conversation, Message, Place

KIND: Final = "conversation"
KEYS: Final = (
    ("prompt", "response"),
    ("prompt", "completion"),
    ("question", "answer"),
    ("question", "response"),
    ("prompt", "answer"),
    ("query", "response"),
    ("input", "output"),
    ("instruction", "response"),
)


def read(record: dict[str, Any], where: Place) -> Conversation:
    """Reads one record."""
    question_key, answer_key = next(
        (keys for keys in KEYS if record.keys() >= set(keys)),
        next((keys for keys in KEYS if set(keys) & record.keys()), KEYS[0]),
    )
    question = asked(record, question_key)
    context = optional_text(record, "context") if question_key == "instruction" else ""
    if context.strip():
        question = (*question[:-1], Message("user", f"{question[-1].content}\n\n{context}"))
    return conversation(record, (*question, *_answer(record, answer_key)), where)


def _answer(record: dict[str, Any], key: str) -> tuple[Message, ...]:
    value = record.get(key)
    if not (isinstance(value, list) and any(isinstance(item, dict) and "role" in item for item in value)):
        return (Message("assistant", required_text(record, key)),)
    messages = messages_of(value, key)
    if messages[-1].role != "assistant":
        raise BadLine("no_answer", f"{key} ({shown_roles(messages)}) does not end with the assistant's message")
    return messages
