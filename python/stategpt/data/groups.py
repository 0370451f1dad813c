"""The group of a record: what is kept on one side when data is split into training, validation and test."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from stategpt.data.rankings import RankedGroup
from stategpt.data.records import Conversation, LabeledText, Message, Prompt


def group_of(record: Conversation | Prompt | RankedGroup | LabeledText) -> str:
    """The group of a record; where it names none, that of its first question, or of its text as documents have it, the
    same in every input.
    """
    if isinstance(record, LabeledText):
        return record.group or text_digest(record.text)
    return record.group or question_group(first_question(record.messages))


def first_question(messages: Sequence[Message]) -> str:
    """Content of the first user message, or of the first message where the user writes none."""
    return next((message.content for message in messages if message.role == "user"), messages[0].content)


def question_group(question: str) -> str:
    """The group of everything that begins with this question; white space does not matter."""
    return "q:" + text_digest(" ".join(question.split()))


def text_digest(text: str) -> str:
    """16 hexadecimal digits that name a text: equal texts are one group, wherever they are."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
