"""A folder saved with its tokenizer gives equal ids, prompts, logits and scores in transformers."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")
transformers = pytest.importorskip("transformers", reason="parity needs the hf extra (transformers)")
jinja2 = pytest.importorskip("jinja2", reason="templates need the train extra (jinja2)")
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from stategpt import _native  # noqa: E402
from stategpt.config import CONTROL_TOKENS, GPTConfig  # noqa: E402
from stategpt.config.corpus import PATTERNS  # noqa: E402
from stategpt.data import ControlTokens, chat_prompt, encode_conversation, reward_sequence  # noqa: E402
from stategpt.data.chat_template import chat_template  # noqa: E402
from stategpt.data.records import Conversation, Message, Role, ToolCall  # noqa: E402
from stategpt.errors import ForeignArtifact, InvalidArgument  # noqa: E402
from stategpt.generate import Engine  # noqa: E402
from stategpt.model import GPT, RewardModel  # noqa: E402
from stategpt.ops import TensorLayout  # noqa: E402
from stategpt.packing.layout import Layout  # noqa: E402
from stategpt.tokenizer import HfTokenizer, Tokenizer  # noqa: E402
from tokenizer.tokenizer_oracles import library_texts, odd_text  # noqa: E402

VOCABULARY = 640
SHAPES: dict[str, dict[str, bool]] = {
    "Qwen3": {},
    "Llama": {"qk_norm": False},
    "Qwen2": {"qk_norm": False, "attention_bias": True},
}
CORPUS = [*library_texts(60_000), "café 1234567890 I'M we're 中文 ﬁ\n\n\t x"]
TEXTS = [
    "",
    " ",
    "12345 1234567890 ١٢٣ x1y22z333",
    "café cafe\u0301 \u212b \ufb01 \u1112\u1161\u11ab",
    "I'm WE'RE they'LL 's'S don\u2019t",
    " \n\n\t  x  \r\n\r\n y\u3000\u00a0 ",
    "👩‍👩‍👧‍👦🇩🇪 ☂️ 🤷🏽‍♀️",
    "def f(x):\n    return x**2  # 中文 кириллица ไทย",
    "x<|user|>y <|endoftext|><|reward|>z<|pad|>",
    "<|user <|endoftext| > |endoftext|> <|spare_9|>",
    "\x00\x01\x7f\ufeff\ufffd\U0010ffff",
]


def shape(family: str, **changes: Any) -> GPTConfig:
    sizes = {"vocab_size": VOCABULARY, "depth": 2, "width": 32, "heads": 4, "kv_heads": 2, "head_dim": 8}
    return GPTConfig(**{**sizes, "mlp_width": 48, "context_tokens": 96, **SHAPES[family], **changes})


def random_gpt(config: GPTConfig) -> GPT:
    """Every weight random, norms and biases too."""
    torch.manual_seed(0)
    model = GPT(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def trained(pattern: str) -> Tokenizer:
    return Tokenizer.train(CORPUS, VOCABULARY, pattern=pattern, special_tokens=CONTROL_TOKENS)


@pytest.fixture(scope="module")
def toks() -> dict[str, Tokenizer]:
    return {pattern: trained(pattern) for pattern in PATTERNS}


@pytest.fixture(scope="module", params=[(p, f) for p in PATTERNS for f in SHAPES], ids="-".join)
def exported(
    request: pytest.FixtureRequest, toks: dict[str, Tokenizer], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Tokenizer, Any]:
    """Our tokenizer, and what AutoTokenizer makes of the folder of a model saved with it."""
    pattern, family = request.param
    folder = tmp_path_factory.mktemp("exported")
    random_gpt(shape(family)).save_pretrained(folder, toks[pattern])
    return toks[pattern], transformers.AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def tok(toks: dict[str, Tokenizer]) -> Tokenizer:
    return toks["gpt4"]


def plain_ids(theirs: Any, text: str) -> list[int]:
    return list(theirs(text, add_special_tokens=False)["input_ids"])


# --- ids ---


def test_auto_tokenizer_gives_our_ids_whatever_pattern_and_family(exported: tuple[Tokenizer, Any]) -> None:
    ours, theirs = exported
    draw = random.Random(7)
    for text in [*TEXTS, *CORPUS[:2], *(odd_text(draw) for _ in range(150))]:
        # There text that spells a control token becomes it, as here when it is asked for.
        expected = ours.encode(text, special="allow").tolist()
        assert plain_ids(theirs, text) == expected, repr(text)
        assert theirs.decode(expected) == ours.decode(expected)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text())
def test_auto_tokenizer_gives_our_ids_for_any_text(exported: tuple[Tokenizer, Any], text: str) -> None:
    ours, theirs = exported
    assert plain_ids(theirs, text) == ours.encode(text, special="allow").tolist()


def test_a_text_begins_with_end_of_text_as_in_the_engine(exported: tuple[Tokenizer, Any]) -> None:
    ours, theirs = exported
    end = ours.special_id("<|endoftext|>")
    assert theirs("to be")["input_ids"] == [end, *ours.encode("to be").tolist()]
    pair = [end, *ours.encode("to be").tolist(), end, *ours.encode(" or not").tolist()]
    assert theirs("to be", " or not")["input_ids"] == pair


def test_end_padding_and_roles_are_named(exported: tuple[Tokenizer, Any]) -> None:
    ours, theirs = exported
    control = ControlTokens.of(ours)
    assert (theirs.eos_token_id, theirs.bos_token_id) == (control.end_of_text, control.end_of_text)
    assert theirs.pad_token_id == control.pad != theirs.eos_token_id
    assert set(theirs.all_special_tokens) == set(CONTROL_TOKENS)
    assert theirs.model_max_length == 96
    assert len(theirs) == ours.vocab_size
    assert theirs.decode(ours.encode("a<|user|>b", special="allow").tolist(), skip_special_tokens=True) == "ab"
    assert sorted(theirs("a b")) == ["attention_mask", "input_ids"]


def test_text_that_spells_a_role_stays_text_where_transformers_is_asked_to(exported: tuple[Tokenizer, Any]) -> None:
    ours, theirs = exported
    text = "x<|user|>y<|endoftext|>"
    ids = theirs(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert ids == ours.encode(text).tolist()


@pytest.mark.parametrize("scores", [False, True])
def test_the_file_differs_from_the_tokenizer_in_its_post_processor_alone(
    tok: Tokenizer, tmp_path: Path, scores: bool
) -> None:
    model = random_gpt(shape("Qwen3"))
    (RewardModel(model) if scores else model).save_pretrained(tmp_path, tok)
    tok.save(tmp_path / "plain.json")
    plain, saved = (json.loads((tmp_path / name).read_text()) for name in ("plain.json", "tokenizer.json"))
    assert (saved.pop("post_processor") is None) == scores
    del plain["post_processor"]
    assert saved == plain
    again = Tokenizer.load(tmp_path / "tokenizer.json")
    assert again.fingerprint == tok.fingerprint  # it reads the token shards of the run
    assert again.encode("to be 12345").tolist() == tok.encode("to be 12345").tolist()


def test_a_tokenizer_that_the_library_runs_is_exported_with_its_ids(tok: Tokenizer, tmp_path: Path) -> None:
    random_gpt(shape("Qwen2")).save_pretrained(tmp_path, HfTokenizer(tok._to_json()))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        assert plain_ids(theirs, text) == tok.encode(text, special="allow").tolist()


# --- the chat format ---


def chat(*contents: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in zip(("user", "assistant"), contents, strict=False)]


def template_ids(theirs: Any, messages: list[dict[str, str]], **options: Any) -> list[int]:
    return list(theirs.apply_chat_template(messages, tokenize=True, return_dict=True, **options)["input_ids"])


def is_plain(text: str) -> bool:
    return not any(name in text for name in CONTROL_TOKENS)


PLAIN_TEXTS = [text for text in TEXTS if is_plain(text)]


def test_the_template_gives_the_ids_of_our_prompt(exported: tuple[Tokenizer, Any]) -> None:
    ours, theirs = exported
    draw = random.Random(8)
    for text in [*PLAIN_TEXTS, *(odd_text(draw) for _ in range(50)), "{{ 1 }} {% x %} {# y #} 'q' \"q\" \\"]:
        prompt = template_ids(theirs, chat(text), add_generation_prompt=True)
        assert prompt == chat_prompt(ours, text).tolist(), repr(text)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(question=st.text().filter(is_plain), answer=st.text(min_size=1).filter(is_plain))
def test_a_question_and_its_answer_are_the_example_of_sft(
    exported: tuple[Tokenizer, Any], question: str, answer: str
) -> None:
    ours, theirs = exported
    example = encode_conversation(ours, Conversation.of(question, answer))
    expected = [*example.tokens.tolist(), int(example.targets[-1])]
    assert template_ids(theirs, chat(question, answer)) == expected


def test_dialogues_with_system_messages_and_tools_have_our_ids(exported: tuple[Tokenizer, Any]) -> None:
    ours, theirs = exported
    roles: tuple[Role, ...] = ("system", "user", "assistant", "user", "assistant", "tool", "assistant")
    for count in range(1, len(roles) + 1):
        messages = [Message(role, f"text {place}") for place, role in enumerate(roles[:count])]
        rows = [{"role": message.role, "content": message.content} for message in messages]
        if messages[-1].role in ("user", "tool"):
            assert template_ids(theirs, rows, add_generation_prompt=True) == chat_prompt(ours, messages).tolist()
        if messages[-1].role == "assistant":
            example = encode_conversation(ours, Conversation(tuple(messages)))
            assert template_ids(theirs, rows) == [*example.tokens.tolist(), int(example.targets[-1])]


def called(name: str, arguments: Any, content: str | None = None) -> dict[str, Any]:
    """An assistant message that calls a tool, in OpenAI's shape."""
    call = {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": content, "tool_calls": [call]}


ARGUMENTS: list[dict[str, Any]] = [
    {},
    {"city": "Zürich", "days": [1, 2.5, -0.0, 1e30, None, True], "of": {"b": 1, "a": {}}},
    {"text": "line\n\"quoted\" \\ <b>&amp;</b> 'x' \u2028 😀 \u0000", "": ""},
    {"{{ x }}": "{% raw %}"},
]


@pytest.mark.parametrize("content", [None, "", "Let me see."])
def test_calls_of_tools_are_rendered_as_our_messages_write_them(
    exported: tuple[Tokenizer, Any], content: str | None
) -> None:
    ours, theirs = exported
    for arguments in ARGUMENTS:
        calls = (ToolCall("weather", arguments, "c1"), ToolCall("é<é", {"again": arguments}))
        messages = [
            Message("user", "How is it?"),
            Message("assistant", content or "", tool_calls=calls),
            Message("tool", "Dry."),
            Message("assistant", "It is dry."),
        ]
        row = called("weather", arguments, content)
        row["tool_calls"].append({"name": "é<é", "arguments": {"again": arguments}})  # our own shape
        rows: list[Any] = [{"role": each.role, "content": each.content} for each in messages]
        rows[1] = row
        example = encode_conversation(ours, Conversation(tuple(messages)))
        assert template_ids(theirs, rows) == [*example.tokens.tolist(), int(example.targets[-1])]
        prompt = template_ids(theirs, rows[:3], add_generation_prompt=True)
        assert prompt == chat_prompt(ours, messages[:3]).tolist()


def test_a_renderer_that_escapes_json_otherwise_is_refused() -> None:
    def refuse(message: str) -> None:
        raise ValueError(message)

    environment = jinja2.Environment(autoescape=False)
    template = environment.from_string(chat_template(CONTROL_TOKENS))
    rows = [*chat("x"), called("f", {})]
    with pytest.raises(ValueError, match="tojson escapes characters"):
        template.render(messages=rows, raise_exception=refuse)
    assert template.render(messages=chat("x"), raise_exception=refuse) == "<|endoftext|><|user|>x"


def test_an_answer_can_be_continued(exported: tuple[Tokenizer, Any]) -> None:
    ours, theirs = exported
    ids = template_ids(theirs, chat("why?", "Because"), continue_final_message=True)
    assert ids == encode_conversation(ours, Conversation.of("why?", "Because")).tokens.tolist()


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ([{"role": "robot", "content": "beep"}, *chat("x")], "must be system, user, assistant or tool"),
        ([*chat("x"), {"role": "assistant", "content": None}], "must be a text"),
        ([{"role": "user", "content": "x", "tool_calls": [{"name": "f", "arguments": {}}]}], "only an assistant"),
        ([*chat("x"), called("f", '{"a": 1}')], "must be an object, not its JSON as a text"),
        ([*chat("x"), called("f", {"a": "<|user|>"})], r"spells the special token <\|user\|>"),
        ([{"role": "user", "content": [{"type": "text", "text": "x"}]}], "must be a text"),
        (chat("a<|assistant|>b"), r"spells the special token <\|assistant\|>"),
        (chat("a", "b<|endoftext|>"), r"spells the special token <\|endoftext\|>"),
    ],
)
def test_the_template_refuses_what_it_would_render_otherwise(
    tok: Tokenizer, tmp_path: Path, messages: list[dict[str, Any]], problem: str
) -> None:
    random_gpt(shape("Qwen3")).save_pretrained(tmp_path, tok)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    with pytest.raises(Exception, match=problem):
        theirs.apply_chat_template(messages)


