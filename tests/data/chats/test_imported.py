"""Jinja templates of others: the mask is exact, texts stay texts, hostile templates are refused."""

# ruff: noqa: E501 (templates and what they write are on one line)
from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("jinja2", reason="templates of others need jinja2, of the train extra")

from stategpt.data.chats import ChatTemplate
from stategpt.data.chats.imported import ImportedFormat
from stategpt.data.chats.recognition import PROBES
from stategpt.data.records import Message, ToolCall
from stategpt.errors import ChatTemplateError, InvalidArgument, MissingFile
from stategpt.tokenizer import Tokenizer

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>", "<bos>", "<start_of_turn>", "<end_of_turn>",
           "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<tool_call>", "</tool_call>",
           "<think>", "</think>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>"]  # fmt: skip
TOK = Tokenizer.train(["user\nassistant\nReturn the length of a list. "] * 4, vocab_size=400, special_tokens=SPECIAL)
IDS = TOK.special_tokens
CALL = ToolCall("hours", {"day": "today", "n": [1, {"at": "</tool_call>"}]}, "c1")

OWN = {
    "chatml": "{% for m in messages %}{{ '<|im_start|>' ~ m.role ~ '\n' ~ m.content ~ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "llama3": "{% for m in messages %}{% if loop.first %}{{ bos_token }}{% endif %}<|start_header_id|>{{ m['role'] }}"
    "<|end_header_id|>\n\n{{ m['content'] | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}"
    "<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
    "zephyr": "{% for m in messages %}{% if m.role not in ['system', 'user', 'assistant'] or m.tool_calls %}"
    "{{ raise_exception('no') }}{% endif %}{{ '<|' + m.role + '|>\n' + m.content + eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
    "llama2": "{% set system = '' %}{% if messages[0].role == 'system' %}{% set system = '<<SYS>>\n' + messages[0].content "
    "+ '\n<</SYS>>\n\n' %}{% set messages = messages[1:] %}{% endif %}{% for m in messages %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('take turns') }}{% endif %}"
    "{% set text = (system if loop.first else '') + m.content %}{% if m.role == 'user' %}"
    "{{ bos_token + '[INST] ' + text.strip() + ' [/INST]' }}{% else %}{{ ' ' + text.strip() + ' ' + eos_token }}{% endif %}"
    "{% endfor %}",
}
VARIABLES = {"llama3": {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}}
TURNS = [Message("user", " Hi\n"), Message("assistant", " yo "), Message("user", "more"), Message("assistant", "done")]


def imported(source: str, **variables: str) -> ChatTemplate:
    given = variables or {"bos_token": "<s>", "eos_token": "</s>"}
    return ChatTemplate.imported(source, TOK, name="model/chat_template.jinja", variables=given)


def shown(chat: ChatTemplate, turns: list[Message]) -> str:
    encoded = chat.encode(turns)
    parts, inside = [], False
    for token, trained in zip(encoded.ids.tolist(), encoded.loss_mask.tolist(), strict=True):
        parts.append(("⟦" if trained else "⟧") if trained != inside else "")
        parts.append(TOK.decode([token]))
        inside = trained
    return "".join(parts) + "⟧" * inside


def foreign(body: str, prompt: str = "A:") -> str:
    """A template that is no typed format: answers are `body`."""
    return (
        "{% for m in messages %}{% if m.role == 'assistant' %}"
        + body
        + "{% else %}{{ m.role ~ ': ' ~ m.content ~ '\n' }}"
        "{% endif %}{% endfor %}{% if add_generation_prompt %}" + prompt + "{% endif %}"
    )


@pytest.mark.parametrize("name", OWN)
def test_a_template_is_recognized_by_what_it_writes(name: str) -> None:
    chat = imported(OWN[name], **VARIABLES.get(name, {}))
    assert chat.name == name
    typed = ChatTemplate.named(name, TOK)
    for asked in (TURNS, TURNS[:2]):
        assert chat.encode(asked).ids.tolist() == typed.encode(asked).ids.tolist()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("chatml", "'\n'", "'\n '"), ("llama3", " | trim", ""), ("llama2", "text.strip()", "text"),
     ("chatml", "m.role ~", "m.role|replace('tool', 'user') ~"), ("zephyr", "m.content", "m.content|trim")],
)  # fmt: skip
def test_one_space_or_role_more_and_it_is_not(name: str, old: str, new: str) -> None:
    source = OWN[name].replace(old, new)
    assert source != OWN[name]
    assert imported(source, **VARIABLES.get(name, {})).name == "model/chat_template.jinja"


