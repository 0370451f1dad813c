"""OpenAI's chat messages: `messages`, each with `role` and `content`.

    {"messages": [{"role": "system", "content": "Be brief."},
                  {"role": "user", "content": "What does math.sin do?"},
                  {"role": "assistant", "content": "It returns the sine of x."}]}

Content is a string or a list of text parts. An assistant message may have `tool_calls`, or the older `function_call`,
and `weight` 0 for no loss. Messages of the roles tool and function are tools' outputs. `tools` is kept in the meta.
"""

from __future__ import annotations

from typing import Any, Final

from stategpt.data.formats.conversations import conversation
from stategpt.data.message_records import messages_of
from stategpt.data.records import Conversation, Place

KIND: Final = "conversation"
KEYS: Final = (("messages",),)


def matches(record: dict[str, Any]) -> bool:
    """Whether the last message is not a question that waits for its answer."""
    messages = record["messages"]
    return not (
        isinstance(messages, list)
        and messages
        and all(isinstance(message, dict) for message in messages)
        and all(message.get("role") not in ("assistant", "gpt", "model") for message in messages)
    )


def read(record: dict[str, Any], where: Place) -> Conversation:
    """Reads one record."""
    return conversation(record, messages_of(record.get("messages"), "messages"), where)