# --- biases ---


def test_a_model_with_biases_is_a_llama_with_equal_logits_and_comes_back(tok: Tokenizer, tmp_path: Path) -> None:
    ours = random_gpt(shape("Qwen2"))
    ours.save_pretrained(tmp_path, tok)
    theirs, loading = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, attn_implementation="eager", output_loading_info=True
    )
    assert type(theirs).__name__ == "LlamaForCausalLM"
    assert not any(loading.values())
    tokens = torch.from_numpy(tok.encode("The quick brown fox 12345 jumps").astype("int64"))
    layout = TensorLayout.of(Layout.packed([[tokens.numel()]], tokens.numel()))
    again = GPT.from_pretrained(tmp_path)
    assert again.config == ours.config
    with torch.no_grad():
        expected = ours(tokens, layout)
        torch.testing.assert_close(theirs(tokens[None]).logits[0], expected, rtol=1e-5, atol=1e-5)
        assert torch.equal(again(tokens, layout), expected)


@pytest.mark.parametrize("head", [GPT, RewardModel])
def test_an_output_bias_other_than_zero_is_refused_by_its_name(head: type[Any], tok: Tokenizer, tmp_path: Path) -> None:
    model = random_gpt(shape("Qwen2"))
    (model if head is GPT else RewardModel(model)).save_pretrained(tmp_path, tok)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    tensors["model.layers.1.self_attn.o_proj.bias"][5] = 1e-9
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ForeignArtifact, match=r"model\.layers\.1\.self_attn\.o_proj\.bias is not zero"):
        head.from_pretrained(tmp_path)


