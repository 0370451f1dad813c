"""Messages of OpenAI's chat API as records of this package, and the ids of a prompt from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stategpt.arguments import Ids
from stategpt.data import ChatTemplate, Message
from stategpt.data.records import Role, ToolCall
from stategpt.errors import StategptError
from stategpt.json_reader import Anything, Kind, Optional, Record, Text, decode_json

from .errors import ApiError, api_error, bad_field
from .fields import checked
from .tools import Tool, instructions

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_MESSAGE: dict[str, Kind] = {
    "role": Text(tuple(_ROLES)),
    "content": Optional(Anything()),
    "name": Optional(Text(max_chars=256)),
    "tool_calls": Optional(Anything()),
    "tool_call_id": Optional(Text(max_chars=256)),
    "refusal": Optional(Text()),
    "audio": Optional(Anything()),
    "function_call": Optional(Anything()),
    "annotations": Optional(Anything()),
}
_UNREAD = ("audio", "function_call", "refusal")
_CALL = Record(
    {
        "id": Optional(Text(max_chars=256), ""),
        "type": Optional(Text(("function",))),
        "function": Record({"name": Text(max_chars=256), "arguments": Text()}, closed=True),
    }
)


def read_messages(found: Sequence[Any]) -> list[Message]:
    """The messages of a request.

    Raises:
        ApiError: 400 with the path of what is wrong.
    """
    return [_message(value, f"messages[{number}]") for number, value in enumerate(found)]


def _message(value: Any, path: str) -> Message:
    fields = checked(value, Record(_MESSAGE, closed=True), path)
    for name in _UNREAD:
        if fields[name]:
            raise bad_field(
                f"{path}.{name}", f"{name} of a message is not supported; give text", "unsupported_parameter"
            )
    role = _ROLES[fields["role"]]
    calls = _calls(fields["tool_calls"], f"{path}.tool_calls") if fields["tool_calls"] else ()
    if calls and role != "assistant":
        raise bad_field(f"{path}.tool_calls", f"a {role} message has tool calls; only the assistant calls tools")
    if role == "tool" and not fields["tool_call_id"]:
        raise bad_field(f"{path}.tool_call_id", "a tool message needs tool_call_id, the call that it answers")
    if fields["content"] is None and not calls:
        raise bad_field(f"{path}.content", f"a {role} message needs content")
    return Message(role, _content(fields["content"], f"{path}.content"), tool_calls=calls)


def _content(value: Any, path: str) -> str:
    """A text, or the texts of parts, one after another."""
    if value is None:
        return ""
    if isinstance(value, str):
        return checked_text(value, path)
    if not isinstance(value, list):
        raise bad_field(path, f"{path} is of type {type(value).__name__}; it must be a string or an array of parts")
    texts = []
    for number, part in enumerate(value):
        where = f"{path}[{number}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text":
            raise bad_field(
                f"{where}.type",
                f"{where} is of type {kind!a:.60}; this server reads parts of type text",
                "unsupported_content",
            )
        fields = checked(part, Record({"type": Text(), "text": Text()}, closed=True), where)
        texts.append(checked_text(fields["text"], f"{where}.text"))
    return "".join(texts)


def checked_text(value: str, path: str) -> str:
    """`value`, unless it holds half a character: JSON can spell one, and no tokenizer encodes it."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise bad_field(path, f"{path} holds half a character at {error.start}; give Unicode text") from None
    return value


def _calls(value: Any, path: str) -> tuple[ToolCall, ...]:
    if not isinstance(value, list):
        raise bad_field(path, f"{path} is of type {type(value).__name__}; it must be an array")
    calls = []
    for number, item in enumerate(value):
        where = f"{path}[{number}]"
        fields = checked(item, _CALL, where)
        name = checked_text(fields["function"]["name"], f"{where}.function.name")
        text = checked_text(fields["function"]["arguments"], f"{where}.function.arguments")
        try:
            arguments = decode_json(text)
        except (ValueError, RecursionError):
            arguments = None
        if not isinstance(arguments, dict):
            raise bad_field(f"{where}.function.arguments", "arguments of a call must be a JSON object, as a string")
        calls.append(ToolCall(name, arguments, fields["id"]))
    return tuple(calls)


def prompt_ids(chat: ChatTemplate, messages: Sequence[Message], tools: Sequence[Tool], *, continued: bool) -> Ids:
    """The ids of a prompt: messages and the description of the tools, up to the answer, or in it with `continued`.

    Texts never become control tokens: the template puts those, around texts that are encoded as texts.

    Raises:
        ApiError: 400: the template does not take these messages.
    """
    last = len(messages) - 1
    if continued and messages[last].role != "assistant":
        raise bad_field(
            "continue_final_message", f"the last message is from the {messages[last].role}, not the assistant"
        )
    asked = list(messages[:-1] if continued else messages)
    if not asked:
        raise bad_field("messages", "there is no message before the answer that is to be continued")
    try:
        ids = chat.prompt(with_tools(chat, asked, tools))
    except StategptError as error:
        raise api_error(error, "messages") from None
    return np.concatenate([ids, chat.tok.encode(messages[last].text)]) if continued else ids


def with_tools(chat: ChatTemplate, messages: list[Message], tools: Sequence[Tool]) -> list[Message]:
    """Messages with the description of the tools in the system's, or before the first where the template has none."""
    if not tools:
        return messages
    told = instructions(tools)
    first = messages[0]
    if first.role == "system":
        return [Message("system", f"{first.content}\n\n{told}"), *messages[1:]]
    if takes_system(chat):
        return [Message("system", told), *messages]
    return [Message(first.role, f"{told}\n\n{first.content}"), *messages[1:]]


def takes_system(chat: ChatTemplate) -> bool:
    """Whether the template has messages of the system."""
    try:
        chat.prompt((Message("system", "a"), Message("user", "b")))
    except StategptError:
        return False
    return True


def template_of(chat: ChatTemplate | None, model: str) -> ChatTemplate:
    """The chat format of a model. Raises `ApiError` for one that has none."""
    if chat is None:
        raise ApiError(
            400,
            f"{model} is a base model without a chat template; use /v1/completions",
            param="model",
            code="no_chat_template",
        )
    return chat
