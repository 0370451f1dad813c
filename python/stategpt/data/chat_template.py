"""The chat format as a Jinja template, for programs that render a chat to text before they encode it.

    language model   <|endoftext|> [<|system|> text] <|user|> question [<|assistant|>]
                     <|endoftext|> <|user|> question <|assistant|> answer <|endoftext|> [further turns]
    reward model     <|endoftext|> <|user|> question <|assistant|> answer <|endoftext|> <|reward|>

The ids of the rendered text equal those of `data.chat`, which never renders: there a control token is an id, and text
that spells one stays text. Rendered text cannot tell the two apart, so the template rejects a message that spells a
special token instead of giving it other ids. Calls of tools are rendered as `Message.text` writes them, from OpenAI's
shape or ours; it needs a renderer whose `tojson` is plain JSON, as that of `transformers`, and says so otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from stategpt.config.control import ASSISTANT, END_OF_TEXT, REWARD, SYSTEM, TOOL, USER

_ROLES = {"system": SYSTEM, "user": USER, "assistant": ASSISTANT, "tool": TOOL}

TOOL_CALLS = """\
{%- if message['tool_calls'] and message['role'] != 'assistant' -%}
{{- raise_exception("only an assistant message may call tools") -}}
{%- endif -%}
{%- if message['tool_calls'] and ('<\u00e9' | tojson) != '"<\u00e9"' -%}
{{- raise_exception("this renderer's tojson escapes characters, so the ids would differ; use that of transformers") -}}
{%- endif -%}
{%- for each in message['tool_calls'] or [] -%}
{%- if (each['function'] if 'function' in each else each)['arguments'] is not mapping -%}
{{- raise_exception("the arguments of a tool call must be an object, not its JSON as a text") -}}
{%- endif -%}
{%- endfor -%}
"""
"""Checks of the calls in `message`: by the assistant, with arguments that are objects, and a plain `tojson`."""

_ROLES_AND_TEXTS = """\
{%- macro written(message) -%}
{{- message['content'] or '' -}}
{%- for each in message['tool_calls'] or [] -%}
{%- set called = each['function'] if 'function' in each else each -%}
{{- '\\n' if message['content'] or not loop.first else '' -}}
{{- '{"name": ' + (called['name'] | tojson) + ', "arguments": ' + (called['arguments'] | tojson) + '}' -}}
{%- endfor -%}
{%- endmacro -%}
{%- set roles = ROLES -%}
{%- for message in messages -%}
{%- if message['role'] not in roles -%}
{{- raise_exception("the role of a message must be system, user, assistant or tool") -}}
{%- endif -%}
{%- if message['content'] is not string and (message['content'] or not message['tool_calls']) -%}
{{- raise_exception("the content of a message must be a text") -}}
{%- endif -%}
"""

_CONTROL_TOKENS = """\
{%- for name in NAMES -%}
{%- if name in written(message) -%}
{{- raise_exception("a message spells the special token " + name + ", which would become that token") -}}
{%- endif -%}
{%- endfor -%}
{%- endfor -%}
"""

_CHECKS = _ROLES_AND_TEXTS + TOOL_CALLS + _CONTROL_TOKENS

_MESSAGES = """\
{{- 'END_OF_TEXT' -}}
{%- for message in messages -%}
{{- roles[message['role']] + written(message) -}}
{%- if message['role'] == 'assistant' -%}
{{- 'END_OF_TEXT' -}}
{%- endif -%}
{%- endfor -%}
"""

_GENERATION_PROMPT = """\
{%- if add_generation_prompt and messages[-1]['role'] != 'assistant' -%}
{{- 'ASSISTANT' -}}
{%- endif -%}
"""

_FINISHED_ANSWER = """\
{%- if messages[-1]['role'] != 'assistant' or messages | length < 2 -%}
{{- raise_exception("a reward model scores an answer: give a question and, as the last message, its answer") -}}
{%- endif -%}
"""


def chat_template(special_tokens: Iterable[str]) -> str:
    """The template of a language model: messages of any roles in order.

    `special_tokens` are all that the tokenizer has; a message that spells one is refused.
    """
    return _filled(_CHECKS + _MESSAGES + _GENERATION_PROMPT, special_tokens)


def reward_template(special_tokens: Iterable[str]) -> str:
    """The template of a reward model: messages that end with a finished answer; the reward token is the last."""
    return _filled(_CHECKS + _FINISHED_ANSWER + _MESSAGES + "{{- 'REWARD' -}}\n", special_tokens)


def _filled(template: str, special_tokens: Iterable[str]) -> str:
    filling = {
        "ROLES": json.dumps(_ROLES),
        "NAMES": json.dumps(list(special_tokens), ensure_ascii=False),
        "END_OF_TEXT": END_OF_TEXT,
        "ASSISTANT": ASSISTANT,
        "REWARD": REWARD,
    }
    for name, value in filling.items():
        template = template.replace(name, value)
    return template
