"""The engine with tokenizers that lack this package's control tokens: what begins, ends and never enters a text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="sampling needs the train extra (torch)")
pytest.importorskip("jinja2", reason="templates of others need jinja2, of the train extra")

from stategpt.cli import main  # noqa: E402
from stategpt.config import CONTROL_TOKENS, GPTConfig  # noqa: E402
from stategpt.data import ChatTemplate, Message, chat_prompt  # noqa: E402
from stategpt.errors import InvalidArgument  # noqa: E402
from stategpt.generate import Engine  # noqa: E402
from stategpt.model import GPT, SpecialIds  # noqa: E402
from stategpt.tokenizer import Tokenizer  # noqa: E402
from stategpt.visible_text import visible  # noqa: E402

TEXT = "Return the length of a list. Return True if the key is in the dictionary. "
CHATML = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def tokenizer(*special: str) -> Tokenizer:
    return Tokenizer.train([TEXT * 5], vocab_size=300, special_tokens=list(special))


def model_of(tok: Tokenizer, bos: int | None, *eos: int, padded: int = 0) -> GPT:
    torch.manual_seed(0)
    config = GPTConfig(vocab_size=tok.vocab_size + padded, depth=1, width=32, heads=4, kv_heads=2, head_dim=8,
                       mlp_width=48, context_tokens=64)  # fmt: skip
    return GPT(config, SpecialIds(bos=bos, eos=eos, pad=None)).eval()


def test_an_answer_ends_with_the_token_of_the_template_and_roles_are_never_drawn() -> None:
    tok = tokenizer(*CHATML)
    end_of_text, start, end = (tok.special_tokens[name] for name in CHATML)
    engine = Engine(model_of(tok, None, end_of_text, padded=9), tok, ChatTemplate.named("chatml", tok))
    assert engine.end_ids == (end, end_of_text)
    assert engine.chat is not None
    prompt = engine.chat.prompt([Message("user", "Return <|im_end|>")])
    found = engine.generate([prompt], n=200, temperature=50.0, max_tokens=8)  # nearly uniform
    drawn = {int(token) for completion in found for token in completion.ids}
    assert start not in drawn
    assert max(drawn) < tok.vocab_size
    ended = [completion for completion in found if completion.ended]
    assert {int(completion.ids[-1]) for completion in ended} == {end, end_of_text}
    assert all(int(token) not in (end, end_of_text) for c in found for token in c.ids[:-1])
    assert all("<|im_end|>" not in completion.text for completion in found)
    assert start in {
        int(t) for c in engine.generate([prompt], n=200, temperature=50.0, max_tokens=8, forbidden=()) for t in c.ids
    }


def test_without_a_template_it_continues_documents() -> None:
    tok = tokenizer("<|endoftext|>")
    engine = Engine(model_of(tok, 0, 0), tok)
    assert (engine.chat, engine.end_ids) == (None, (0,))
    greedy = engine.generate(["Return"], temperature=0, max_tokens=6)[0]
    expected = engine.generate([[0, *tok.encode("Return").tolist()]], temperature=0, max_tokens=6)[0]
    assert greedy.ids.tolist() == expected.ids.tolist()
    assert "".join(engine.stream("Return", temperature=0, max_tokens=6)) == greedy.text


@pytest.mark.parametrize(
    ("name", "special", "bos", "begin"),
    [
        ("chatml", CHATML, 1, None),  # SmolLM2 calls <|im_start|> its beginning of text
        ("llama3", ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"], 0, 0),
        ("llama2", ["<s>", "</s>"], 0, 0),
        ("gemma", ["<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"], 1, 1),
        ("phi3", ["<s>", "<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>", "<|system|>"], 0, None),
    ],
)
def test_a_document_begins_as_the_family_begins_its_texts(
    name: str, special: list[str], bos: int, begin: int | None
) -> None:
    tok = tokenizer(*special)
    engine = Engine(model_of(tok, bos, 1), tok, ChatTemplate.named(name, tok))
    start = [] if begin is None else [begin]
    text = tok.encode("key").tolist()
    both = engine.generate(["key", [*start, *text]], temperature=0, max_tokens=5, first_stream=[0, 0])
    assert both[0].ids.tolist() == both[1].ids.tolist()
    other = engine.generate([[2, *text]], temperature=0, max_tokens=1)[0].log_probs
    assert both[0].log_probs[0] != other[0]
    with pytest.raises(InvalidArgument, match="prompt 0 has no tokens"):
        engine.generate([""] if begin is None else [[]])


def test_missing_roles_are_an_error_where_they_are_needed() -> None:
    tok = tokenizer(*CHATML)
    engine = Engine(model_of(tok, None, 0), tok, ChatTemplate.named("chatml", tok))
    assert engine.generate(["key"], max_tokens=2)
    assert (engine.control.ends, engine.control.reward) == ((tok.special_tokens["<|im_end|>"], 0), tok.vocab_size)
    with pytest.raises(InvalidArgument, match=r"<\|reward\|>.* give the chat template of its model"):
        _ = Engine(model_of(tok, None, 0), tok).control
    with pytest.raises(InvalidArgument, match=r"nothing says what ends a text: .* Engine\(model, tok, chat\)"):
        Engine(model_of(tokenizer("<x>"), None), tokenizer("<x>"))
    with pytest.raises(InvalidArgument, match="chat is of another tokenizer"):
        Engine(model_of(tok, None, 0), tok, ChatTemplate.named("chatml", tokenizer(*CHATML, "<more>")))


def test_the_own_tokenizer_samples_as_before() -> None:
    tok = tokenizer(*CONTROL_TOKENS)
    model = model_of(tok, 0, 0)
    engine = Engine(model, tok)
    assert engine.chat is not None
    assert (engine.chat.name, engine.end_ids) == ("stategpt", (0,))
    assert engine.chat.prompt("key").tolist() == chat_prompt(tok, "key").tolist()
    drawn = {int(t) for c in engine.generate(["key"], n=100, temperature=50.0, max_tokens=8) for t in c.ids}
    assert drawn & {*range(16)} <= {0}


def test_the_command_chats_with_a_folder_of_another_family(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tok = tokenizer(*CHATML)
    model_of(tok, None, tok.special_tokens["<|im_end|>"]).save_pretrained(tmp_path)
    tok.save(tmp_path / "tokenizer.json")
    arguments = ["chat", str(tmp_path), "--prompt", "Return the key", "--max-tokens", "4", "--temperature", "0"]
    assert main(arguments) == 2
    assert "has no chat template" in capsys.readouterr().err
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE, "eos_token": "<|im_end|>"}))
    assert main(arguments) == 0
    said = capsys.readouterr().out
    engine = Engine(GPT.from_pretrained(tmp_path).eval(), tok, ChatTemplate.load(tmp_path, tok))
    assert engine.chat is not None
    assert engine.chat.name == "chatml"
    answer = engine.generate([engine.chat.prompt("Return the key")], temperature=0, max_tokens=4)[0]
    assert said.strip() == visible(answer.text.strip()) + " ..." * (answer.reason == "length")