@pytest.mark.parametrize("name", OWN)
def test_the_tracked_renderer_trains_what_the_typed_format_trains(name: str) -> None:
    """An oracle for the renderer of unknown templates: each known one, made unknown."""
    variables = VARIABLES.get(name, {})
    typed = imported(OWN[name], **variables)
    unknown = "{% if messages[0].content == 'unlike any' %}x{% endif %}" + OWN[name]
    unknown = unknown.replace("{% for m", "{% set first = messages[0].content %}{% if first == '\n What is it?\n\n' %}!"
                              "{% endif %}{% for m", 1)  # fmt: skip
    tracked = imported(unknown, **variables)
    assert (typed.name, tracked.name) == (name, "model/chat_template.jinja")
    checked = 0
    for turns in [TURNS, TURNS[:2], *PROBES]:
        turns = [m for m in turns if m.content != "\n What is it?\n\n" and not m.tool_calls]
        if not any(m.trained for m in turns):
            continue
        try:
            expected = typed.encode(turns)
        except InvalidArgument:
            continue
        found = tracked.encode(turns)
        assert found.ids.tolist() == expected.ids.tolist()
        assert found.loss_mask.tolist() == expected.loss_mask.tolist()
        checked += 1
    assert checked >= 2


@pytest.mark.parametrize(
    ("body", "prompt", "expected"),
    [
        # what the prompt ends with is not trained, what the answer begins with is
        ("A:{{ m.content }}</s>", "A:", "user: Hi\nA:⟦yo</s>⟧"),
        ("A: {{ m.content }}</s>\n", "A:", "user: Hi\nA:⟦ yo</s>⟧\n"),
        ("A:<think>\n\n</think>{{ m.content }}</s>", "A:<think>\n", "user: Hi\nA:<think>\n⟦\n</think>yo</s>⟧"),
        # the prompt ends otherwise: the answer is its text
        ("A:{{ m.content }}</s>", "A:<think>\n", "user: Hi\nA:⟦yo</s>⟧"),
        ("A:{{ m.content }}</s>", "B:", "user: Hi\nA:⟦yo</s>⟧"),
        # more behind the end; an end of text behind another control token; none at all
        ("A:{{ m.content }}<|im_end|>\n<|endoftext|>", "A:", "user: Hi\nA:⟦yo<|im_end|>⟧\n<|endoftext|>"),
        ("A:{{ m.content }}<|im_end|></s>", "A:", "user: Hi\nA:⟦yo<|im_end|></s>⟧"),
        ("A:{{ m.content }}\n", "A:", "user: Hi\nA:⟦yo⟧\n"),
        # parts of the text
        ("A:{{ m.content.split('y')[1] ~ m.content[:1] }}</s>", "A:", "user: Hi\nA:⟦oy</s>⟧"),
        ("A:{% for c in m.content %}{{ c | upper }}{% endfor %}</s>", "A:", "user: Hi\nA:⟦YO</s>⟧"),
        ("A:{% generation %}{{ m.content }}</s>{% endgeneration %}", "A:", "user: Hi\nA:⟦yo</s>⟧"),
        ("A:{% set n = namespace(t='') %}{% set n.t = n.t + m.content %}{{ n.t | indent(2, true) }}</s>", "A:",
         "user: Hi\nA:⟦  yo</s>⟧"),
        ("{% macro say(t) %}{{ t }}{% endmacro %}A:{{ say(m.content) }}</s>", "A:", "user: Hi\nA:⟦yo</s>⟧"),
        ("A:{% set t %}<{{ m.content | trim }}>{% endset %}{{ t }}</s>", "A:", "user: Hi\nA:⟦<yo></s>⟧"),
    ],
)  # fmt: skip
def test_what_is_trained_lies_between_the_prompt_and_the_end(body: str, prompt: str, expected: str) -> None:
    chat = imported(foreign(body, prompt))
    assert chat.name == "model/chat_template.jinja"
    assert shown(chat, [Message("user", "Hi"), Message("assistant", "yo")]) == expected


def test_the_end_of_an_answer_is_not_the_header_of_the_next_message() -> None:
    source = ("{% for m in messages %}<|im_start|>{{ m.role }}:{{ m.content }}{% if not loop.last %}<|end|>{% else %}"
              "<|im_end|>{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant:{% endif %}")  # fmt: skip
    source = source.replace("{% else %}<|im_end|>", "{% elif add_generation_prompt %}<|end|>{% else %}<|im_end|>")
    assert shown(imported(source), TURNS) == (
        "<|im_start|>user: Hi\n<|end|><|im_start|>assistant:⟦ yo <|end|>⟧<|im_start|>user:more<|end|>"
        "<|im_start|>assistant:⟦done<|im_end|>⟧"
    )
    headers_only = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
    assert shown(imported(headers_only), TURNS) == "<|user|> Hi\n<|assistant|>⟦ yo ⟧<|user|>more<|assistant|>⟦done⟧"


