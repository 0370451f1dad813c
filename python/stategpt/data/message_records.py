"""Messages from the JSON of published formats: roles, texts in parts, tool calls.

Roles by the names that published sets give them:

    system     system, developer
    user       user, human, prompter
    assistant  assistant, gpt, model, chatgpt, bot
    tool       tool, function, observation, tool_response, function_response, ipython

Faults are `BadLine` with a stable code:

    wrong_type           another type than is expected
    missing_field        a message without role or content
    unknown_role         none of the names above
    unsupported_content  a part that is no text (an image, a sound)
    invalid_tool_call    a call without a name, or whose arguments are no JSON object
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from stategpt.data.lines import BadLine, json_type, require_unicode
from stategpt.data.records import Message, Role, ToolCall
from stategpt.json_reader import decode_json
from stategpt.visible_text import visible_line

_NAMES: Final[Mapping[Role, tuple[str, ...]]] = {
    "system": ("system", "developer"),
    "user": ("user", "human", "prompter"),
    "assistant": ("assistant", "gpt", "model", "chatgpt", "bot"),
    "tool": ("tool", "function", "observation", "tool_response", "function_response", "ipython"),
}
_ROLE_OF: Final[Mapping[str, Role]] = {name: role for role, names in _NAMES.items() for name in names}
FUNCTION_CALL: Final = ("function_call", "tool_call")
"""ShareGPT's authors of a message whose text is a tool call: the assistant."""
_TEXT_PARTS = ("text", "input_text", "output_text")


def messages_of(value: object, path: str, *, roles: tuple[str, ...] = ("role", "from")) -> tuple[Message, ...]:
    """A list of messages, with `role` and `content` or with `from` and `value`.

    Args:
        value: what the record has.
        path: name of the field, for messages about faults.
        roles: keys under which a message may have its author.

    Raises:
        BadLine: one of the codes above, or `empty_conversation`.
    """
    if value is None:
        raise BadLine("missing_field", f"{path} is missing or null, expected a list of messages")
    if not isinstance(value, list):
        raise BadLine("wrong_type", f"{path} is {json_type(value)}, expected a list of messages")
    if not value:
        raise BadLine("empty_conversation", f"{path} is an empty list; give at least one message")
    return tuple(message_of(item, f"{path}[{number}]", roles=roles) for number, item in enumerate(value))


def message_of(value: object, path: str, *, roles: tuple[str, ...] = ("role", "from")) -> Message:
    """One message. Raises BadLine."""
    if not isinstance(value, dict):
        raise BadLine("wrong_type", f"{path} is {json_type(value)}, expected an object")
    key = next((name for name in roles if name in value), None)
    if key is None:
        raise BadLine("missing_field", f"{path} has no {' or '.join(roles)}")
    author = text_of(value[key], f"{path}.{key}").strip().lower()
    content_key = "value" if key == "from" and "content" not in value else "content"
    if author in FUNCTION_CALL:
        call = text_of(value.get(content_key), f"{path}.{content_key}")
        return Message("assistant", "", tool_calls=_calls_in_text(call, path))
    role = _ROLE_OF.get(author)
    if role is None:
        known = ", ".join(sorted(_ROLE_OF))
        raise BadLine("unknown_role", f"{path}.{key} is {visible_line(author, 60)!r}; it is one of {known}")
    calls = _tool_calls(value, path)
    if calls and role != "assistant":
        raise BadLine("invalid_tool_call", f"{path} is of the {role}; only the assistant calls tools")
    content = value.get(content_key)
    if content is None and content_key not in value and not calls:
        raise BadLine("missing_field", f"{path} has no {content_key}")
    text = "" if content is None and calls else text_of(content, f"{path}.{content_key}")
    return Message(role, text, _trained(value, role, path), calls)


def text_of(value: object, path: str) -> str:
    """A string, or a list of strings and of parts {"type": "text", "text": ...}, joined.

    Raises:
        BadLine: `wrong_type`, `unsupported_content`, or `invalid_json` for half a character.
    """
    if isinstance(value, str):
        return require_unicode(value, path)
    if not isinstance(value, list):
        raise BadLine("wrong_type", f"{path} is {json_type(value)}, expected a string or a list of text parts")
    return "".join(_part(part, f"{path}[{number}]") for number, part in enumerate(value))


def shown_roles(messages: Sequence[Message]) -> str:
    """Roles in order, for messages about faults."""
    return ", ".join(message.role for message in messages[:12]) + (", ..." if len(messages) > 12 else "")


def _part(part: object, path: str) -> str:
    if isinstance(part, str):
        return require_unicode(part, path)
    if not isinstance(part, dict):
        raise BadLine("wrong_type", f"{path} is {json_type(part)}, expected a text part")
    kind = part.get("type", "text")
    if kind not in _TEXT_PARTS:
        raise BadLine("unsupported_content", f"{path} is a part of type {kind!r:.40}; only text is read")
    text = part.get("text")
    if not isinstance(text, str):
        raise BadLine("wrong_type", f"{path}.text is {json_type(text)}, expected a string")
    return require_unicode(text, path)


def _trained(value: Mapping[str, Any], role: Role, path: str) -> bool:
    """Whether there is loss on a message: the assistant's, but for `weight` 0 (OpenAI) or a `trained` of ours."""
    if "trained" in value and value["trained"] is not None:
        if not isinstance(value["trained"], bool):
            raise BadLine("wrong_type", f"{path}.trained is {json_type(value['trained'])}, expected a boolean")
        return value["trained"]
    weight = value.get("weight")
    if weight is not None and (isinstance(weight, bool) or weight not in (0, 1)):
        raise BadLine("wrong_type", f"{path}.weight is {weight!r:.40}; it is 0 or 1")
    return role == "assistant" and weight != 0


def _tool_calls(value: Mapping[str, Any], path: str) -> tuple[ToolCall, ...]:
    """Calls in OpenAI's spellings: `tool_calls`, or the older `function_call`."""
    listed = value.get("tool_calls")
    if listed is None:
        single = value.get("function_call")
        return () if single is None else (_call(single, f"{path}.function_call"),)
    if not isinstance(listed, list):
        raise BadLine("wrong_type", f"{path}.tool_calls is {json_type(listed)}, expected a list")
    return tuple(_call(call, f"{path}.tool_calls[{number}]") for number, call in enumerate(listed))


def _calls_in_text(text: str, path: str) -> tuple[ToolCall, ...]:
    """Calls that a message spells as JSON: one, or a list of them."""
    try:
        value = decode_json(text)
    except (ValueError, RecursionError):
        raise BadLine("invalid_tool_call", f"{path} is a function call whose text is no JSON") from None
    calls = value if isinstance(value, list) else [value]
    if not calls:
        raise BadLine("invalid_tool_call", f"{path} is a function call with an empty list of calls")
    return tuple(_call(call, path) for call in calls)


def _call(value: object, path: str) -> ToolCall:
    if not isinstance(value, dict):
        raise BadLine("invalid_tool_call", f"{path} is {json_type(value)}, expected an object")
    function = value.get("function", value)
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise BadLine("invalid_tool_call", f"{path} has no function with a name")
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = decode_json(arguments) if arguments.strip() else {}
        except (ValueError, RecursionError):
            raise BadLine("invalid_tool_call", f"{path}: the arguments are no JSON") from None
    if not isinstance(arguments, dict):
        raise BadLine("invalid_tool_call", f"{path}: the arguments are {json_type(arguments)}, expected an object")
    name = value.get("id")
    call = ToolCall(function["name"], arguments, name if isinstance(name, str) else "")
    require_unicode(call.text + call.id, path)
    return call
