"""A typed chat format as a Jinja template, for programs that know formats only so (`transformers`, llama.cpp).

The text it renders is that of `TypedFormat.pieces`, and it refuses what the format refuses. Rendered text cannot tell
a control token from a message that spells one, so such a message is refused too (see `data.chat_template`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from stategpt.data.chat_template import TOOL_CALLS

from .pieces import Piece, text_of
from .typed import Turn, TypedFormat

_HEAD = """\
{%- set roles = ROLES -%}
{%- set names = NAMES -%}
{%- for message in messages -%}
{%- if message['role'] not in roles -%}
{{- raise_exception('the role of a message must be one of ' + roles | join(', ')) -}}
{%- endif -%}
{%- if message['content'] is not string and (message['content'] or not message['tool_calls']) -%}
{{- raise_exception('the content of a message must be a text') -}}
{%- endif -%}
"""
_NO_CALLS = """\
{%- if message['tool_calls'] -%}
{{- raise_exception('this chat format has no form for calls of tools') -}}
{%- endif -%}
"""
_NAMES = """\
{%- for name in names -%}
{%- if name in written(message) -%}
{{- raise_exception('a message spells the special token ' + name + ', which would become that token') -}}
{%- endif -%}
{%- endfor -%}
{%- endfor -%}
"""
_ALTERNATES = """\
{%- set spoken = messages | rejectattr('role', 'equalto', 'system') | list -%}
{%- if not spoken -%}
{{- raise_exception('the conversation has no message of a user') -}}
{%- endif -%}
{%- for message in spoken -%}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
{{- raise_exception('user and assistant take turns, beginning with the user') -}}
{%- endif -%}
{%- endfor -%}
"""
_SYSTEM_FIRST = """\
{%- for message in messages -%}
{%- if message['role'] == 'system' and not loop.first -%}
{{- raise_exception('only the first message may be one of the system') -}}
{%- endif -%}
{%- endfor -%}
"""
_LOOP = """\
{%- for message in messages -%}
{%- set first_of_role = loop.first or messages[loop.index0 - 1]['role'] != message['role'] -%}
{%- set last_of_role = loop.last or messages[loop.index0 + 1]['role'] != message['role'] -%}
"""
_SCORED_HEAD = """\
{%- if add_generation_prompt or messages[-1]['role'] != 'assistant' -%}
{{- raise_exception('a reward model scores an answer: give a question and, as the last message, its answer') -}}
{%- endif -%}
{%- set chat -%}"""
_SCORED_TAIL = "{%- endset -%}\n{%- if "


def jinja_of(format: TypedFormat, special_tokens: Iterable[str]) -> str:
    """Returns the template of a format.

    `special_tokens` are all that the tokenizer has; a message that spells one is refused.
    """
    roles = list(format.turns)
    head = _HEAD.replace("ROLES", json.dumps(roles)).replace(
        "NAMES", json.dumps(list(special_tokens), ensure_ascii=False)
    )
    inside = "system" in format.turns and format.turns["system"].inside_user
    parts = [
        _macros(format),
        head,
        TOOL_CALLS if format.call is not None else _NO_CALLS,
        _NAMES,
        _ALTERNATES if format.alternates else "",
        _SYSTEM_FIRST if inside else "",
        _said(format.begin),
        _default_system(format),
        _LOOP,
    ]
    for number, role in enumerate(roles):
        parts.append(f"{{%- {'elif' if number else 'if'} message['role'] == '{role}' -%}}\n")
        parts.append(_turn(format, role, inside))
    parts += ["{%- endif -%}\n{%- endfor -%}\n", _end(format)]
    return "".join(parts)


def scored_jinja(template: str, answer_end: str, reward_token: str) -> str:
    """Returns the template of a reward model: `template` up to the end of the last answer, then the reward token.

    Args:
        template: of the language model.
        answer_end: the control token that ends an answer; what the template writes after it is left out.
        reward_token: the token at which the score is read.
    """
    end, reward = _literal(answer_end), _literal(reward_token)
    # A template file ends with a line end, which a renderer drops at the end only.
    body = template.removesuffix("\n")
    return (
        f"{_SCORED_HEAD}{body}{_SCORED_TAIL}{end} not in chat -%}}\n"
        "{{- raise_exception('the answer has no end') -}}\n{%- endif -%}\n"
        f"{{{{- chat.rpartition({end})[0] + {end} + {reward} -}}}}\n"
    )


def unscored_jinja(template: str) -> str:
    """Returns the language model's template that `scored_jinja` was made of; any other template unchanged."""
    body, tail, _ = template.removeprefix(_SCORED_HEAD).rpartition(_SCORED_TAIL)
    return body if tail and template.startswith(_SCORED_HEAD) else template