def qwens_own(tok: Tokenizer, **model: Any) -> Tokenizer:
    """The tokenizer with Qwen's normalizer, and other settings of its BPE."""
    found = json.loads(tok._to_json())
    found["normalizer"] = {"type": "NFC"}
    found["model"].update(model)
    return Tokenizer(_native.Tokenizer._from_json(json.dumps(found).encode()))


def test_with_qwens_own_tokenizer_the_format_is_qwen2_and_the_ids_are_equal(
    toks: dict[str, Tokenizer], tmp_path: Path
) -> None:
    ours = qwens_own(toks["qwen"])
    random_gpt(shape("Qwen2")).save_pretrained(tmp_path, ours)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["Qwen2ForCausalLM"]
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert type(theirs).__name__ == "Qwen2Tokenizer"
    draw = random.Random(9)
    for text in [*TEXTS, *(odd_text(draw) for _ in range(150))]:
        assert plain_ids(theirs, text) == ours.encode(text, special="allow").tolist(), repr(text)
    assert theirs("x")["input_ids"] == [0, *ours.encode("x").tolist()]
    assert theirs.pad_token_id == 1
    assert template_ids(theirs, chat("e\u0301"), add_generation_prompt=True) == chat_prompt(ours, "e\u0301").tolist()


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("ignore_merges", [False, True])
def test_any_other_tokenizer_keeps_its_ids_beside_biases(
    toks: dict[str, Tokenizer], tmp_path: Path, pattern: str, ignore_merges: bool
) -> None:
    """Also with NFC, and with Qwen's pattern over a vocabulary that prefers whole pre-tokens."""
    ours = qwens_own(toks[pattern], ignore_merges=ignore_merges)
    random_gpt(shape("Qwen2")).save_pretrained(tmp_path, ours)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        assert plain_ids(theirs, text) == ours.encode(text, special="allow").tolist(), repr(text)


