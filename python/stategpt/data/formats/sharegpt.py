"""ShareGPT: `conversations`, each turn with `from` and `value`; `system` and `tools` beside it.

    {"conversations": [{"from": "human", "value": "Is it open?"},
                       {"from": "function_call", "value": "{\\"name\\": \\"hours\\", \\"arguments\\": {}}"},
                       {"from": "observation", "value": "9 to 5"},
                       {"from": "gpt", "value": "It is open from 9 to 5."}],
     "system": "You are a shop's assistant."}

Authors are human, gpt, system, observation, function_call and their other spellings (`data.message_records`). Turns
with `role` and `content` are read too: some sets have them under this key.
"""

from __future__ import annotations

from typing import Any, Final

from stategpt.data.formats.conversations import conversation
from stategpt.data.message_records import messages_of
from stategpt.data.records import Conversation, Place

KIND: Final = "conversation"
KEYS: Final = (("conversations",), ("conversation",))


def read(record: dict[str, Any], where: Place) -> Conversation:
    """Reads one record."""
    key = "conversations" if "conversations" in record else "conversation"
    return conversation(record, messages_of(record.get(key), key, roles=("from", "role")), where)