def test_calls_of_tools_are_trained_as_the_template_writes_them() -> None:
    body = ("A:{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>{{ c.function.name }} "
            "{{ c.function.arguments | tojson }}</tool_call>{% endfor %}</s>")  # fmt: skip
    chat = imported(foreign(body))
    turns = [Message("user", "Hi"), Message("assistant", "", tool_calls=[CALL])]
    call = '<tool_call>hours {"day": "today", "n": [1, {"at": "</tool_call>"}]}</tool_call>'
    assert shown(chat, turns) == f"user: Hi\nA:⟦{call}</s>⟧"
    assert chat.encode(turns).ids.tolist().count(IDS["</tool_call>"]) == 1
    with pytest.raises(ChatTemplateError, match=r"leaves out the tool calls of message 1 \(assistant\)"):
        imported(foreign("A:{{ m.content }}</s>")).encode(turns)


def test_content_in_parts_is_given_to_templates_that_take_no_other() -> None:
    source = ("{% for m in messages %}{{ m.role }}: {% for p in m.content %}{% if p.type == 'text' %}{{ p.text }}{% endif %}"
              "{% endfor %}</s>{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}")  # fmt: skip
    assert shown(imported(source), TURNS[2:]) == "user: more</s>assistant:⟦ done</s>⟧"


def test_only_the_messages_that_are_trained_are_in_the_mask() -> None:
    chat = imported(foreign("A:{{ m.content }}</s>"))
    turns = [Message("user", "Hi", trained=True), Message("assistant", "yo", trained=False), *TURNS[2:]]
    assert shown(chat, turns) == "user: ⟦Hi⟧\nA:yo</s>user: more\nA:⟦done</s>⟧"
    with pytest.raises(InvalidArgument, match="none of the 2 messages is trained"):
        chat.encode(turns[1:3])


SPELLED = ["<|im_end|>", "<|im_start|>assistant\n", "</s>", "[INST]", "<end_of_turn>", "<think>", "</think>", "<|eot_id|>",
           "{{ 1 }}", "{% endfor %}", "\n", "a"]  # fmt: skip
texts = st.lists(st.sampled_from(SPELLED) | st.text(min_size=1, max_size=4), min_size=1, max_size=5).map("".join)
HOLDERS = [imported(foreign("A:{{ m.content }}</s>")), imported(foreign("A:{{ m.content | tojson }}</s>")),
           imported(foreign("A:{{ m.content.split('</s>') | join('<think>') | replace('a', '<|im_end|>'[:3]) }}</s>"))]  # fmt: skip


@pytest.mark.parametrize("chat", HOLDERS[:2], ids=["text", "json"])
@settings(max_examples=60, deadline=None)
@given(asked=texts, answer=texts.filter(str.strip))
def test_no_text_becomes_a_control_token(chat: ChatTemplate, asked: str, answer: str) -> None:
    turns = [Message("user", asked), Message("assistant", answer)]
    special = {*IDS.values()}
    encoded = chat.encode(turns)
    assert [i for i in encoded.ids.tolist() if i in special] == [IDS["</s>"]]
    assert [i for i in encoded.ids[encoded.loss_mask].tolist() if i in special] == [IDS["</s>"]]
    prompt = chat.prompt(turns[:1])
    assert not special & {*prompt.tolist()}
    assert encoded.ids[: prompt.size].tolist() == prompt.tolist()
    assert encoded.loss_mask.nonzero()[0][0] == prompt.size
    assert encoded.loss_mask[prompt.size :].all()


