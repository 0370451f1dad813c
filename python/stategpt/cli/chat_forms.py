"""What a typed text becomes: a message in the chat template, a question in a few-shot document, a document itself."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stategpt.cli.chat_session import Form, Turn
from stategpt.data.records import Message
from stategpt.errors import ConfigError

if TYPE_CHECKING:
    from stategpt.arguments import Ids
    from stategpt.data import ChatTemplate
    from stategpt.generate import Engine

_LOOKED_AT = 10_000
"""Conversations of a run's training set that decide whether its models know several turns."""


class ChatForm:
    """A text is the message of a user; answers and questions follow one another as the template writes them."""

    stops: Sequence[str] = ()

    def __init__(self, chat: ChatTemplate, one_turn: str = "") -> None:
        self.chat = chat
        self.one_turn = one_turn

    def first(self, text: str) -> Ids:
        """See `Form`."""
        return self.chat.prompt(text)

    def following(self, turns: Sequence[Turn], text: str) -> Ids:
        """See `Form`."""
        messages = [
            message
            for turn in turns
            for message in (Message("user", turn.text), Message("assistant", turn.completion.text))
        ]
        return self.chat.following([*messages, Message("user", text)])

    def is_over(self, turn: Turn) -> bool:
        """See `Form`."""
        return False


class RawForm:
    """A text continues the document, and the model continues the text; an end of text ends the document."""

    stops: Sequence[str] = ()
    one_turn = ""

    def first(self, text: str) -> str:
        """See `Form`."""
        return text

    def following(self, turns: Sequence[Turn], text: str) -> str:
        """See `Form`."""
        return text

    def is_over(self, turn: Turn) -> bool:
        """See `Form`."""
        return turn.completion.reason == "end"


class FewShotForm:
    """A text is the question of a document with answered questions, the one that the run's evaluation used."""

    one_turn = "a base model only continues documents, so each question is put into a new one"

    def __init__(self, engine: Engine, run: Path) -> None:
        from stategpt.config import load
        from stategpt.data.corpus import read_corpus
        from stategpt.data.few_shot import STOP, choose_examples

        config = load(run / "run.toml").evaluate
        train = [conversation.prompt() for conversation in read_corpus(run / "corpus").conversations["train"]]
        self.stops: Sequence[str] = (STOP,)
        self._examples = choose_examples(train, config.few_shot_examples if train else 0, config.seed)
        self._begin = np.array([engine.control.document_begin], dtype=np.uint32)
        self._tok = engine.tok

    def first(self, text: str) -> Ids:
        """See `Form`."""
        from stategpt.data.few_shot import few_shot_document

        return np.concatenate([self._begin, self._tok.encode(few_shot_document(self._examples, text))])

    def following(self, turns: Sequence[Turn], text: str) -> Ids:
        """See `Form`."""
        raise AssertionError("each question begins a new document")

    def is_over(self, turn: Turn) -> bool:
        """See `Form`."""
        return True


def chat_form(chat: ChatTemplate, run: Path | None, turns: str) -> Form:
    """The form of a model with a chat template.

    Args:
        chat: the template.
        run: the run that the model is of.
        turns: "several", "one", or "auto": several where template and training allow it.

    Raises:
        ConfigError: several turns in a template that holds one question.
    """
    if turns == "one":
        return ChatForm(chat, "--turns one")
    if not chat.takes_turns:
        if turns == "several":
            raise ConfigError(f"--turns several: the chat template {chat.name} holds one question")
        return ChatForm(chat, f"the chat template {chat.name} holds one question")
    if turns == "auto" and run is not None and _trained_on_single_questions(run):
        return ChatForm(chat, "this run's models are trained on single questions; --turns several keeps conversations")
    return ChatForm(chat)


def _trained_on_single_questions(run: Path) -> bool:
    """Whether a run from random weights has conversations, and none of the first ones has several questions."""
    from stategpt.config.toml_text import parse_toml
    from stategpt.data.corpus_rows import CONVERSATION, read_rows
    from stategpt.files import read_bytes

    path = run / "corpus" / "conversations" / "train.jsonl"
    settings = parse_toml(read_bytes(run / "run.toml").decode())  # as they are: the start model may be gone
    if settings.get("start", {}).get("model") or not path.is_file():
        return False
    found = 0
    for row in islice(read_rows(path, CONVERSATION), _LOOKED_AT):
        found += 1
        if sum(message["role"] == "user" for message in row["messages"]) > 1:
            return False
    return found > 0