def test_a_vocabulary_with_tokens_that_no_merge_reaches_keeps_its_ids_beside_biases(
    toks: dict[str, Tokenizer], tmp_path: Path
) -> None:
    """Where whole pre-tokens come before merges such a token is taken; `Qwen2Tokenizer` knows merges only."""
    found = json.loads(qwens_own(toks["qwen"], ignore_merges=True)._to_json())
    found["model"]["vocab"]["zqzq"] = VOCABULARY
    ours = Tokenizer(_native.Tokenizer._from_json(json.dumps(found).encode()))
    assert ours.encode("zqzq").tolist() == [VOCABULARY]
    random_gpt(shape("Qwen2", vocab_size=VOCABULARY + 1)).save_pretrained(tmp_path, ours)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert plain_ids(theirs, "zqzq") == [VOCABULARY]


def test_a_special_token_with_conditions_keeps_them_beside_biases(toks: dict[str, Tokenizer], tmp_path: Path) -> None:
    found = json.loads(qwens_own(toks["qwen"])._to_json())
    found["added_tokens"][4]["lstrip"] = True
    ours = Tokenizer(_native.Tokenizer._from_json(json.dumps(found).encode()))
    random_gpt(shape("Qwen2")).save_pretrained(tmp_path, ours)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in ["a  <|user|> b", *TEXTS]:
        assert plain_ids(theirs, text) == ours.encode(text, special="allow").tolist(), repr(text)


