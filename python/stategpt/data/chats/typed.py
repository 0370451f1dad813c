"""Typed chat formats: `templates/NAME.toml` says what stands around the text of each message.

    begin, finish     before the first message; after the last, unless the conversation ends with it already
    default_system    the system message of a conversation that begins without one
    alternates        whether user and assistant must take turns
    controls          control tokens among the texts below; `{end_of_text}` is that of the tokenizer
    [ROLE]            system, user, assistant, tool; a role without a table is refused
      open, close     before and after the message; an assistant's prompt ends with `open`
      first, last     before the first and after the last of messages of this role in a row
      lead            what an assistant writes before its text
      trim            "message": white space around the text is cut; "turn": also counts a system message inside it
      inside_user     the system message is part of the first user turn, before its text
    [call]            what stands around the JSON of a tool's call: `between` it and the text before, `before`, `after`

What an assistant message trains is `lead`, text, calls, and `close` up to its first control token.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from stategpt.arguments import nearest_hint
from stategpt.data.records import ROLES, Message
from stategpt.errors import ChatTemplateError, InvalidArgument, MissingFile
from stategpt.files import read_bytes
from stategpt.json_reader import Flag, Items, Optional, Record, Text, check_value

from .pieces import BORDER, Piece

FOLDER = Path(__file__).parent / "templates"
END_OF_TEXT_MARK = "{end_of_text}"
_LIMIT_BYTES = 1 << 20

_TEXTS = Optional(Items(Text()), default=[])
_TURN = Record(
    {
        **dict.fromkeys(("first", "open", "lead", "close", "last"), _TEXTS),
        "trim": Optional(Text(("none", "message", "turn")), default="none"),
        "inside_user": Optional(Flag(), default=False),
    },
    closed=True,
)
_CALL = Record({"between": Optional(Text(), default=""), "before": _TEXTS, "after": _TEXTS}, closed=True)
_FORMAT = Record(
    {
        "begin": _TEXTS,
        "finish": _TEXTS,
        "controls": _TEXTS,
        "default_system": Optional(Text()),
        "alternates": Optional(Flag(), default=False),
        **{role: Optional(_TURN) for role in ROLES},
        "call": Optional(_CALL),
    },
    closed=True,
)


@dataclass(frozen=True)
class Turn:
    """What stands around a message of one role."""

    first: tuple[Piece, ...]
    open: tuple[Piece, ...]
    lead: tuple[Piece, ...]
    close: tuple[Piece, ...]
    last: tuple[Piece, ...]
    trim: str
    inside_user: bool


@dataclass(frozen=True)
class CallText:
    """What stands around the JSON of a tool's call."""

    between: str
    before: tuple[Piece, ...]
    after: tuple[Piece, ...]


@dataclass(frozen=True)
class TypedFormat:
    """A chat format as data."""

    name: str
    begin: tuple[Piece, ...]
    finish: tuple[Piece, ...]
    default_system: str | None
    alternates: bool
    turns: Mapping[str, Turn]
    call: CallText | None

    def pieces(self, messages: Sequence[Message], *, prompt: bool) -> list[Piece]:
        """The pieces of messages; with `prompt` up to where the assistant's next answer begins.

        Raises:
            InvalidArgument: a role, an order of roles or a tool's call that the format does not have.
        """
        self._check(messages)
        made = [*self.begin, *self._default_system(messages)]
        held = None
        for number, message in enumerate(messages):
            if message.role == "system" and self.turns["system"].inside_user:
                held = message
                continue
            around = (messages[number - 1] if number else None, messages[number + 1 : number + 2])
            made += self._turn(message, held if message.role == "user" else None, around)
            held = None if message.role == "user" else held
        if prompt:
            return [*made, *self.turns["assistant"].open, BORDER]
        ended = _same(made[len(made) - len(self.finish) :], self.finish)
        return made if ended else [*made, *self.finish]

    def _turn(
        self, message: Message, system: Message | None, around: tuple[Message | None, Sequence[Message]]
    ) -> Iterator[Piece]:
        turn = self.turns[message.role]
        before, after = around
        if before is None or before.role != message.role:
            yield from turn.first
        yield from turn.open
        if system is not None:
            inside = self.turns["system"]
            yield from (*inside.open, Piece(_trimmed(system.content, inside.trim), "content"), *inside.close)
        if message.role == "assistant":
            yield BORDER
            yield from _as_trained(turn.lead, message.trained)
        text = message.content
        if turn.trim == "turn" and system is not None:
            text = text.rstrip()  # what is cut before it belongs to the system message
        elif turn.trim != "none":
            text = text.strip()
        yield Piece(text, "content", message.trained)
        yield from self._calls(message, text)
        yield from _closed(turn.close, message.trained and message.role == "assistant")
        if not after or after[0].role != message.role:
            yield from turn.last

    def _calls(self, message: Message, text: str) -> Iterator[Piece]:
        written = bool(text)
        for call in message.tool_calls:
            assert self.call is not None  # _check
            if written:
                yield Piece(self.call.between, "literal", message.trained)
            yield from _as_trained(self.call.before, message.trained)
            yield Piece(call.text, "content", message.trained)
            yield from _as_trained(self.call.after, message.trained)
            written = True

    def _default_system(self, messages: Sequence[Message]) -> Iterator[Piece]:
        if self.default_system is not None and (not messages or messages[0].role != "system"):
            turn = self.turns["system"]
            yield from (*turn.open, Piece(self.default_system, "literal"), *turn.close)

    def _check(self, messages: Sequence[Message]) -> None:
        for number, message in enumerate(messages):
            if message.role not in self.turns:
                raise InvalidArgument(
                    f"the chat template {self.name} has no {message.role} messages (message {number}); it has "
                    f"{', '.join(self.turns)}. Leave the message out, or take another template."
                )
            if message.role == "system" and number and self.turns["system"].inside_user:
                raise InvalidArgument(
                    f"message {number} is a system message; the chat template {self.name} has one as the first message "
                    "only. Move it to the front."
                )
            if message.tool_calls and self.call is None:
                raise InvalidArgument(
                    f"message {number} calls a tool; the chat template {self.name} has no form for calls. "
                    "Leave the conversation out, or take another template."
                )
        if self.alternates:
            spoken = [message.role for message in messages if message.role != "system"]
            wrong = [n for n, role in enumerate(spoken) if (role == "user") != (n % 2 == 0)]
            if wrong or not spoken:
                raise InvalidArgument(
                    f"the roles are {', '.join(message.role for message in messages)}; in the chat template "
                    f"{self.name} user and assistant take turns, beginning with the user. Join messages of one author."
                )


