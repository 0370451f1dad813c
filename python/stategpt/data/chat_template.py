"""The chat format as a Jinja template, for programs that render a chat to text before they encode it.

    language model   <|endoftext|> <|user|> question [<|assistant|>]
                     <|endoftext|> <|user|> question <|assistant|> answer <|endoftext|>
    reward model     <|endoftext|> <|user|> question <|assistant|> answer <|endoftext|> <|reward|>

The ids of the rendered text equal those of `data.chat`, which never renders: there a control token is an id, and text
that spells one stays text. Rendered text cannot tell the two apart, so the template rejects a message that spells a
special token instead of giving it other ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from stategpt.config.control import ASSISTANT, END_OF_TEXT, REWARD, USER

_CHECK_ROLES = """\
{{%- if messages | length not in {lengths} or messages[0]['role'] != 'user' \
or (messages | length == 2 and messages[1]['role'] != 'assistant') -%}}
{{{{- raise_exception("{rule}") -}}}}
{{%- endif -%}}
"""

_CHECK_TEXTS = """\
{{%- for message in messages -%}}
{{%- if message['content'] is not string -%}}
{{{{- raise_exception("the content of a message must be a text") -}}}}
{{%- endif -%}}
{{%- for name in {names} -%}}
{{%- if name in message['content'] -%}}
{{{{- raise_exception("a message spells the special token " + name + ", which would become that token") -}}}}
{{%- endif -%}}
{{%- endfor -%}}
{{%- endfor -%}}
"""

_QUESTION = "{{{{- '{end_of_text}{user}' + messages[0]['content'] -}}}}\n"
_ANSWER = "{{{{- '{assistant}' + messages[1]['content'] + '{end_of_text}{reward}' -}}}}\n"
_ANSWER_OR_PROMPT = (
    "{{%- if messages | length == 2 -%}}\n"
    + _ANSWER
    + "{{%- elif add_generation_prompt -%}}\n{{{{- '{assistant}' -}}}}\n{{%- endif -%}}\n"
)


def chat_template(special_tokens: Iterable[str]) -> str:
    """The template of a language model: one user message, or one and its answer.

    `special_tokens` are all that the tokenizer has; a message that spells one is refused.
    """
    rule = "this model was trained on one user message and its answer: no system message, no further turns"
    return _filled(_CHECK_ROLES + _CHECK_TEXTS + _QUESTION + _ANSWER_OR_PROMPT, special_tokens, [1, 2], rule, "")


def reward_template(special_tokens: Iterable[str]) -> str:
    """The template of a reward model: one user message and its finished answer; the reward token is the last."""
    rule = "a reward model scores one user message and its answer: give exactly these two"
    return _filled(_CHECK_ROLES + _CHECK_TEXTS + _QUESTION + _ANSWER, special_tokens, [2], rule, REWARD)


def _filled(template: str, special_tokens: Iterable[str], lengths: list[int], rule: str, reward: str) -> str:
    return template.format(
        lengths=lengths,
        rule=rule,
        names=json.dumps(list(special_tokens), ensure_ascii=False),
        end_of_text=END_OF_TEXT,
        user=USER,
        assistant=ASSISTANT,
        reward=reward,
    )