# --- logits and scores ---


@pytest.mark.parametrize("family", SHAPES)
def test_a_text_has_equal_logits_through_the_folder_alone(family: str, tok: Tokenizer, tmp_path: Path) -> None:
    ours = random_gpt(shape(family))
    ours.save_pretrained(tmp_path, tok)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager")
    encoded = transformers.AutoTokenizer.from_pretrained(tmp_path)("Return the café 12345.", return_tensors="pt")
    tokens = torch.tensor([0, *tok.encode("Return the café 12345.").tolist()])
    with torch.no_grad():
        expected = ours(tokens, TensorLayout.of(Layout.packed([[tokens.numel()]], tokens.numel())))
        torch.testing.assert_close(theirs(**encoded).logits[0], expected, rtol=1e-5, atol=1e-5)


CHATS = [("why?", "Because."), ("What is 12345 x 6789, e\u0301?", "A number of many digits: 83810205"), ("", "x")]


@pytest.mark.parametrize("padding_side", ["left", "right"])
@pytest.mark.parametrize("family", SHAPES)
def test_a_reward_is_the_same_alone_in_a_padded_batch_and_here(
    family: str, padding_side: str, tok: Tokenizer, tmp_path: Path
) -> None:
    ours = RewardModel(random_gpt(shape(family))).eval()
    ours.reward_offset = -0.75
    ours.save_pretrained(tmp_path, tok)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path, attn_implementation="eager")
    reader = transformers.AutoTokenizer.from_pretrained(tmp_path, padding_side=padding_side)
    assert theirs.config.pad_token_id == reader.pad_token_id == 1
    conversations = [chat(*texts) for texts in CHATS]
    options = {"tokenize": True, "return_dict": True, "return_tensors": "pt"}
    control = ControlTokens.of(tok)
    with torch.no_grad():
        batch = theirs(**reader.apply_chat_template(conversations, padding=True, **options)).logits[:, 0]
        rendered = reader.apply_chat_template(conversations, tokenize=False)
        as_text = theirs(**reader(rendered, padding=True, return_tensors="pt")).logits[:, 0]
        for row, (question, answer) in enumerate(CHATS):
            completion = [*tok.encode(answer).tolist(), control.end_of_text]
            tokens = reward_sequence(chat_prompt(tok, question), completion, control).astype("int64")
            layout = TensorLayout.of(Layout.packed([[tokens.size]], tokens.size))
            expected = ours.scores(torch.from_numpy(tokens), layout, torch.tensor([tokens.size - 1]))[0]
            encoded = reader.apply_chat_template(conversations[row], **options)
            assert encoded["input_ids"][0].tolist() == tokens.tolist()
            for found in (theirs(**encoded).logits[0, 0], batch[row], as_text[row]):
                torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert theirs.config.reward_offset == -0.75
    assert RewardModel.from_pretrained(tmp_path).reward_offset == -0.75