def _macros(format: TypedFormat) -> str:
    """`written`: what an author wrote, text and calls; `calls`: the calls as the format has them."""
    call = format.call
    if call is None:
        return "{%- macro written(message) -%}\n{{- message['content'] or '' -}}\n{%- endmacro -%}\n"
    loop = (
        "{%- for each in message['tool_calls'] or [] -%}\n"
        "{%- set called = each['function'] if 'function' in each else each -%}\n"
    )
    json_text = (
        "{{- '{\"name\": ' + (called['name'] | tojson) + ', \"arguments\": ' -}}\n"
        "{{- (called['arguments'] | tojson) + '}' -}}\n"
    )
    between = f"{{{{- {_literal(call.between)} if message['content'] or not loop.first else '' -}}}}\n"
    return "".join(
        (
            "{%- macro written(message) -%}\n{{- message['content'] or '' -}}\n",
            f"{loop}{json_text}{{%- endfor -%}}\n{{%- endmacro -%}}\n",
            f"{{%- macro calls(message) -%}}\n{loop}{between}",
            f"{_said(call.before)}{json_text}{_said(call.after)}",
            "{%- endfor -%}\n{%- endmacro -%}\n",
        )
    )


def _turn(format: TypedFormat, role: str, inside: bool) -> str:
    """What is written for one message of `role`."""
    turn = format.turns[role]
    if role == "system" and inside:
        return "{#- it is written in the user's turn -#}\n"
    parts = [_under("first_of_role", turn.first), _said(turn.open)]
    held = "false"
    if role == "user" and inside:
        held = "loop.index0 == 1 and messages[0]['role'] == 'system'"
        system = format.turns["system"]
        parts.append(f"{{%- if {held} -%}}\n{_said(system.open)}")
        text = _trimmed("messages[0]['content']", system.trim != "none")
        parts.append(f"{{{{- {text} -}}}}\n")
        parts.append(f"{_said(system.close)}{{%- endif -%}}\n")
    parts.append(_said(turn.lead) if role == "assistant" else "")
    parts.append(_text(turn, held))
    if format.call is not None:
        parts.append("{{- calls(message) -}}\n")
    return "".join([*parts, _said(turn.close), _under("last_of_role", turn.last)])


def _text(turn: Turn, held: str) -> str:
    text = "(message['content'] or '')"
    if turn.trim == "turn" and held != "false":
        return f"{{{{- {text}.rstrip() if {held} else {text}.strip() -}}}}\n"
    return f"{{{{- {_trimmed(text, turn.trim != 'none')} -}}}}\n"


def _default_system(format: TypedFormat) -> str:
    if format.default_system is None:
        return ""
    turn = format.turns["system"]
    said = _said((*turn.open, Piece(format.default_system, "literal"), *turn.close))
    return f"{{%- if not messages or messages[0]['role'] != 'system' -%}}\n{said}{{%- endif -%}}\n"


def _end(format: TypedFormat) -> str:
    """What follows the last message: the header of an answer, or the end of the conversation."""
    ended = [role for role, turn in format.turns.items() if _ends_with(turn, format.finish)]
    finish = ""
    if format.finish:
        finish = (
            f"{{%- elif not messages or messages[-1]['role'] not in {json.dumps(ended)} -%}}\n{_said(format.finish)}"
        )
    prompt = _said(format.turns["assistant"].open)
    return f"{{%- if add_generation_prompt -%}}\n{prompt}{finish}{{%- endif -%}}\n"


def _ends_with(turn: Turn, finish: Sequence[Piece]) -> bool:
    tail = [(piece.text, piece.kind) for piece in (*turn.close, *turn.last)]
    wanted = [(piece.text, piece.kind) for piece in finish]
    return len(tail) >= len(wanted) and tail[len(tail) - len(wanted) :] == wanted


def _trimmed(text: str, trims: bool) -> str:
    return f"{text}.strip()" if trims else text


def _said(pieces: Sequence[Piece]) -> str:
    text = text_of(pieces)
    return f"{{{{- {_literal(text)} -}}}}\n" if text else ""


def _under(condition: str, pieces: Sequence[Piece]) -> str:
    said = _said(pieces)
    return f"{{%- if {condition} -%}}\n{said}{{%- endif -%}}\n" if said else ""


def _literal(text: str) -> str:
    """A Jinja string; its escapes are those of Python."""
    return json.dumps(text, ensure_ascii=False)
