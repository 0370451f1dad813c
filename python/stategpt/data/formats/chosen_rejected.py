"""Pairs of a chosen and a rejected answer, with the prompt beside them or in both dialogues.

    {"prompt": "Why?", "chosen": "Because.", "rejected": "No."}
    {"prompt": [{"role": "user", "content": "Why?"}], "chosen": [{"role": "assistant", "content": "Because."}],
     "rejected": [{"role": "assistant", "content": "No."}]}
    {"chosen": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}],
     "rejected": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "No."}]}

The prompt may also be under `question`, `instruction` (with `input`) or `conversations` (LLaMA-Factory: chosen and
rejected are then one message each). Dialogues must agree up to their last answer. Dialogues that are one text with
headings are the format `hh`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from stategpt.data.formats import hh
from stategpt.data.formats.alpaca import instruction_of
from stategpt.data.formats.conversations import asked, required_text
from stategpt.data.formats.judgments import ranked_group
from stategpt.data.formats.records import RecordPlace, StrPath
from stategpt.data.lines import BadLine, Source, read_lines
from stategpt.data.message_records import message_of, messages_of
from stategpt.data.ranked_group import RankedGroup, Rejected
from stategpt.data.rankings import Rankings
from stategpt.data.records import Message, Place
from stategpt.errors import RankingError

KIND: Final = "ranking"
KEYS: Final = (
    ("chosen", "rejected"),
    ("prompt", "chosen", "rejected"),
    ("question", "chosen", "rejected"),
    ("instruction", "chosen", "rejected"),
    ("conversations", "chosen", "rejected"),
)
_PROMPT_KEYS = ("prompt", "question", "instruction", "conversations")


def matches(record: dict[str, Any]) -> bool:
    """Whether there is a prompt beside the answers, or both are lists of messages."""
    return any(key in record for key in _PROMPT_KEYS) or all(
        isinstance(record[side], list) for side in ("chosen", "rejected")
    )


def read(record: dict[str, Any], where: Place) -> RankedGroup:
    """Reads one record."""
    beside = _prompt(record)
    sides = [_side(record, side) for side in ("chosen", "rejected")]
    prompts = [_joined(beside, before) for before, _ in sides]
    if prompts[0] != prompts[1]:
        raise BadLine("different_prompts", "chosen and rejected differ before their last answer")
    if not prompts[0]:
        raise BadLine("empty_prompt", "there is no prompt: neither beside the answers nor before them")
    return ranked_group(record, where, prompts[0], [answer for _, answer in sides], (1, 2))


def read_chosen_rejected(path: StrPath) -> Rankings:
    """Dialogues {"chosen", "rejected"}, JSONL (also .gz and .zst), as in Anthropic's hh-rlhf (https://arxiv.org/abs/2204.05862).

    Each holds turns headed `Human:` and `Assistant:`; both must agree up to the last answer, which is the completion.
    The prompt of a single question is its text, of a longer dialogue its messages. Records that differ earlier, or
    are malformed, are rejected by line and code (`different_prompts`, `no_assistant_turn`, and those of `Rankings`).

    Raises:
        StorageError: the file cannot be read, or is a folder, FIFO or device; MissingFile where it does not exist.
        RankingError: it is a damaged `.gz` or `.zst`, or unpacks to far more than text does.
    """
    groups, rejected, blank = [], [], 0
    with Source(path, RankingError) as source:
        for line in read_lines(source):
            if line.is_blank:
                blank += 1
                continue
            place = RecordPlace(line.number, line.byte_offset)
            try:
                group = hh.read(line.json_object(), Place(source.name, *place))
            except BadLine as bad:
                rejected.append(Rejected(*place, bad.code, bad.message))
            else:
                groups.append(replace(group, id=str(line.number)))
    return Rankings(tuple(groups), tuple(rejected), blank)


def _prompt(record: dict[str, Any]) -> tuple[Message, ...]:
    """The messages of the prompt that is beside the answers; none where there is none."""
    key = next((name for name in _PROMPT_KEYS if record.get(name) is not None), None)
    if key is None:
        return ()
    if key == "conversations":
        return messages_of(record[key], key)
    return (Message("user", instruction_of(record)),) if key == "instruction" else asked(record, key)


def _side(record: dict[str, Any], side: str) -> tuple[tuple[Message, ...], str]:
    """The messages before an answer, and its text."""
    value = record.get(side)
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        return (), required_text(record, side)
    messages = messages_of(value, side) if len(value) != 1 else (message_of(value[0], f"{side}[0]"),)
    if messages[-1].role != "assistant":
        raise BadLine("no_assistant_turn", f"{side} ends with the {messages[-1].role}'s message, not with an answer")
    return messages[:-1], messages[-1].text


def _joined(beside: Sequence[Message], before: Sequence[Message]) -> tuple[Message, ...]:
    """The prompt, where a dialogue repeats what is beside it.

    Raises BadLine, `different_prompts`, where the dialogue says another thing than the prompt beside it.
    """
    if not beside or not before:
        return (*beside, *before)
    said = [(message.role, message.text.strip()) for message in before]
    given = [(message.role, message.text.strip()) for message in beside]
    if said[: len(given)] == given or said[-len(given) :] == given:
        return tuple(before)
    raise BadLine("different_prompts", "the dialogue does not repeat the prompt that is beside it")
