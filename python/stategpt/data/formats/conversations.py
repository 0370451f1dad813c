"""What formats of conversations and prompts share: checks, groups, and what of a record is kept as meta.

Codes of rejections, beside those of `data.message_records`:

    empty_conversation  no message
    no_answer           no message of the assistant with loss
    empty_text          an answer with loss, or a question, without a text
    missing_field       a field is missing, or null
    wrong_role          a prompt that does not end with the user's message or a tool's output
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from stategpt.data.groups import first_question, question_group
from stategpt.data.lines import BadLine, json_type, require_unicode
from stategpt.data.message_records import messages_of, shown_roles, text_of
from stategpt.data.records import Conversation, Message, Place, Prompt

_KEPT_AS_META = ("tools", "id", "source")


def conversation(record: Mapping[str, Any], messages: Sequence[Message], where: Place) -> Conversation:
    """A checked conversation of `messages`, with the record's `system`, `group` and `meta`.

    Raises:
        BadLine: `no_answer`, `empty_text`, or a field of another type.
    """
    found = (*system_of(record, messages), *messages)
    if not any(message.trained for message in found):
        raise BadLine("no_answer", f"no message of {len(found)} ({shown_roles(found)}) is an answer with loss")
    for number, message in enumerate(found):
        if message.trained and not message.text.strip():
            raise BadLine("empty_text", f"the {message.role} message {number} is empty")
    return Conversation(found, group_in(record, found), where, meta_of(record))


def prompt(record: Mapping[str, Any], messages: Sequence[Message], where: Place, reference: str | None) -> Prompt:
    """A checked prompt of `messages`, with the record's `system`, `group` and `meta`.

    Raises:
        BadLine: `wrong_role`, `empty_text`, or a field of another type.
    """
    found = tuple(replace(message, trained=False) for message in (*system_of(record, messages), *messages))
    last = found[-1]
    if last.role not in ("user", "tool"):
        raise BadLine("wrong_role", f"the last message of the prompt is from the {last.role}, expected the user")
    if not last.content.strip():
        raise BadLine("empty_text", "the last message of the prompt is empty")
    return Prompt(found, reference, group_in(record, found), where, meta_of(record))


def system_of(record: Mapping[str, Any], messages: Sequence[Message] = ()) -> tuple[Message, ...]:
    """The system message of a record's `system` field, if it has a text and the messages begin with none."""
    value = record.get("system")
    text = "" if value is None else text_of(value, "system")
    return (Message("system", text),) if text.strip() and not (messages and messages[0].role == "system") else ()


def required_text(record: Mapping[str, Any], key: str) -> str:
    """The text under `key`. Raises BadLine."""
    if record.get(key) is None:
        raise BadLine("missing_field", f"{key} is {'null' if key in record else 'missing'}")
    return text_of(record[key], key)


def optional_text(record: Mapping[str, Any], key: str) -> str:
    """The text under `key`, or an empty string. Raises BadLine."""
    return "" if record.get(key) is None else text_of(record[key], key)


def asked(record: Mapping[str, Any], key: str) -> tuple[Message, ...]:
    """A prompt: the text of one user message, or a list of messages. Raises BadLine."""
    value = record.get(key)
    if isinstance(value, list) and any(isinstance(item, dict) and ("role" in item or "from" in item) for item in value):
        return messages_of(value, key)
    text = required_text(record, key)
    if not text.strip():
        raise BadLine("empty_text", f"{key} is empty")
    return (Message("user", text),)


def group_in(record: Mapping[str, Any], messages: Sequence[Message]) -> str:
    """The record's `group`, or that of its first question. Raises BadLine."""
    value = record.get("group")
    if value is None or value == "":
        return question_group(first_question(messages))
    if not isinstance(value, str):
        raise BadLine("wrong_type", f"group is {json_type(value)}, expected a string")
    return require_unicode(value, "group")


def meta_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record's `meta`, and its `tools`, `id` and `source`. Raises BadLine."""
    meta = record.get("meta")
    if meta is not None and not isinstance(meta, dict):
        raise BadLine("wrong_type", f"meta is {json_type(meta)}, expected an object")
    kept = {key: record[key] for key in _KEPT_AS_META if record.get(key) is not None}
    return {**kept, **(meta or {})}