def test_a_control_token_is_the_templates_even_where_a_text_asks_for_it() -> None:
    ids = HOLDERS[2].encode([Message("user", "q"), Message("assistant", "b</s>ca")]).ids.tolist()
    assert [i for i in ids if i in {*IDS.values()}] == [IDS["<think>"], IDS["</s>"]]
    assert TOK.decode(np.array(ids)) == "user: q\nA:b<think>c<|i</s>"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{% for m in messages %}", "TemplateSyntaxError"),
        ("{{ messages[0].content | xmlattr }}", "No filter named 'xmlattr'"),
        ("{{ messages.nothing.at.all }}", "UndefinedError"),
        ("{{ raise_exception('only poems') }}", "only poems"),
        ("{{ 1 // 0 }}", "ZeroDivisionError"),
        ("{{ messages[0].content.__class__.__mro__ }}", "SecurityError"),
        ("{{ messages[0].content.center(10 ** 9) }}", "operator \\*\\*"),
        ("{{ messages[0].content.center(1000000000) }}", "SecurityError"),
        ("{{ '%0999999999d' % 1 }}", "operator %"),
        ("{{ 'a' * 1000000000 }}", "more than 4,194,304"),
        ("{{ range(99999999) | length }}", "1,000,000 steps"),
        ("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", "1,000,000 steps"),
        ("{% set n = namespace(t='x') %}{% for a in range(99) %}{% set n.t = n.t + n.t %}{% endfor %}", "more than 4,194,304"),
        ("{% set n = namespace(t='x') %}{% for a in range(99) %}{% set n.t = n.t ~ n.t %}{% endfor %}", "more than 4,194,304"),
        ("{% set n = namespace(t='aa') %}{% for a in range(99) %}{% set n.t = n.t|replace('a', 'aaaa') %}{% endfor %}",
         "more than 131,072 parts"),
        ("{% set n = namespace(t=[1]) %}{% for a in range(99) %}{% set n.t = n.t + n.t %}{% endfor %}", "more than 4,194,304"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError|1,000,000 steps"),
        ("{% set n = namespace() %}{% set n._x = 1 %}", "underscore"),
        ("{% include 'x' %}", "TypeError|no loader"),
        ("{{ '('*9 }}" + "{{ " + "(" * 3000 + ")" * 3000 + " }}", "chat template|Recursion"),
        ("x" * (2 << 20), "has 2,097,152 characters"),
        ("{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}", "leaves out the text of message 1"),
        ("{{ messages[0].content }}{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content[:0] }}{% endif %}{% endfor %}",
         "leaves out the text of message 1"),
        ("{{ messages[-1].content[:1] }}{{ messages[0].content }}{{ messages[-1].content }}", "writes other messages inside message 1"),
    ],
)  # fmt: skip
def test_a_template_that_cannot_be_used_is_named_with_the_reason(source: str, reason: str) -> None:
    with pytest.raises(
        ChatTemplateError, match=rf"^model/chat_template\.jinja.*({reason})(.|\n)*(ChatTemplate\.named|at most)"
    ):
        imported(source)


def test_json_of_several_messages_is_text() -> None:
    """It belongs to no message, so it is not trained; nor is it the template's."""
    chat = imported(foreign("A:{{ [m.content, messages[0].content] | tojson }}{{ m.content }}</s>"))
    encoded = chat.encode([Message("user", "<|im_end|>"), Message("assistant", "</s>")])
    assert [i for i in encoded.ids.tolist() if i in {*IDS.values()}] == [IDS["</s>"]]


def test_loops_are_counted() -> None:
    """A loop takes time whether or not there is anything in it."""
    ten = "{% for a in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] %}"
    chat = foreign("A:{{ m.content }}</s>")
    assert imported(ten * 3 + "{% endfor %}" * 3 + chat).encode(TURNS[:2])
    slow = ImportedFormat("slow.jinja", ten * 6 + "{% endfor %}" * 6 + chat, {}, SPECIAL)
    with pytest.raises(ChatTemplateError, match=r"slow\.jinja does not render .* 1,000,000 steps"):
        slow.render(TURNS[:1], prompt=True)


def test_the_date_is_the_same_on_every_day() -> None:
    chat = imported("{{ strftime_now('%d %b %Y') }}" + foreign("A:{{ m.content }}</s>"))
    assert TOK.decode(chat.prompt("Hi")) == "26 Jul 2024user: Hi\nA:"


def test_it_pickles_and_its_ids_are_known() -> None:
    chat = pickle.loads(pickle.dumps(HOLDERS[0]))
    assert chat.encode(TURNS).ids.tolist() == HOLDERS[0].encode(TURNS).ids.tolist()
    assert (chat.end_ids, chat.context_ids) == ((IDS["</s>"],), ())
    roles = imported(foreign("<|assistant|>{{ m.content }}</s>", "<|assistant|>"))
    assert roles.context_ids == (IDS["<|assistant|>"],)