def test_the_reward_template_wants_a_question_and_its_answer(tok: Tokenizer, tmp_path: Path) -> None:
    RewardModel(random_gpt(shape("Qwen3"))).save_pretrained(tmp_path, tok)
    reader = transformers.AutoTokenizer.from_pretrained(tmp_path)
    with pytest.raises(Exception, match="give a question and, as the last message, its answer"):
        reader.apply_chat_template(chat("why?"))


@pytest.mark.parametrize("family", SHAPES)
def test_greedy_answers_are_the_engines(family: str, tok: Tokenizer, tmp_path: Path) -> None:
    """Without the ids that are never drawn, these untrained answers would hold roles."""
    ours = random_gpt(shape(family))
    ours.save_pretrained(tmp_path, tok)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager")
    reader = transformers.AutoTokenizer.from_pretrained(tmp_path)
    questions = ["why?", "What is 12345?", "x", "", "café"]
    prompts = [chat_prompt(tok, question) for question in questions]
    completions = Engine(ours, tok).generate(prompts, temperature=0, max_tokens=20)
    options = {"add_generation_prompt": True, "return_dict": True, "return_tensors": "pt"}
    for question, completion in zip(questions, completions, strict=True):
        prompt = reader.apply_chat_template(chat(question), **options)
        answer = theirs.generate(**prompt, do_sample=False, max_new_tokens=20)[0, prompt["input_ids"].shape[1] :]
        assert answer.tolist() == completion.ids.tolist()


# --- refusals ---


@pytest.mark.parametrize("head", [GPT, RewardModel])
def test_a_tokenizer_that_does_not_fit_is_refused_before_anything_is_written(head: type[Any], tmp_path: Path) -> None:
    model = head(shape("Qwen3")) if head is GPT else head(GPT(shape("Qwen3")))
    with pytest.raises(InvalidArgument, match="nothing says what ends a text"):
        model.save_pretrained(tmp_path, Tokenizer.train(["a"], 256))
    larger = Tokenizer.train(CORPUS, VOCABULARY + 1, special_tokens=CONTROL_TOKENS)
    with pytest.raises(ForeignArtifact, match="the tokenizer has 641 ids and the model embeds 640"):
        model.save_pretrained(tmp_path, larger)
    assert not list(tmp_path.iterdir())
