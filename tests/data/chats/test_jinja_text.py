"""A typed format as a Jinja template renders the text of the format, and refuses what it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="rendering needs the hf extra (transformers)")
jinja2 = pytest.importorskip("jinja2", reason="templates need the train extra (jinja2)")
from transformers.utils.chat_template_utils import render_jinja_template  # noqa: E402

from stategpt.data import Message  # noqa: E402
from stategpt.data.chats import ChatTemplate  # noqa: E402
from stategpt.data.chats.jinja_text import jinja_of, scored_jinja  # noqa: E402
from stategpt.data.chats.pieces import text_of  # noqa: E402
from stategpt.data.chats.recognition import PROBES  # noqa: E402
from stategpt.data.chats.typed import TypedFormat, format_names, named_format, read_format  # noqa: E402
from stategpt.errors import InvalidArgument  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402

ODD = r"""
begin = ["<b>"]
finish = ["<f>", "\n"]
default_system = "Be \"kind\" \\ {{ 1 }} {% x %} 'q' é 😀\n"
controls = ["<b>", "<f>"]
[system]
first = ["(first)"]
open = ["[s]"]
close = ["[/s]"]
last = ["(last)"]
trim = "message"
[user]
open = ["[u]"]
[assistant]
open = ["[a]"]
lead = ["> "]
close = ["<f>", "\n"]
[tool]
first = ["{first}"]
open = ["[t]"]
last = ["{last}"]
[call]
between = "|"
before = ["<c>"]
after = ["</c>"]
"""


def rendered(source: str, messages: Sequence[Message], *, prompt: bool) -> str | None:
    rows: list[dict[str, Any]] = []
    for message in messages:
        rows.append({"role": message.role, "content": message.content})
        if message.tool_calls:
            calls = [{"name": call.name, "arguments": dict(call.arguments)} for call in message.tool_calls]
            rows[-1]["tool_calls"] = [{"type": "function", "function": call} for call in calls]
    try:
        text, _ = render_jinja_template([rows], chat_template=source, add_generation_prompt=prompt)
    except jinja2.exceptions.TemplateError:
        return None
    return str(text[0])


def assert_equal_on_probes(format: TypedFormat) -> None:
    source = jinja_of(format, ["<|x|>"])
    for messages in PROBES:
        for prompt in (False, True):
            try:
                expected = text_of(format.pieces(messages, prompt=prompt))
            except InvalidArgument:
                expected = None
            roles = [message.role for message in messages]
            assert rendered(source, messages, prompt=prompt) == expected, (format.name, roles, prompt)


@pytest.mark.parametrize("name", format_names())
def test_a_format_of_ours_has_its_text_on_every_probe(name: str) -> None:
    assert_equal_on_probes(named_format(name, "<|endoftext|>"))


def test_a_format_of_a_user_with_every_field_has_its_text(tmp_path: Path) -> None:
    path = tmp_path / "odd.toml"
    path.write_text(ODD)
    assert_equal_on_probes(read_format(path, "<|endoftext|>"))


def test_a_special_token_in_a_text_or_a_call_is_refused() -> None:
    source = jinja_of(named_format("qwen", "<|endoftext|>"), ["<|im_end|>", "<tool_call>"])
    for text in ("a<|im_end|>", "<tool_call>"):
        assert rendered(source, [Message("user", text)], prompt=True) is None
    assert rendered(source, [Message("user", "<|im_end |>")], prompt=True) is not None
    # What the format itself puts around a call is no text of anyone.
    calls = next(messages for messages in PROBES if any(message.tool_calls for message in messages))
    assert "<tool_call>" in (rendered(source, calls, prompt=False) or "")


def test_an_imported_template_goes_out_unchanged_though_it_is_recognized() -> None:
    source = (
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' "
        "+ '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    tok = Tokenizer.train(["ab"], 300, special_tokens=["<|im_start|>", "<|im_end|>"])
    chat = ChatTemplate.imported(source, tok, variables={"eos_token": "<|im_end|>"})
    assert chat.name == "chatml"
    assert chat.jinja() == source
    assert chat.token_names == {"eos_token": "<|im_end|>"}
    assert ChatTemplate.named("chatml", tok).token_names == {}


def test_a_scored_template_ends_in_the_reward_token_behind_the_answers_end() -> None:
    format = named_format("phi3", "<|endoftext|>")
    source = scored_jinja(jinja_of(format, []) + "\n", "<|end|>", "<|reward|>")
    talk = [Message("user", "Why?"), Message("assistant", "So.")]
    assert rendered(source, talk, prompt=False) == "<|user|>\nWhy?<|end|>\n<|assistant|>\nSo.<|end|><|reward|>"
    assert rendered(source, talk[:1], prompt=False) is None
    assert rendered(source, talk, prompt=True) is None
    assert rendered(scored_jinja("{{ messages[0]['content'] }}", "<|end|>", "<|reward|>"), talk, prompt=False) is None
