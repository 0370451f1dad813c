"""The records that packages exchange: documents, conversations and prompts. Core code knows no other form of data.

Every record has a `group`, the unit that is kept whole when data is split into training, validation and test, and that
the bootstrap resamples (a web page, an author, a book): records of one group resemble each other. `where`
says which line of which file a record was read from. Ranked completions of a prompt are `data.rankings.RankedGroup`.

`meta` holds what a source knows beyond that, as JSON values; only the scorer of that source reads it, except two keys:

    subject    what the prompt asks about (a name, a title); evaluation checks whether an answer mentions it
    opening    the first words of the answer, which the prompt quotes: the completion continues them
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from stategpt.arguments import one_of, several
from stategpt.errors import InvalidArgument
from stategpt.shown_fields import documented, short_repr

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = get_args(Role)
"""Authors of messages: instructions, the person, the model, the output of a tool."""
SUBJECT, OPENING, LATER_TURNS = "subject", "opening", "later_turns"
"""Keys of `meta` that core code reads."""

_ASKING: tuple[Role, ...] = ("user", "tool")


@documented
@dataclass(frozen=True, slots=True)
class Place:
    """Where a record was read from."""

    file: str
    """Path of the file."""
    line: int = 1
    """Line number, from 1."""
    byte_offset: int = 0
    """Byte at which the line starts, from 0, in the unpacked file."""

    def __str__(self) -> str:
        """`chats.jsonl:7 (byte 512)`."""
        return f"{self.file}:{self.line} (byte {self.byte_offset})"


@documented
@dataclass(frozen=True, slots=True)
class Document:
    """A text for pretraining."""

    text: str
    """The whole text."""
    source: str = ""
    """Name of the source it belongs to; `data.proportions` mixes sources."""
    group: str = ""
    """Unit of splits and of bootstrap resampling."""
    where: Place | None = None
    """File and line it was read from."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What else its source knows."""

    __repr__ = short_repr


@documented
@dataclass(frozen=True, slots=True)
class LabeledText:
    """A text with the class that it belongs to: the unit of classification."""

    text: str
    """The whole text."""
    label: str
    """Name of its class."""
    group: str = ""
    """Unit of splits and of bootstrap resampling."""
    where: Place | None = None
    """File and line it was read from."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What else its source knows."""

    __repr__ = short_repr


@documented
@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool by the assistant, as data."""

    name: str
    """Name of the tool."""
    arguments: Mapping[str, Any]
    """Its arguments; JSON values."""
    id: str = ""
    """Name by which the tool's output refers to the call; not seen by the model."""

    __repr__ = short_repr

    def __hash__(self) -> int:
        """Equal calls have equal hashes, whatever their arguments hold."""
        return hash((self.name, self.id, len(self.arguments)))

    @property
    def text(self) -> str:
        """The call as the model reads and writes it: one line of JSON with `name` and `arguments`."""
        return json.dumps({"name": self.name, "arguments": dict(self.arguments)}, ensure_ascii=False)


@documented
@dataclass(frozen=True, slots=True, init=False)
class Message:
    """One message of a conversation."""

    role: Role
    """Its author: system, user, assistant or tool."""
    content: str
    """Plain text; it never becomes a control token."""
    trained: bool
    """Whether training predicts its tokens; by default those of the assistant only."""
    tool_calls: tuple[ToolCall, ...]
    """Calls of tools that an assistant message ends with."""

    __repr__ = short_repr

    def __init__(
        self, role: Role, content: str, trained: bool | None = None, tool_calls: Iterable[ToolCall] = ()
    ) -> None:
        one_of("role", role, ROLES)
        if not isinstance(content, str):
            raise InvalidArgument(f"the content of a {role} message is of type {type(content).__name__}; give a str")
        object.__setattr__(self, "role", role)
        object.__setattr__(self, "content", content)
        object.__setattr__(self, "trained", role == "assistant" if trained is None else bool(trained))
        calls = tuple(tool_calls)
        if calls and any(not isinstance(call, ToolCall) for call in calls):
            raise InvalidArgument(f"tool_calls of a {role} message must hold ToolCall only")
        if calls and role != "assistant":
            raise InvalidArgument(f"a {role} message has {len(calls)} tool calls; only the assistant calls tools")
        object.__setattr__(self, "tool_calls", calls)

    @property
    def text(self) -> str:
        """What the model reads: the content, then each tool call on a separate line. Plain text throughout."""
        calls = [call.text for call in self.tool_calls]
        return "\n".join([self.content, *calls] if self.content or not calls else calls)


@documented
@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation that waits for an answer: its last message is the user's, or the output of a tool."""

    messages: tuple[Message, ...]
    """In order; the last one is answered."""
    reference: str | None = None
    """A known good answer, as a person wrote it."""
    group: str = ""
    """Unit of splits and of bootstrap resampling."""
    where: Place | None = None
    """File and line it was read from."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What else its source knows and a scorer may need."""

    __repr__ = short_repr

    def __post_init__(self) -> None:
        object.__setattr__(self, "messages", _messages(self.messages))
        last = self.messages[-1].role
        if last not in _ASKING:
            raise InvalidArgument(
                f"the last message of a prompt is from the {last}; it must be from {' or '.join(_ASKING)}. "
                "Conversation.prompt() cuts a conversation before its last answer."
            )

    @classmethod
    def of(
        cls,
        text: str,
        reference: str | None = None,
        *,
        group: str = "",
        where: Place | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Prompt:
        """A prompt of one user message."""
        return cls((Message("user", text),), reference, group, where, {} if meta is None else meta)

    @property
    def text(self) -> str:
        """Content of the last message: what is asked."""
        return self.messages[-1].content

    @property
    def subject(self) -> str:
        """`meta["subject"]`, or an empty string."""
        return str(self.meta.get(SUBJECT, ""))

    @property
    def opening(self) -> str:
        """`meta["opening"]`, or an empty string: the words of the answer that the prompt quotes."""
        return str(self.meta.get(OPENING, ""))


@documented
@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages in order: the unit of supervised fine-tuning."""

    messages: tuple[Message, ...]
    """In order, at least one."""
    group: str = ""
    """Unit of splits and of bootstrap resampling."""
    where: Place | None = None
    """File and line it was read from."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What else its source knows."""

    __repr__ = short_repr

    def __post_init__(self) -> None:
        object.__setattr__(self, "messages", _messages(self.messages))

    @classmethod
    def of(
        cls,
        prompt: str,
        response: str,
        *,
        group: str = "",
        where: Place | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Conversation:
        """A conversation of one user message and its answer."""
        messages = (Message("user", prompt), Message("assistant", response))
        return cls(messages, group, where, {} if meta is None else meta)

    def prompt(self) -> Prompt:
        """The prompt before the last assistant message, with the content of that message as the reference.

        Raises:
            InvalidArgument: there is no assistant message, or no user or tool message directly before the last one.
        """
        answers = [number for number, message in enumerate(self.messages) if message.role == "assistant"]
        if not answers:
            raise InvalidArgument(f"no message of {len(self.messages)} is from the assistant; add the answer")
        last = answers[-1]
        return Prompt(self.messages[:last], self.messages[last].text, self.group, self.where, self.meta)


def _messages(messages: Iterable[Message]) -> tuple[Message, ...]:
    several("messages", messages, "Give a list of Message.")
    found = tuple(messages)
    if not found:
        raise InvalidArgument("messages is empty; give at least one Message")
    for message in found:
        if not isinstance(message, Message):
            raise InvalidArgument(f"messages holds a {type(message).__name__}; it must hold Message only")
    return found
