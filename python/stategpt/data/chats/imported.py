"""Templates of other models as they are: rendered in a sandbox, each character tracked to the message it came from.

What a prompt ends with, and what follows a last message, are rendered too: an answer is what lies between the end of
its prompt and the first control token after its text. So the mask is computed, not searched for in the text.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from stategpt.data.records import Message
from stategpt.errors import ChatTemplateError, StategptError
from stategpt.extras import require

from .pieces import BORDER, Piece, split_at_special
from .tracked import TEMPLATE, Tracked

MAX_SOURCE_CHARS = 1 << 20
_REMEDY = "Change the conversation as it asks, or take another template: ChatTemplate.named(name, tok)."


class ImportedFormat:
    """A Jinja template as a renderer of pieces.

    Args:
        name: its file, for errors.
        source: the template.
        variables: `bos_token`, `eos_token` and the like, by name.
        special: special tokens of the tokenizer.

    Raises:
        ChatTemplateError: it is no template, or uses what is not let through.
        MissingExtra: jinja2 is not installed.
    """

    def __init__(self, name: str, source: str, variables: Mapping[str, str], special: Iterable[str]) -> None:
        require("jinja2", "a chat template of another model")
        self.name = name
        self.source = source
        self.variables = dict(variables)
        self.special = frozenset(special)
        self._lock = threading.Lock()
        self._parts = False
        self._parts = self._takes_parts()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its source."""
        return type(self), (self.name, self.source, self.variables, self.special)

    @cached_property
    def _compiled(self) -> tuple[Any, Any]:
        from .sandbox import TrackedEnvironment

        if len(self.source) > MAX_SOURCE_CHARS:
            raise ChatTemplateError(
                f"{self.name} has {len(self.source):,} characters; a chat template has at most {MAX_SOURCE_CHARS:,}"
            )
        environment = TrackedEnvironment()
        try:
            return environment, environment.from_string(self.source)
        except Exception as error:  # a syntax error, an unknown filter; what Python's compiler says of deep nesting
            raise ChatTemplateError(
                f"{self.name} is no chat template that can be used ({_said(error)}). Mend it, or take another: "
                "ChatTemplate.named(name, tok)."
            ) from error

    def _takes_parts(self) -> bool:
        """Whether content is a list of parts, as models that see images have it: where a text is passed over."""
        probe = [Message("user", "x")]
        made = [False, False]
        for parts in (False, True):
            self._parts = parts
            try:
                made[parts] = 0 in self.render(probe, prompt=False).origins
            except ChatTemplateError:
                continue
        return made[True] and not made[False]

    def render(self, messages: Sequence[Message], *, prompt: bool) -> Tracked:
        """The chat, each character with its origin: 2i the content of message i, 2i + 1 its tool calls.

        Raises:
            ChatTemplateError: the template raises, or takes too long; the message has its reason.
        """
        environment, template = self._compiled
        variables = {name: Tracked(text, TEMPLATE) for name, text in self.variables.items()}
        given = [_fields(number, message, self._parts) for number, message in enumerate(messages)]
        with self._lock:
            environment.steps = 0
            try:
                made = template.render(
                    messages=given, add_generation_prompt=prompt, tools=None, documents=None, **variables
                )
            except Exception as error:  # templates are programs: they fail in any way
                roles = ", ".join(message.role for message in messages)
                raise ChatTemplateError(
                    f"{self.name} does not render a conversation of {roles} ({_said(error)}). {_REMEDY}"
                ) from error
        assert isinstance(made, Tracked)
        return made

    def pieces(self, messages: Sequence[Message], *, prompt: bool) -> list[Piece]:
        """See `Renderer`.

        Raises:
            ChatTemplateError: as `render`; it leaves a message out, or writes one inside another.
        """
        chat = self.render(messages, prompt=prompt)
        origins = np.array(chat.origins, dtype=np.int64)
        trained = np.zeros(len(chat), dtype=np.bool_)
        borders = {len(chat)} if prompt else set[int]()
        for number, message in enumerate(messages):
            if message.role == "assistant":
                start, end = self._answer(messages, number, chat, origins)
                borders.add(start)
                trained[start:end] |= message.trained
            elif message.trained:
                trained |= origins // 2 == number
            self._check_present(number, message, origins)
        return _cut(chat, origins, trained, borders)

    def _answer(
        self, messages: Sequence[Message], number: int, chat: Tracked, origins: npt.NDArray[np.int64]
    ) -> tuple[int, int]:
        """Where an answer begins, behind its prompt, and where it ends, with the token that ends it."""
        own = (origins // 2 == number).nonzero()[0]
        if not own.size:
            return 0, 0
        first, last = int(own[0]), int(own[-1]) + 1
        if (between := origins[first:last])[(between >= 0) & (between // 2 != number)].size:
            raise ChatTemplateError(f"{self.name} writes other messages inside message {number}. {_REMEDY}")
        said = (origins >= 0).nonzero()[0]
        before = max((int(place) + 1 for place in said[said < first]), default=0)
        after = min((int(place) for place in said[said >= last]), default=len(chat))
        header = chat.plain[before:first]
        start = first
        asked = self._after_text(messages[:number], prompt=True) if number else ""
        if asked and header.startswith(asked):
            start = before + len(asked)
        return start, last + self._closing(messages[: number + 1], chat.plain[last:after], after == len(chat))

    def _closing(self, messages: Sequence[Message], gap: str, is_last: bool) -> int:
        """Length of what ends the answer that `messages` end with, its control token included; `gap` follows it.

        What follows an answer at the end, before a prompt and here alike is the answer's; the rest is of what comes
        next. The tokenizer's end of text ends it, else the first control token.
        """
        at_end = self._after_text(messages, prompt=False)
        before_prompt = self._after_text(messages, prompt=True)
        here = at_end if is_last else gap
        always = _common(here, _common(at_end, before_prompt or at_end))
        for following in (always, _common(here, at_end), _common(here, before_prompt)):
            ends, size = list[tuple[str, int]](), 0
            for piece in split_at_special([Piece(following, "literal")], self.special):
                size += len(piece.text)
                if piece.kind == "control":
                    ends.append((piece.text, size))
            if ends:
                at_end_of_text = [size for name, size in ends if name == self.variables.get("eos_token")]
                return at_end_of_text[0] if at_end_of_text and following is always else ends[0][1]
        return 0

    def _after_text(self, messages: Sequence[Message], *, prompt: bool) -> str:
        """What the template writes after the text of the last message; nothing where it refuses these messages."""
        try:
            chat = self.render(messages, prompt=prompt)
        except ChatTemplateError:
            return ""
        said = [place for place, origin in enumerate(chat.origins) if origin >= 0]
        return chat.plain[said[-1] + 1 :] if said else chat.plain

    def _check_present(self, number: int, message: Message, origins: npt.NDArray[np.int64]) -> None:
        for what, origin, expected in (
            ("text", 2 * number, message.content.strip()),
            ("tool calls", 2 * number + 1, message.tool_calls),
        ):
            if expected and not (origins == origin).any():
                raise ChatTemplateError(
                    f"{self.name} leaves out the {what} of message {number} ({message.role}). {_REMEDY}"
                )


def _fields(number: int, message: Message, parts: bool) -> dict[str, Any]:
    """A message as templates read it."""
    content: Any = Tracked(message.content, 2 * number)
    if parts:
        content = [{"type": Tracked("text", TEMPLATE), "text": content}]
    fields: dict[str, Any] = {"role": Tracked(message.role, TEMPLATE), "content": content}
    if message.tool_calls:
        own = 2 * number + 1
        fields["tool_calls"] = [
            {
                "type": Tracked("function", TEMPLATE),
                "id": Tracked(call.id, own),
                "function": {"name": Tracked(call.name, own), "arguments": _tracked(dict(call.arguments), own)},
            }
            for call in message.tool_calls
        ]
    return fields


def _tracked(value: Any, origin: int) -> Any:
    if isinstance(value, str):
        return Tracked(value, origin)
    if isinstance(value, Mapping):
        return {_tracked(key, origin): _tracked(item, origin) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_tracked(item, origin) for item in value]
    return value


def _cut(
    chat: Tracked, origins: npt.NDArray[np.int64], trained: npt.NDArray[np.bool_], borders: set[int]
) -> list[Piece]:
    """The chat as pieces: text of the template, and everything else, which is text only."""
    literal = origins == TEMPLATE
    places = (np.diff(literal).nonzero()[0] + 1, np.diff(trained).nonzero()[0] + 1)
    cuts = sorted({0, len(chat), *borders, *places[0].tolist(), *places[1].tolist()})
    text, pieces = chat.plain, list[Piece]()
    for start, end in zip(cuts, [*cuts[1:], len(chat)], strict=True):
        if start in borders:
            pieces.append(BORDER)
        if end > start:
            pieces.append(Piece(text[start:end], "literal" if literal[start] else "content", bool(trained[start])))
    return pieces


def _common(one: str, other: str) -> str:
    """The longest common beginning."""
    size = min(len(one), len(other))
    return next((one[:place] for place in range(size) if one[place] != other[place]), one[:size])


def _said(error: Exception) -> str:
    if isinstance(error, StategptError):
        return str(error)
    return f"{type(error).__name__}: {str(error)[:300]}"
