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
_SIDES = ("chosen", "rejected")
_HEADINGS = ("\n\n", "Human:", "Assistant:")
_QUESTION, _ANSWER = "\n\nHuman:", "\n\nAssistant:"


def matches(record: dict[str, Any]) -> bool:
    """Whether both are dialogues with headings."""
    return "prompt" not in record and all(isinstance(record[side], str) and _ANSWER in record[side] for side in _SIDES)


def read(record: dict[str, Any], where: Place) -> RankedGroup:
    """Reads one record."""
    cut = _shared_end(record.get("chosen"), record.get("rejected"))
    if cut:
        texts = [required_text(record, side) for side in _SIDES]
        prompt = turns(texts[0][:cut], *_HEADINGS)
        answers = [text[cut + len(_ANSWER) :].strip() for text in texts]
    else:
        dialogues = [_dialogue(required_text(record, side), side) for side in _SIDES]
        prompt, answers = dialogues[0][:-1], [dialogue[-1].content for dialogue in dialogues]
        if prompt != dialogues[1][:-1]:
            raise BadLine("different_prompts", "chosen and rejected differ before their last answer")
    if not prompt:
        raise BadLine("empty_prompt", "the dialogues begin with their answer; there is no prompt")
    return ranked_group(record, where, prompt, answers, (1, 2))


def _shared_end(chosen: object, rejected: object) -> int:
    """Where the last answers begin, if the texts are equal up to there, so that they need be cut into turns only once.

    0 for others: no texts, or texts that may still agree but for white space.
    """
    if not isinstance(chosen, str) or not isinstance(rejected, str):
        return 0
    cut = chosen.rfind(_ANSWER)
    same = cut > 0 and rejected.rfind(_ANSWER) == cut and rejected.startswith(chosen[:cut])
    return cut if same and _QUESTION not in chosen[cut:] and _QUESTION not in rejected[cut:] else 0


def _dialogue(text: str, side: str) -> tuple[Message, ...]:
    messages = turns(text, *_HEADINGS)
    if not messages or messages[-1].role != "assistant":
        raise BadLine("no_assistant_turn", f"{side} does not end with a turn headed 'Assistant:'")
    return messages
