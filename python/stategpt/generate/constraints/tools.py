"""Calls of tools in the form of a chat format, with arguments that satisfy the tools' schemas."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from stategpt.arguments import several, unicode_text, whole
from stategpt.data import ChatTemplate
from stategpt.data.chats.pieces import Piece, split_at_special
from stategpt.data.chats.typed import CallText
from stategpt.data.records import ToolCall
from stategpt.errors import ConstraintError, InvalidArgument

from .lark import Builder, check_size, escaped, quoted
from .limits import Limits
from .schema import checked_schema, grammar_schema
from .specs import JsonStart, Spec, _parsed, dumped

Json = Any
_NO_PARAMETERS = {"type": "object", "properties": {}, "additionalProperties": False}
Around = tuple[tuple[str, Literal["literal", "control", "content"]], ...]


@dataclass(frozen=True)
class ToolCalls(Spec):
    """Calls of tools. Made by `tool_calls`."""

    tools: tuple[tuple[str, str], ...]
    """Names, and the schemas of their arguments as JSON."""
    before: Around = ()
    after: Around = ()
    between: str = "\n"
    most: int = 1
    required: bool = True

    def expression(self, builder: Builder) -> str:
        """Adds its parts to a grammar; returns the expression that refers to them."""
        call = builder.rule(f"{self._json(builder)} {self._around(self.after, builder)}".rstrip())
        before = self._around(self.before, builder)
        more = f" ({quoted(self.between)} {before} {call}){{0,{self.most - 1}}}" if self.most > 1 else ""
        if self.required:
            return f"{before} {call}{more}"
        marker = self._marker(builder)
        if marker is None:  # a text does not begin as a call does
            return f"({before} {call}{more} | {builder.terminal('/(?s:[^{].*)/')})"
        if builder.vocabulary.control_id(marker) is not None:
            return f"{builder.terminal('/(?s:.*)/')} ({before} {call}{more})?"
        text = builder.terminal(f"/(?s:.*)/ & ~/(?s:.*){escaped(marker)}(?s:.*)/")
        first = builder.rule(f"/(?s:.*){escaped(marker)}/", "[lazy]")
        rest = before.removeprefix(quoted(marker))
        return f"({text} | {first} {rest} {call}{more})"

    def _json(self, builder: Builder) -> str:
        """One object of `name` and `arguments`, spaced as conversations write calls (`ToolCall.text`)."""
        options = [f"%json {self._schema(name, schema, builder.limits)}" for name, schema in self.tools]
        return f"({' | '.join(options)})"

    def _schema(self, name: str, schema: str, limits: Limits) -> str:
        check_size(f"the schema of the tool {name!r}", schema, limits)
        try:
            arguments = checked_schema(_parsed(schema), limits)
        except ConstraintError as error:
            raise type(error)(f"the parameters of the tool {name!r}: {error}") from None
        definitions = arguments.pop("$defs", {})
        whole_call = {
            "type": "object",
            "properties": {"name": {"const": name}, "arguments": arguments},
            "required": ["name", "arguments"],
            "additionalProperties": False,
            **({"$defs": definitions} if definitions else {}),
        }
        return grammar_schema(whole_call, ", ", ": ")

    def _pieces(self, around: Around, builder: Builder) -> list[Piece]:
        pieces = [Piece(text, kind) for text, kind in around]
        return [piece for piece in split_at_special(pieces, builder.vocabulary.tok.special_tokens) if piece.text]

    def _around(self, around: Around, builder: Builder) -> str:
        """What the format writes around a call: its control tokens as tokens, as the chat template does."""
        parts = []
        for piece in self._pieces(around, builder):
            if piece.kind == "control" and builder.vocabulary.control_id(piece.text) is None:
                raise ConstraintError(
                    f"calls are written with the control token {piece.text!r}; the tokenizer lacks it"
                )
            parts.append(builder.marker(piece.text)[0] if piece.kind == "control" else quoted(piece.text))
        return " ".join(parts)

    def _marker(self, builder: Builder) -> str | None:
        """What tells a call from text: the first piece before it."""
        pieces = self._pieces(self.before, builder)
        return pieces[0].text if pieces else None

    def json_start(self) -> JsonStart | None:
        """Where JSON begins in the output."""
        return JsonStart("") if self.required else None

    def read(self, text: str) -> list[ToolCall]:
        """Returns the calls in an output; none in one that is text only."""
        marker = re.escape("".join(piece for piece, kind in self.before if kind != "control"))
        calls: list[ToolCall] = []
        at = 0
        while (found := re.compile(rf"{marker}\s*(?=\{{)").search(text, at)) is not None:
            if not marker and not calls and found.start():
                break  # text that has a brace
            try:
                value, at = json.JSONDecoder().raw_decode(text, found.end())
                calls.append(ToolCall(value["name"], value["arguments"]))
            except (ValueError, KeyError, TypeError):
                raise ConstraintError(f"the call {text[found.end() :][:80]!r} is not complete") from None
        return calls


def tool_calls(
    tools: Iterable[Mapping[str, Json]], chat: ChatTemplate | None = None, *, most: int = 1, required: bool = True
) -> ToolCalls:
    """Calls of tools, in the form in which a chat format writes them.

    Args:
        tools: as in OpenAI's API, `{"type": "function", "function": {"name": ..., "parameters": SCHEMA}}`, or the inner
            object alone.
        chat: the chat format; without one, or with one that has no form for calls, each is a line of JSON.
        most: most calls of one answer.
        required: whether the answer must be calls; else it may be text, or text and then calls.

    Raises:
        InvalidArgument: no tool, one without a name, two of one name.
        ConstraintError: parameters that are no JSON.
    """
    several("tools", tools)
    held: dict[str, str] = {}
    for place, tool in enumerate(tools):
        inner = tool.get("function", tool) if isinstance(tool, Mapping) else None
        if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str) or not inner["name"]:
            raise InvalidArgument(f"tool {place} has no name; give {{'name': ..., 'parameters': SCHEMA}}")
        name = unicode_text(f"the name of tool {place}", inner["name"])
        if name in held:
            raise InvalidArgument(f"two tools are called {name!r}; each has another name")
        held[name] = dumped(inner.get("parameters") or _NO_PARAMETERS)
    if not held:
        raise InvalidArgument("tools is empty; give at least one tool")
    form = None if chat is None else chat.call_text
    around = CallText("\n", (), ()) if form is None else form
    return ToolCalls(
        tuple(held.items()),
        tuple((piece.text, piece.kind) for piece in around.before),
        tuple((piece.text, piece.kind) for piece in around.after),
        around.between or "\n",
        whole("most", most, 1),
        bool(required),
    )