def _trimmed(text: str, trim: str) -> str:
    return text if trim == "none" else text.strip()


def _as_trained(pieces: Sequence[Piece], trained: bool) -> Iterator[Piece]:
    return (Piece(piece.text, piece.kind, trained) for piece in pieces)


def _closed(pieces: Sequence[Piece], trained: bool) -> Iterator[Piece]:
    """The end of a turn: what an answer writes reaches to the first control token, which ends it."""
    end = next((number for number, piece in enumerate(pieces) if piece.kind == "control"), -1)
    return (Piece(piece.text, piece.kind, trained and number <= end) for number, piece in enumerate(pieces))


def _same(found: Sequence[Piece], expected: Sequence[Piece]) -> bool:
    return [(piece.text, piece.kind) for piece in found] == [(piece.text, piece.kind) for piece in expected]


def format_names() -> list[str]:
    """Names of the formats in `templates/`."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def named_format(name: str, end_of_text: str) -> TypedFormat:
    """The format of that name.

    Raises:
        InvalidArgument: there is none; the message lists those there are.
    """
    try:
        return _cached(FOLDER / f"{name if name.isidentifier() else ' '}.toml", end_of_text)
    except MissingFile:
        known = format_names()
    raise InvalidArgument(
        f"there is no chat template {name!r}; there are {', '.join(known)}. "
        + nearest_hint(name, known, "ChatTemplate.read takes a file of your own.")
    )


@cache
def _cached(path: Path, end_of_text: str) -> TypedFormat:
    return read_format(path, end_of_text)


def read_format(path: Path, end_of_text: str) -> TypedFormat:
    """The format in a file.

    Raises:
        ChatTemplateError: no TOML, or not the fields above; the message has the file and the field.
        StorageError: it cannot be read.
    """
    content = read_bytes(path, _LIMIT_BYTES, ChatTemplateError)
    try:
        fields = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise ChatTemplateError(
            f"{path} is no TOML ({error}); write it as docs/guides/chat-templates.md shows."
        ) from None
    checked = check_value(fields, _FORMAT, where=str(path), error=ChatTemplateError)
    if checked["assistant"] is None:
        raise ChatTemplateError(f"{path} has no table [assistant]; say what stands around an answer.")
    if checked["default_system"] is not None and checked["system"] is None:
        raise ChatTemplateError(f"{path} has default_system and no table [system]; add the table.")
    if checked["system"] is not None and checked["system"]["inside_user"] and not checked["alternates"]:
        raise ChatTemplateError(
            f"{path} has inside_user and not alternates; a user's turn must follow, set alternates."
        )
    return _format(path.stem, checked, end_of_text)


def _format(name: str, fields: Mapping[str, Any], end_of_text: str) -> TypedFormat:
    controls = {*fields["controls"], END_OF_TEXT_MARK}

    def typed(texts: list[str]) -> tuple[Piece, ...]:
        return tuple(
            Piece(text.replace(END_OF_TEXT_MARK, end_of_text), "control" if text in controls else "literal")
            for text in texts
        )

    def turn(found: Mapping[str, Any]) -> Turn:
        parts = {part: typed(found[part]) for part in ("first", "open", "lead", "close", "last")}
        return Turn(**parts, trim=found["trim"], inside_user=found["inside_user"])

    call = fields["call"]
    return TypedFormat(
        name=name,
        begin=typed(fields["begin"]),
        finish=typed(fields["finish"]),
        default_system=fields["default_system"],
        alternates=fields["alternates"],
        turns={role: turn(fields[role]) for role in ROLES if fields[role] is not None},
        call=None if call is None else CallText(call["between"], typed(call["before"]), typed(call["after"])),
    )