class TestFolders:
    def write(self, folder: Path, config: object = None, template: str | None = None) -> Path:
        TOK.save(folder / "tokenizer.json")
        if config is not None:
            (folder / "tokenizer_config.json").write_text(json.dumps(config))
        if template is not None:
            (folder / "chat_template.jinja").write_text(template)
        return folder

    def test_the_file_goes_before_the_configuration(self, tmp_path: Path) -> None:
        config = {"chat_template": OWN["zephyr"], "eos_token": {"content": "</s>", "lstrip": False}, "bos_token": None}
        chat = ChatTemplate.load(self.write(tmp_path, config))
        assert (chat.name, chat.end_of_text) == ("zephyr", "</s>")
        assert ChatTemplate.load(self.write(tmp_path, config, OWN["chatml"]), TOK).name == "chatml"

    def test_of_several_templates_the_default_is_taken(self, tmp_path: Path) -> None:
        named = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": OWN["chatml"]}]
        assert ChatTemplate.load(self.write(tmp_path, {"chat_template": named})).name == "chatml"
        with pytest.raises(ChatTemplateError, match=r"has tool_use and no 'default'"):
            ChatTemplate.load(self.write(tmp_path, {"chat_template": named[:1]}))

    @pytest.mark.parametrize(
        ("config", "template", "message"),
        [
            ({}, None, r"no chat template.*choose one: ChatTemplate\.named\(\"plain\", tok\)"),
            (None, None, "no chat template"),
            ({"chat_template": 3}, None, r"tokenizer_config\.json: \$\.chat_template"),
            ({"eos_token": []}, OWN["chatml"], r"tokenizer_config\.json: \$\.eos_token"),
            ({}, "{{", r"chat_template\.jinja is no chat template"),
            ({}, "{{ raise_exception('no') }}", r"chat_template\.jinja does not render"),
        ],
    )
    def test_a_folder_that_has_no_good_one_is_an_error(
        self, config: object, template: str | None, message: str, tmp_path: Path
    ) -> None:
        with pytest.raises(ChatTemplateError, match=message):
            ChatTemplate.load(self.write(tmp_path, config, template))

    def test_bytes_that_are_no_text_and_a_missing_tokenizer(self, tmp_path: Path) -> None:
        (tmp_path / "chat_template.jinja").write_bytes(b"a\xff")
        with pytest.raises(ChatTemplateError, match=r"chat_template\.jinja is not UTF-8 at byte 1"):
            ChatTemplate.load(tmp_path, TOK)
        (tmp_path / "chat_template.jinja").write_text(OWN["chatml"])
        with pytest.raises(MissingFile):
            ChatTemplate.load(tmp_path)

    def test_what_this_package_exports_is_its_own_format(self, tmp_path: Path) -> None:
        from stategpt.config.control import CONTROL_TOKENS
        from stategpt.data.chat_template import chat_template

        tok = Tokenizer.train(["a plain text"], vocab_size=300, special_tokens=list(CONTROL_TOKENS))
        chat = ChatTemplate.imported(chat_template(CONTROL_TOKENS), tok)
        assert chat.name == "stategpt"


TWICE = [Message("user", "Hi"), Message("assistant", "yo"), Message("user", "more")]


@pytest.mark.parametrize(
    ("body", "follows"),
    [
        ("A:{{ m.content }}</s>", "</s>user: more\nA:"),
        ("A:{{ m.content }}<|im_end|></s>", "<|im_end|></s>user: more\nA:"),
        ("A:{{ m.content }}\n", "\nuser: more\nA:"),
        ("A:{% if m.content %}{{ m.content }}{% endif %}</s>\n", "</s>\nuser: more\nA:"),
    ],
)
def test_what_follows_a_sampled_answer_is_as_an_unknown_template_writes_it(body: str, follows: str) -> None:
    chat = imported(foreign(body))
    assert TOK.decode(chat.following(TWICE)) == follows
    assert chat.following(TWICE).tolist() == chat.following([TWICE[0], Message("assistant", " "), TWICE[2]]).tolist()
    assert chat.takes_turns


@pytest.mark.parametrize(
    "source",
    [
        "{% if messages | length > 2 %}{{ raise_exception('one question') }}{% endif %}"
        + foreign("{{ m.content }}</s>"),
        "{% for m in messages[-1:] %}{{ m.role ~ m.content }}{% endfor %}",
    ],
    ids=["raises", "writes the last message only"],
)
def test_a_template_that_holds_one_question_says_so(source: str) -> None:
    chat = ChatTemplate(ImportedFormat("t", source, {"eos_token": "</s>"}, TOK.special_tokens), TOK, "</s>")
    assert not chat.takes_turns
    with pytest.raises(ChatTemplateError):
        chat.following(TWICE)
