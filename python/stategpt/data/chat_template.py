"""The chat format as a Jinja template, for programs that render a chat to text before they encode it.

    language model   <|endoftext|> [<|system|> text] <|user|> question [<|assistant|>]
                     <|endoftext|> <|user|> question <|assistant|> answer <|endoftext|> [further turns]
    reward model     <|endoftext|> <|user|> question <|assistant|> answer <|endoftext|> <|reward|>

The ids of the rendered text equal those of `data.chat`, which never renders: there a control token is an id, and text
that spells one stays text. Rendered text cannot tell the two apart, so the template rejects a message that spells a
special token instead of giving it other ids. Calls of tools are rejected too: their JSON is written by `Message.text`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from stategpt.config.control import ASSISTANT, END_OF_TEXT, REWARD, SYSTEM, TOOL, USER

_ROLES = {"system": SYSTEM, "user": USER, "assistant": ASSISTANT, "tool": TOOL}

_CHECKS = """\
{%- set roles = ROLES -%}
{%- for message in messages -%}
{%- if message['role'] not in roles -%}
{{- raise_exception("the role of a message must be system, user, assistant or tool") -}}
{%- endif -%}
{%- if message['content'] is not string -%}
{{- raise_exception("the content of a message must be a text") -}}
{%- endif -%}
{%- if message['tool_calls'] -%}
{{- raise_exception("tool calls are not rendered; encode the messages with stategpt.data.chat_prompt") -}}
{%- endif -%}
{%- for name in NAMES -%}
{%- if name in message['content'] -%}
{{- raise_exception("a message spells the special token " + name + ", which would become that token") -}}
{%- endif -%}
{%- endfor -%}
{%- endfor -%}
"""

_MESSAGES = """\
{{- 'END_OF_TEXT' -}}
{%- for message in messages -%}
{{- roles[message['role']] + message['content'] -}}
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
