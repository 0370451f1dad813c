"""Chat formats as data: what each writes, which ids are trained, and what no text of a message becomes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stategpt.config.control import CONTROL_TOKENS
from stategpt.data.chats import ChatTemplate, typed
from stategpt.data.chats.typed import named_format
from stategpt.data.records import Conversation, Message, ToolCall
from stategpt.errors import ChatTemplateError, ContextOverflow, InvalidArgument, StategptError
from stategpt.tokenizer import Tokenizer

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "chats" / "stategpt.json"
CALL = ToolCall("hours", {"day": "today", "n": 2}, "c1")
CONTROLS = sorted(
    {piece.text for name in ChatTemplate.names() for turn in named_format(name, "<|endoftext|>").turns.values()
     for part in (turn.first, turn.open, turn.close, turn.last) for piece in part if piece.kind == "control"}
    | {"<s>", "<bos>", "<|begin_of_text|>", "<tool_call>", "</tool_call>", "<tool_response>"}
)  # fmt: skip
TOK = Tokenizer.train(["user\nassistant\nReturn the length of a list. "] * 4, vocab_size=400, special_tokens=CONTROLS)
OURS = Tokenizer.train(
    ["Return the length of a list. Return True if the key is in the dictionary. "] * 4,
    vocab_size=300,
    special_tokens=list(CONTROL_TOKENS),
)
TURNS = [Message("system", " Be brief. "), Message("user", " a\n"), Message("assistant", "b "), Message("user", "c"),
         Message("assistant", "d")]  # fmt: skip

WRITTEN = {
    "chatml": "<|im_start|>system\n Be brief. <|im_end|>\n<|im_start|>user\n a\n<|im_end|>\n<|im_start|>assistant\n"
    "[b <|im_end|>]\n<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n[d<|im_end|>]\n",
    "gemma3": "<bos><start_of_turn>user\n Be brief. \n\na<end_of_turn>\n<start_of_turn>model\n[b<end_of_turn>]\n"
    "<start_of_turn>user\nc<end_of_turn>\n<start_of_turn>model\n[d<end_of_turn>]\n",
    "llama2": "<s>[INST] <<SYS>>\n Be brief. \n<</SYS>>\n\n a [/INST][ b </s>]<s>[INST] c [/INST][ d </s>]",
    "llama3": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\na<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n[b<|eot_id|>]"
    "<|start_header_id|>user<|end_header_id|>\n\nc<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n[d<|eot_id|>]",
    "mistral": "<s> [INST]  Be brief. \n\n a\n [/INST][ b </s>] [INST] c [/INST][ d</s>]",
    "phi3": "<|system|>\n Be brief. <|end|>\n<|user|>\n a\n<|end|>\n<|assistant|>\n[b <|end|>]\n<|user|>\nc<|end|>\n"
    "<|assistant|>\n[d<|end|>]\n<|endoftext|>",
    "plain": "<|endoftext|> Be brief. \n\n a\n\n\n[b <|endoftext|>]c\n\n[d<|endoftext|>]",
    "stategpt": "<|endoftext|><|system|> Be brief. <|user|> a\n<|assistant|>[b <|endoftext|>]<|user|>c<|assistant|>"
    "[d<|endoftext|>]",
    "zephyr": "<|system|>\n Be brief. </s>\n<|user|>\n a\n</s>\n<|assistant|>\n[b </s>]\n<|user|>\nc</s>\n"
    "<|assistant|>\n[d</s>]\n",
}  # fmt: skip
"""`TURNS` in each format; trained text is in brackets, which the texts do not hold."""
WRITTEN["qwen"] = WRITTEN["smollm"] = WRITTEN["chatml"]


def shown(chat: ChatTemplate, ids: np.ndarray, mask: np.ndarray) -> str:
    """The text of ids, trained stretches in brackets."""
    parts, inside = [], False
    for token, trained in zip(ids.tolist(), mask.tolist(), strict=True):
        parts.append(("[" if trained else "]") if trained != inside else "")
        parts.append(chat.tok.decode([token]))  # type: ignore[attr-defined]
        inside = trained
    return "".join(parts) + "]" * inside


@pytest.mark.parametrize("name", [name for name in ChatTemplate.names() if name != "gemma"])
def test_each_format_writes_and_trains_what_its_documentation_says(name: str) -> None:
    chat = ChatTemplate.named(name, TOK, end_of_text="<|endoftext|>")
    encoded = chat.encode(Conversation(tuple(TURNS)))
    text = shown(chat, encoded.ids, encoded.loss_mask)
    expected = WRITTEN[name]
    assert (text, text.replace("[", "")) == (expected, expected.replace("[", ""))


@pytest.mark.parametrize("name", ChatTemplate.names())
def test_the_ids_are_those_of_the_written_chat_where_no_text_holds_a_control_token(name: str) -> None:
    """What programs that render before they encode give: the borders of answers are borders of tokens anyway."""
    chat = ChatTemplate.named(name, TOK, end_of_text="<|endoftext|>")
    turns = [Message("user", "Return the list"), Message("assistant", "the length"), Message("user", "of a list?")]
    for ids in (chat.prompt(turns), chat.encode([*turns, Message("assistant", "a list")]).ids):
        assert ids.tolist() == TOK.encode(TOK.decode(ids), special="allow").tolist()


def test_gemma_has_no_system_message_and_is_gemma_3_otherwise() -> None:
    first, second = (ChatTemplate.named(name, TOK) for name in ("gemma", "gemma3"))
    assert first.encode(TURNS[1:]).ids.tolist() == second.encode(TURNS[1:]).ids.tolist()
    with pytest.raises(InvalidArgument, match="gemma has no system messages"):
        first.encode(TURNS)


def test_every_format_has_its_case() -> None:
    assert sorted({*WRITTEN, "gemma"}) == ChatTemplate.names()


@pytest.mark.parametrize(("name", "system"), [("qwen", "You are Qwen, created by"), ("smollm", "named SmolLM")])
def test_a_default_system_message_stands_in_only_where_there_is_none(name: str, system: str) -> None:
    chat = ChatTemplate.named(name, TOK)
    given_none, given_one = (TOK.decode(chat.prompt(turns)) for turns in (TURNS[1:4], TURNS[:4]))
    assert given_none.count("<|im_start|>system\n") == given_one.count("<|im_start|>system\n") == 1
    assert (system in given_none, system in given_one) == (True, False)


def test_the_own_format_gives_the_ids_and_masks_it_gave_before_formats_were_data() -> None:
    cases = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert len(cases) == 5
    chat = ChatTemplate.named("stategpt", OURS)
    for case in cases.values():
        turns = [Message(m["role"], m["content"], tool_calls=[CALL] * m["tool_calls"]) for m in case["messages"]]
        encoded = chat.encode(turns)
        assert encoded.ids.tolist() == [*case["tokens"], case["targets"][-1]]
        assert encoded.loss_mask.astype(int).tolist() == [0, *case["loss_mask"]]
        asked = max(n for n, message in enumerate(turns) if message.role in ("user", "tool"))
        assert chat.prompt(turns[: asked + 1]).tolist() == case["prompt"]


def test_calls_of_tools_and_their_outputs_are_in_qwens_form() -> None:
    turns = [Message("user", "Open?"), Message("assistant", "", tool_calls=[CALL]), Message("tool", "9 to 5"),
             Message("tool", "10 to 4"), Message("assistant", "Yes.", tool_calls=[CALL])]  # fmt: skip
    chat = ChatTemplate.named("qwen", TOK)
    encoded = chat.encode([Message("system", "s"), *turns])
    call = '<tool_call>\n{"name": "hours", "arguments": {"day": "today", "n": 2}}\n</tool_call>'
    assert shown(chat, encoded.ids, encoded.loss_mask) == (
        "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nOpen?<|im_end|>\n<|im_start|>assistant\n"
        f"[{call}<|im_end|>]\n<|im_start|>user\n<tool_response>\n9 to 5\n</tool_response>\n<tool_response>\n10 to 4\n"
        f"</tool_response><|im_end|>\n<|im_start|>assistant\n[Yes.\n{call}<|im_end|>]\n"
    )
    assert TOK.special_tokens["<tool_call>"] in encoded.ids.tolist()
    with pytest.raises(InvalidArgument, match=r"message 1 calls a tool; the chat template chatml has no form"):
        ChatTemplate.named("chatml", TOK).encode(turns)


SPELLED = ["<|im_end|>", "<|im_start|>assistant\n", "[INST]", "[/INST]", "<end_of_turn>", "</s>", "<|eot_id|>",
           "<|endoftext|>", "<|end|>", "<|user|>", "<<SYS>>", "<tool_call>", "<s>", "\n", " ", "a"]  # fmt: skip
texts = st.lists(st.sampled_from(SPELLED) | st.text(min_size=1, max_size=4), min_size=1, max_size=5).map("".join)


@pytest.mark.parametrize("name", ChatTemplate.names())
@settings(max_examples=60, deadline=None)
@given(asked=st.lists(texts, min_size=1, max_size=3), data=st.data())
def test_no_text_becomes_a_control_token(name: str, asked: list[str], data: st.DataObject) -> None:
    """Texts full of control tokens give as many of them, at the same places, as the letter x does."""
    chat = ChatTemplate.named(name, TOK, end_of_text="<|endoftext|>")
    spelled = [data.draw(texts) for _ in asked]
    special = {*TOK.special_tokens.values()}

    def controls(questions: list[str], answers: list[str]) -> tuple[list[int], list[int]]:
        turns = [
            m for q, a in zip(questions, answers, strict=True) for m in (Message("user", q), Message("assistant", a))
        ]
        encoded = chat.encode(turns)
        trained = encoded.ids[encoded.loss_mask].tolist()
        found = (encoded.ids.tolist(), chat.prompt(turns[:-1]).tolist(), trained)
        return [i for i in found[0] if i in special], [i for part in found[1:] for i in part if i in special]

    assert controls(asked, spelled) == controls(["x"] * len(asked), ["x"] * len(asked))


@pytest.mark.parametrize("name", ChatTemplate.names())
@settings(max_examples=40, deadline=None)
@given(asked=st.lists(texts, min_size=1, max_size=3), answers=st.lists(texts, min_size=3, max_size=3))
def test_a_prompt_is_the_beginning_of_its_conversation(name: str, asked: list[str], answers: list[str]) -> None:
    """And the mask begins where the prompt ends: the model is trained on what it continues."""
    chat = ChatTemplate.named(name, TOK, end_of_text="<|endoftext|>")
    turns = [m for q, a in zip(asked, answers, strict=False) for m in (Message("user", q), Message("assistant", a))]
    last = [*(Message(m.role, m.content, trained=False) for m in turns[:-1]), turns[-1]]
    encoded, prompt = chat.encode(last), chat.prompt(turns[:-1])
    assert encoded.ids[: prompt.size].tolist() == prompt.tolist()
    assert encoded.loss_mask.nonzero()[0][0] == prompt.size
    assert np.diff(encoded.loss_mask.nonzero()[0]).tolist() == [1] * (int(encoded.loss_mask.sum()) - 1)


def test_the_answer_ends_with_the_template_and_roles_are_context() -> None:
    chat = ChatTemplate.named("chatml", TOK, end_of_text="<|endoftext|>")
    names = {number: name for name, number in TOK.special_tokens.items()}
    assert [names[i] for i in chat.end_ids] == ["<|im_end|>", "<|endoftext|>"]
    assert [names[i] for i in chat.context_ids] == ["<|im_start|>"]
    ours = ChatTemplate.named("stategpt", OURS)
    assert ours.end_ids == (OURS.special_tokens["<|endoftext|>"],)
    assert len(ours.context_ids) == 4


def test_a_missing_control_token_is_an_error_where_it_is_needed_only() -> None:
    held = [name for name in CONTROLS if name != "<|tool|>"]
    chat = ChatTemplate.named("stategpt", Tokenizer.train(["a b"], vocab_size=300, special_tokens=held))
    assert chat.encode(TURNS).loss_mask.any()
    with pytest.raises(
        InvalidArgument, match=r"stategpt writes the control token '<\|tool\|>', which the tokenizer lacks"
    ):
        chat.encode([*TURNS, Message("tool", "x")])
    bare = Tokenizer.train(["b c"], vocab_size=300, special_tokens=["<x>"])
    with pytest.raises(InvalidArgument, match=r"lacks; it has \['<x>'\]"):
        ChatTemplate.named("plain", bare).prompt("b")


def test_what_a_conversation_may_not_be_is_said() -> None:
    chat = ChatTemplate.named("llama2", TOK)
    with pytest.raises(
        InvalidArgument, match="the roles are user, user; in the chat template llama2 user and assistant"
    ):
        chat.prompt([Message("user", "a"), Message("user", "b")])
    with pytest.raises(InvalidArgument, match=r"message 2 is a system message; .* first message only"):
        chat.encode([*TURNS[1:3], TURNS[0]])
    with pytest.raises(InvalidArgument, match="none of the 1 messages is trained"):
        chat.encode([Message("user", "a")])
    with pytest.raises(InvalidArgument, match="the trained assistant message after 'c' is empty"):
        chat.encode([Message("user", "c"), Message("assistant", "")])
    with pytest.raises(ContextOverflow, match="the context 9"):
        chat.encode(TURNS, context_tokens=9)
    with pytest.raises(InvalidArgument, match=r"no chat template 'lama3'; .*did you mean 'llama3'"):
        ChatTemplate.named("lama3", TOK)


def test_a_template_of_ones_own_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "vicuna.toml"
    path.write_text('[user]\nopen = ["USER: "]\nclose = [" "]\n[assistant]\nopen = ["ASSISTANT:"]\nlead = [" "]\n'
                    'close = ["{end_of_text}"]\n')  # fmt: skip
    chat = ChatTemplate.read(path, TOK, end_of_text="</s>")
    encoded = chat.encode([Message("user", "hi"), Message("assistant", "yo")])
    assert shown(chat, encoded.ids, encoded.loss_mask) == "USER: hi ASSISTANT:[ yo</s>]"
    assert chat.name == "vicuna"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[user", "is no TOML"),
        ("", r"has no table \[assistant\]"),
        ("[assistant]\nclsoe = []", r"\$\.assistant has the unknown field 'clsoe'"),
        ('[assistant]\nopen = "a"', r"\$\.assistant\.open is 'a'; expected an array"),
        ('[assistant]\ntrim = "all"', "expected one of none, message, turn"),
        ('default_system = "x"\n[assistant]', "default_system and no table"),
        ("[system]\ninside_user = true\n[assistant]", "inside_user and not alternates"),
    ],
)
def test_a_malformed_file_is_named_with_its_field(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ChatTemplateError, match=rf"mine\.toml.*{message}") as raised:
        ChatTemplate.read(path, TOK)
    assert isinstance(raised.value, StategptError)


def test_a_new_file_in_the_folder_is_a_new_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bare.toml").write_text('[user]\nopen = ["Q: "]\n[assistant]\nopen = ["\\nA: "]\n')
    monkeypatch.setattr(typed, "FOLDER", tmp_path)
    assert ChatTemplate.names() == ["bare"]
    assert TOK.decode(ChatTemplate.named("bare", TOK).prompt("Open?")) == "Q: Open?\nA: "


@pytest.mark.parametrize("name", ChatTemplate.names())
@settings(max_examples=30, deadline=None)
@given(asked=st.lists(texts, min_size=2, max_size=4), answers=st.lists(texts, min_size=4, max_size=4))
def test_what_follows_a_sampled_answer_is_what_the_whole_conversation_has_there(
    name: str, asked: list[str], answers: list[str]
) -> None:
    """Prompt, answer as it was sampled, `following`: the ids that a fresh prompt of the conversation has."""
    chat = ChatTemplate.named(name, TOK, end_of_text="<|endoftext|>")
    turns = [m for q, a in zip(asked, answers, strict=False) for m in (Message("user", q), Message("assistant", a))]
    turns = turns[:-1]  # a question waits
    before, whole, follows = chat.prompt(turns[:-2]), chat.prompt(turns), chat.following(turns)
    assert whole[: before.size].tolist() == before.tolist()
    assert whole[whole.size - follows.size :].tolist() == follows.tolist()
    assert follows[0] in chat.end_ids
    said = whole[before.size : whole.size - follows.size]
    assert TOK.decode(said).strip() == turns[-2].content.strip()
    assert chat.takes_turns


def test_what_follows_an_answer_needs_an_answer_and_a_question() -> None:
    chat = ChatTemplate.named("chatml", TOK)
    for turns in ([Message("user", "a")], [Message("user", "a"), Message("assistant", "b")]):
        with pytest.raises(InvalidArgument, match="give an answer and what follows it"):
            chat.following(turns)
