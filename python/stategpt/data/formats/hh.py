"""Dialogues as text, as in Anthropic's hh-rlhf (https://arxiv.org/abs/2204.05862): `chosen` and `rejected`.

    {"chosen": "\\n\\nHuman: Hi\\n\\nAssistant: Hello\\n\\nHuman: Why?\\n\\nAssistant: Because.",
     "rejected": "\\n\\nHuman: Hi\\n\\nAssistant: Hello\\n\\nHuman: Why?\\n\\nAssistant: No."}

Turns are headed `Human:` and `Assistant:`. Both dialogues must agree up to the last answer, which is the completion;
the turns before it are the messages of the prompt.
"""

from __future__ import annotations

from typing import Any, Final

from stategpt.data.formats.conversations import required_text
from stategpt.data.formats.judgments import ranked_group, turns
from stategpt.data.lines import BadLine
from stategpt.data.ranked_group import RankedGroup
from stategpt.data.records import Message, Place

KIND: Final = "ranking"
KEYS: Final = (("chosen", "rejected"),)
_HUMAN, _ASSISTANT = r"\n\nHuman:", r"\n\nAssistant:"
_SIDES = ("chosen", "rejected")


def matches(record: dict[str, Any]) -> bool:
    """Whether both are dialogues with headings."""
    return "prompt" not in record and all(
        isinstance(record[side], str) and "\n\nAssistant:" in record[side] for side in _SIDES
    )


def read(record: dict[str, Any], where: Place) -> RankedGroup:
    """Reads one record."""
    dialogues = [_dialogue(required_text(record, side), side) for side in _SIDES]
    prompt = dialogues[0][:-1]
    if prompt != dialogues[1][:-1]:
        raise BadLine("different_prompts", "chosen and rejected differ before their last answer")
    if not prompt:
        raise BadLine("empty_prompt", "the dialogues begin with their answer; there is no prompt")
    return ranked_group(record, where, prompt, [dialogue[-1].content for dialogue in dialogues], (1, 2))


def _dialogue(text: str, side: str) -> tuple[Message, ...]:
    messages = turns(text, _HUMAN, _ASSISTANT)
    if not messages or messages[-1].role != "assistant":
        raise BadLine("no_assistant_turn", f"{side} does not end with a turn headed 'Assistant:'")
    return messages
