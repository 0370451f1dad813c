"""Prompts to complete, with a known answer where there is one.

    {"prompt": "What is 2 + 2?", "reference": "4"}
    {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 2 + 2?"}]}

The prompt is under `prompt`, `question`, `instruction` (with `input`) or `messages`; the answer under `reference` or
`answer`, a string or a number. `meta` is what a scorer may need. Messages that end with an answer are
cut before it, and it is the reference.
"""

from __future__ import annotations

from typing import Any, Final

from stategpt.data.formats.alpaca import instruction_of
from stategpt.data.formats.conversations import asked, prompt
from stategpt.data.lines import BadLine, json_type, require_unicode
from stategpt.data.message_records import messages_of
from stategpt.data.records import Message, Place, Prompt

KIND: Final = "prompt"
KEYS: Final = (("prompt",), ("messages",), ("question",), ("instruction",))


def read(record: dict[str, Any], where: Place) -> Prompt:
    """Reads one record."""
    reference = _reference(record)
    if "messages" in record:
        messages = messages_of(record.get("messages"), "messages")
        if messages[-1].role == "assistant" and len(messages) > 1:
            messages, answer = messages[:-1], messages[-1].text
            reference = answer if reference is None else reference
        return prompt(record, messages, where, reference)
    if "instruction" in record and "prompt" not in record:
        return prompt(record, (Message("user", instruction_of(record)),), where, reference)
    key = "question" if "question" in record and "prompt" not in record else "prompt"
    return prompt(record, asked(record, key), where, reference)


def _reference(record: dict[str, Any]) -> str | None:
    for key in ("reference", "answer"):
        value = record.get(key)
        if isinstance(value, str):
            return require_unicode(value, key)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        if value is not None:
            raise BadLine("wrong_type", f"{key} is {json_type(value)}, expected a string or a number")
    return None
