"""What the check of an export asks: texts, texts that spell control tokens, chats, and their ids here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stategpt.cli.model_source import Source
from stategpt.errors import DataError, ExportMismatch, StategptError

if TYPE_CHECKING:
    from stategpt.data import Message

TEXTS = (
    "The quick brown fox jumps over 13 lazy dogs.",
    "  def f(x):\n\treturn x ** 2\r\n\n",
    "Größe, naïve café, İstanbul, cafe\u0301",
    "Привет, мир! Γειά σου.",
    "你好，世界。日本語のテキスト 한국어",
    "مرحبا بالعالم नमस्ते ไทย",
    "👩‍👩‍👧 🇩🇪 ½ ﬁ\u00a0x",
)
_QUESTIONS = (("What is 2 + 2?",), ("Answer in one word.", "Что такое кот?"))
"""A user's message; a message of the system and a user's."""
_ANSWERED = (("Why?", "So it is."), ("What is the capital of France?", "Paris is the capital of France, on the Seine."))


def ids_of(source: Source, text: str, special: Any) -> list[int]:
    """Returns the ids of a text by the tokenizer here."""
    return [int(token) for token in source.tok.encode(text, special=special)]


def spelled(source: Source) -> list[str]:
    """Returns texts that spell control tokens of this tokenizer."""
    names = list(source.tok.special_tokens)[:4]
    texts = [" ".join(names), "a" + "b".join(names) + "c"] if names else []
    kept = []
    for text in texts:
        try:
            ids_of(source, text, "unflagged")
        except DataError:  # no text there: the file's own model makes the token
            continue
        kept.append(text)
    return kept


def messages_of(rows: list[dict[str, str]]) -> list[Message]:
    """Returns what `rows_of` made rows of."""
    from stategpt.data import Message

    return [Message(row["role"], row["content"]) for row in rows]  # type: ignore[arg-type]


def rows_of(messages: list[Message]) -> list[dict[str, str]]:
    """Returns messages as templates take them."""
    return [{"role": message.role, "content": message.content} for message in messages]


def probe_chats() -> list[list[Message]]:
    """Returns chats to continue."""
    from stategpt.data import Message

    return [[*(Message("system", text) for text in texts[:-1]), Message("user", texts[-1])] for texts in _QUESTIONS]


def probe_talks() -> list[list[Message]]:
    """Returns finished chats, which a reward model scores."""
    from stategpt.data import Message

    return [[Message("user", question), Message("assistant", answer)] for question, answer in _ANSWERED]


def chat_ids(source: Source, messages: list[Message]) -> list[int] | None:
    """Returns the ids of a prompt; None where the format has no such messages."""
    chat = source.format()
    try:
        return None if chat is None else [int(token) for token in chat.prompt(messages)]
    except StategptError:
        return None


def scored_ids(source: Source, talk: list[Message]) -> list[int]:
    """Returns the ids of a chat up to the token at which a reward model is read.

    Raises `ExportMismatch` where nothing says how a chat is written.
    """
    from stategpt.data import ControlTokens

    chat = source.format()
    if chat is None:
        raise ExportMismatch(f"{source.place} has no chat template, so no chat can be scored in another tool")
    encoded = chat.encode(talk)
    reward = getattr(source.model, "reward_token", None)
    if reward is None and source.chat is None:
        reward = ControlTokens.of(source.tok).reward
    if reward is None:
        return [int(token) for token in encoded.ids]
    end = int(encoded.loss_mask.nonzero()[0][-1]) + 1
    return [*(int(token) for token in encoded.ids[:end]), reward]
