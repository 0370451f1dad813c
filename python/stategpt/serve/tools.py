"""Tools: how a model is told of them, and how its calls are found in what it writes.

A call is one line of JSON, `{"name": ..., "arguments": {...}}`, as conversations of this package hold it, perhaps
between `<tool_call>` and `</tool_call>`, as other models were trained to write it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stategpt.json_reader import Anything, Flag, MapOf, Optional, Record, Text, decode_json
from stategpt.shown_fields import documented, short_repr

from .errors import bad_field
from .fields import checked

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}", re.ASCII)
_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_TOOL = Record(
    {
        "type": Text(("function",)),
        "function": Record(
            {
                "name": Text(max_chars=128),
                "description": Optional(Text(), ""),
                "parameters": Optional(MapOf(Anything())),
                "strict": Optional(Flag(), False),
            },
            closed=True,
        ),
    },
    closed=True,
)
_CHOICE = Record(
    {"type": Text(("function",)), "function": Record({"name": Text(max_chars=128)}, closed=True)}, closed=True
)


@documented
@dataclass(frozen=True)
class Tool:
    """A function that the model may call."""

    name: str
    """Its name."""
    description: str
    """What it does, for the model."""
    parameters: Mapping[str, Any]
    """JSON schema of its arguments."""

    __repr__ = short_repr

    def as_json(self) -> dict[str, Any]:
        """The tool as the model reads it."""
        return {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}


@documented
@dataclass(frozen=True)
class ToolUse:
    """Which tools a request has, and whether one must be called."""

    tools: tuple[Tool, ...] = ()
    """Those the model is told of."""
    callable: tuple[Tool, ...] = ()
    """Those that it may call."""
    required: bool = False
    """Whether it must call one."""

    __repr__ = short_repr


NO_TOOLS = ToolUse()
"""A request without tools."""


def read_tools(fields: Mapping[str, Any]) -> ToolUse:
    """The tools of a request and its tool_choice.

    Raises:
        ApiError: 400 with the path of what is wrong.
    """
    tools = tuple(_tool(value, f"tools[{number}]") for number, value in enumerate(fields.get("tools", ())))
    names = [tool.name for tool in tools]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise bad_field(f"tools[{number}].function.name", f"two tools are called {name!a}")
    choice = fields.get("tool_choice", "auto" if tools else "none")
    if choice == "none":
        return ToolUse(tools)
    if not tools:
        raise bad_field("tool_choice", "tool_choice is given and tools are not")
    if choice in ("auto", "required"):
        return ToolUse(tools, tools, choice == "required")
    if isinstance(choice, str):
        raise bad_field("tool_choice", f"tool_choice is {choice!a:.80}; it is none, auto, required or one function")
    name = checked(choice, _CHOICE, "tool_choice")["function"]["name"]
    if name not in names:
        raise bad_field("tool_choice", f"tool_choice names {name!a:.80}; the tools are {', '.join(names)[:400]}")
    return ToolUse(tools, (tools[names.index(name)],), required=True)


def _tool(value: Any, path: str) -> Tool:
    function = checked(value, _TOOL, path)["function"]
    if not _NAME.fullmatch(function["name"]):
        rule = "a name has 1 to 128 letters, digits, '_', '-' or '.'"
        raise bad_field(f"{path}.function.name", f"{function['name']!a:.80} cannot name a function: {rule}")
    parameters = function["parameters"] or {"type": "object", "properties": {}}
    return Tool(function["name"], function["description"], parameters)


def instructions(tools: Sequence[Tool]) -> str:
    """What the model is told of the tools; plain text."""
    lines = [json.dumps(tool.as_json(), ensure_ascii=False) for tool in tools]
    return "\n".join(
        [
            "You can call these functions; each line describes one:",
            *lines,
            'To call one, answer with a line of JSON: {"name": its name, "arguments": {its arguments}}',
        ]
    )


@dataclass(frozen=True)
class Part:
    """A piece of an answer: text, or a call."""

    kind: Literal["text", "call"]
    text: str
    """The text; of a call its arguments as JSON."""
    name: str = ""
    """The tool that is called."""


class CallReader:
    """Divides text that arrives in pieces into text and calls of known tools.

    A line that may be a call is held back until it is complete; one that is none comes as text, unchanged. White space
    between calls belongs to them.
    """

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._names = {tool.name for tool in tools}
        self._held = ""
        self._line_start = True
        self._called = False

    def push(self, piece: str) -> list[Part]:
        """Takes text; returns what is certain."""
        if not self._names:
            return [Part("text", piece)] if piece else []
        self._held += piece
        return list(self._parts(last=False))

    def finish(self) -> list[Part]:
        """Ends the text; returns what was held."""
        return list(self._parts(last=True))

    def _parts(self, *, last: bool) -> Iterator[Part]:
        while self._held:
            if not self._line_start:
                line, newline, rest = self._held.partition("\n")
                self._held, self._line_start = rest, bool(newline)
                yield Part("text", line + newline)
                continue
            size = self._candidate()
            if size is None and not last:
                return
            text = self._held[: size or len(self._held)]
            self._held = self._held[len(text) :]
            call = self._call(text)
            if call is not None:
                self._called = True
                yield call
            elif not (self._called and not text.strip()):
                self._line_start = text.endswith("\n")
                yield Part("text", text)

    def _candidate(self) -> int | None:
        """Length of what begins the held text and may be a call, or is certainly none; None: more text decides."""
        bare = self._held.lstrip()
        space = len(self._held) - len(bare)
        if not bare:
            return None
        if bare.startswith(_OPEN):
            end = bare.find(_CLOSE)
            return None if end < 0 else space + end + len(_CLOSE)
        if _OPEN.startswith(bare):
            return None
        end = bare.find("\n")
        if bare.startswith("{"):
            return None if end < 0 else space + end
        return space + 1

    def _call(self, text: str) -> Part | None:
        bare = text.strip()
        if bare.startswith(_OPEN):
            bare = bare.removeprefix(_OPEN).removesuffix(_CLOSE).strip()
        try:
            found = decode_json(bare) if bare.startswith("{") else None
        except (ValueError, RecursionError):
            return None
        if not isinstance(found, dict) or found.keys() != {"name", "arguments"} or not isinstance(found["name"], str):
            return None
        if found["name"] not in self._names or not isinstance(found["arguments"], dict):
            return None
        return Part("call", json.dumps(found["arguments"], ensure_ascii=False, separators=(",", ":")), found["name"])
