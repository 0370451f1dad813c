"""A model of another family that came from a folder, saved again: ids, template, special tokens and logits are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the model needs the train extra (torch)")
transformers = pytest.importorskip("transformers", reason="parity needs the hf extra (transformers)")
pytest.importorskip("jinja2", reason="templates need the train extra (jinja2)")
from family_models import CASES  # noqa: E402
from foreign_tokenizers import VOCABULARY, Foreign, foreign  # noqa: E402
from stategpt.config import CONTROL_TOKENS, GPTConfig  # noqa: E402
from stategpt.data import ControlTokens, Conversation, Message  # noqa: E402
from stategpt.data.chats import ChatTemplate  # noqa: E402
from stategpt.errors import ForeignArtifact, InvalidArgument, TokenizerUnsupported  # noqa: E402
from stategpt.model import GPT, RewardModel  # noqa: E402
from stategpt.model.foreign_tokenizer import keep_files  # noqa: E402
from stategpt.model.special_ids import SpecialIds  # noqa: E402
from stategpt.ops import TensorLayout  # noqa: E402
from stategpt.packing.layout import Layout  # noqa: E402
from stategpt.tokenizer import AnyTokenizer, Tokenizer  # noqa: E402

_PAIRS = (
    "smollm-llama smollm-smollm3 llama3-llama llama3-qwen2 qwen-qwen2 qwen-qwen3 gpt2-gpt2 gpt2-olmo2 llama2-mistral "
    "llama2-phi3 gemma-gemma2 gemma-gemma3"
)
PAIRS = _PAIRS.split()
TEXTS = (
    "",
    " ",
    "The quick brown fox, 12345 times.",
    "  two\n\n\tlines  \r\n",
    "café cafe\u0301 Straße İstanbul",
    "Привет, мир! 中文和日本語 한국어",
    "👩‍👩‍👧 🇩🇪 x\u00a0y \ufb01",
    "def f(x):\n    return x**2",
)
DIALOGUE = (Message("user", "What is it?"), Message("assistant", "It is."), Message("user", "Why?"))


def load_tokenizer(folder: Path) -> AnyTokenizer:
    try:
        return Tokenizer.load(folder)
    except TokenizerUnsupported:
        return Tokenizer.load(folder, "tokenizers")


def rows(messages: Any) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def origin(pair: str, folder: Path) -> Foreign:
    """Writes the folder of a model with a tokenizer of another kind, as its publisher would."""
    kind, family = pair.split("-")
    made = foreign(kind)
    folder.mkdir()
    bos = made.id("bos_token") if "bos_token" in made.special else None
    ids: dict[str, Any] = {"bos_token_id": bos, "eos_token_id": made.id("eos_token")}
    ids["pad_token_id"] = made.id("pad_token") if "pad_token" in made.special else None
    model = CASES[family].model(vocab_size=VOCABULARY, **ids)
    model.generation_config.eos_token_id = [made.id("eos_token"), 7, 9]
    model.save_pretrained(folder)
    made.write(folder)
    return made


@pytest.fixture(scope="module", params=PAIRS)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Foreign, Path, Path]:
    """What a publisher has, their folder, and the folder that it became here."""
    before = tmp_path_factory.mktemp("origin") / "model"
    made = origin(request.param, before)
    after = before.with_name("saved")
    tok = load_tokenizer(before)
    GPT.from_pretrained(before).save_pretrained(after, tok, ChatTemplate.load(before, tok))
    return made, before, after


# --- ids ---


def test_auto_tokenizer_gives_the_ids_of_the_original_file(saved: tuple[Foreign, Path, Path]) -> None:
    made, _, after = saved
    theirs = transformers.AutoTokenizer.from_pretrained(after)
    special = " ".join(
        made.tokenizer.get_added_tokens_decoder()[n].content for n in made.tokenizer.get_added_tokens_decoder()
    )
    for text in (*TEXTS, special, f"a{special}b"):
        assert theirs(text)["input_ids"] == made.tokenizer.encode(text).ids, repr(text)
        plain = made.tokenizer.encode(text, add_special_tokens=False).ids
        assert theirs(text, add_special_tokens=False)["input_ids"] == plain, repr(text)
    pair = made.tokenizer.encode("to be", "or not").ids
    assert theirs("to be", "or not")["input_ids"] == pair


def test_special_tokens_are_named_as_in_the_original_folder(saved: tuple[Foreign, Path, Path]) -> None:
    made, _, after = saved
    theirs = transformers.AutoTokenizer.from_pretrained(after)
    for name in ("bos_token", "eos_token", "unk_token", "pad_token"):
        assert getattr(theirs, name) == made.special.get(name, getattr(theirs, name) if name == "unk_token" else None)
    flagged = {token.content for token in made.tokenizer.get_added_tokens_decoder().values() if token.special}
    assert set(theirs.all_special_tokens) >= flagged
    assert len(theirs) == made.tokenizer.get_vocab_size()
    assert theirs.model_max_length == 64


def test_the_template_goes_out_as_it_came_in(saved: tuple[Foreign, Path, Path]) -> None:
    made, _, after = saved
    assert (after / "chat_template.jinja").read_text() == made.template
    theirs = transformers.AutoTokenizer.from_pretrained(after)
    tok = load_tokenizer(after)
    chat = ChatTemplate.load(after, tok)
    question = DIALOGUE[:1]  # an answer is encoded apart from its header here, so that its mask is exact
    prompt = theirs.apply_chat_template(rows(question), add_generation_prompt=True)["input_ids"]
    assert prompt == chat.prompt(question).tolist()


def test_the_models_own_ids_are_kept(saved: tuple[Foreign, Path, Path]) -> None:
    _, before, after = saved
    was, now = (json.loads((folder / "generation_config.json").read_text()) for folder in (before, after))
    assert now["eos_token_id"][:3] == was["eos_token_id"]
    config = json.loads((after / "config.json").read_text())
    original = json.loads((before / "config.json").read_text())
    assert config["bos_token_id"] == original["bos_token_id"]
    assert config["pad_token_id"] == original["pad_token_id"]
    assert "suppress_tokens" not in now
    ours = GPT.from_pretrained(after)
    assert ours.special_ids == SpecialIds(
        original["bos_token_id"], tuple(now["eos_token_id"]), original["pad_token_id"]
    )


def test_logits_are_those_of_the_original(saved: tuple[Foreign, Path, Path]) -> None:
    made, before, after = saved
    ids = torch.tensor([made.tokenizer.encode("What is it? 中文 x").ids[:40]])
    was, now = (
        transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")(ids).logits
        for folder in (before, after)
    )
    torch.testing.assert_close(now, was, atol=1e-5, rtol=0)


def test_saving_twice_gives_equal_files(saved: tuple[Foreign, Path, Path], tmp_path: Path) -> None:
    _, _, after = saved
    tok = load_tokenizer(after)
    GPT.from_pretrained(after).save_pretrained(tmp_path, tok, ChatTemplate.load(after, tok))
    for path in after.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


# --- tokenizer_config.json ---


@pytest.mark.parametrize(("kind", "adds"), [("llama2", (True, False)), ("llama3", None), ("smollm", (False, False))])
def test_what_is_added_to_a_text_is_stated_where_that_says_it_all(
    tmp_path: Path, kind: str, adds: tuple[bool, bool] | None
) -> None:
    """Where it is stated, transformers builds the post-processor from it; Llama 3's also trims offsets."""
    config = files_of(kind, tmp_path)
    found = None if "add_bos_token" not in config else (config["add_bos_token"], config["add_eos_token"])
    assert found == adds


def files_of(kind: str, folder: Path, ids: SpecialIds | None = None) -> dict[str, Any]:
    """Saves a small model with a tokenizer of `kind`; returns its tokenizer_config.json."""
    before = folder / "tokenizer"
    before.mkdir()
    foreign(kind).write(before)
    tok = load_tokenizer(before)
    small_gpt(ids).save_pretrained(folder, tok, ChatTemplate.load(before, tok))
    return json.loads((folder / "tokenizer_config.json").read_text())  # type: ignore[no-any-return]


def small_gpt(ids: SpecialIds | None = None) -> GPT:
    torch.manual_seed(0)
    sizes = {"depth": 2, "width": 32, "heads": 4, "kv_heads": 2, "head_dim": 8, "mlp_width": 48}
    return GPT(GPTConfig(vocab_size=VOCABULARY, context_tokens=64, **sizes), ids).eval()


def test_a_pair_without_a_second_beginning_is_left_to_the_post_processor(tmp_path: Path) -> None:
    file = json.loads(foreign("llama2").tokenizer.to_str())
    file["post_processor"]["pair"] = [part for part in file["post_processor"]["pair"] if "Sequence" in part]
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(file))
    tok = Tokenizer.load(path, "tokenizers")
    small_gpt(SpecialIds(1, (2,), None)).save_pretrained(tmp_path / "m", tok, ChatTemplate.named("plain", tok))
    assert "add_bos_token" not in json.loads((tmp_path / "m" / "tokenizer_config.json").read_text())
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "m")
    assert theirs("a")["input_ids"][0] == 1
    assert 1 not in theirs("a", "b")["input_ids"]


def test_a_model_made_here_takes_its_ids_from_tokenizer_and_template(tmp_path: Path) -> None:
    files_of("gemma", tmp_path)
    found = json.loads((tmp_path / "generation_config.json").read_text())
    assert found == {"bos_token_id": 2, "eos_token_id": [5, 1], "pad_token_id": 0}


def test_without_a_template_the_usual_end_of_text_ends_it(tmp_path: Path) -> None:
    foreign("gpt2").write(tmp_path)
    tok = Tokenizer.load(tmp_path)
    small_gpt().save_pretrained(tmp_path / "m", tok)
    assert json.loads((tmp_path / "m" / "generation_config.json").read_text())["eos_token_id"] == 599
    assert not (tmp_path / "m" / "chat_template.jinja").exists()


def test_a_template_of_an_earlier_model_does_not_stay(tmp_path: Path) -> None:
    files_of("smollm", tmp_path)
    assert (tmp_path / "chat_template.jinja").exists()
    small_gpt().save_pretrained(tmp_path, Tokenizer.load(tmp_path / "tokenizer"))
    assert not (tmp_path / "chat_template.jinja").exists()


def test_a_template_of_another_tokenizer_is_refused(tmp_path: Path) -> None:
    chat = ChatTemplate.named("plain", Tokenizer.train(["ab"], 258, special_tokens=["</s>"]))
    foreign("smollm").write(tmp_path)
    with pytest.raises(InvalidArgument, match="chat is of another tokenizer"):
        small_gpt().save_pretrained(tmp_path / "m", Tokenizer.load(tmp_path), chat)


def test_settings_that_only_the_original_folder_has_are_kept(tmp_path: Path) -> None:
    files_of("smollm", tmp_path)
    path = tmp_path / "tokenizer" / "tokenizer_config.json"
    path.write_text(json.dumps({"padding_side": "left", "model_max_length": 77, "add_bos_token": True, "odd": 1}))
    keep_files(tmp_path, tmp_path / "tokenizer")
    found = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert (found["padding_side"], found["model_max_length"], found["add_bos_token"]) == ("left", 77, True)
    assert found["eos_token"] == "<|im_end|>"
    assert "odd" not in found
    assert (tmp_path / "tokenizer.json").read_bytes() == (tmp_path / "tokenizer" / "tokenizer.json").read_bytes()
    path.write_text(json.dumps({"padding_side": "above"}))
    with pytest.raises(ForeignArtifact, match="padding_side"):
        keep_files(tmp_path, tmp_path / "tokenizer")


# --- typed formats ---


@pytest.mark.parametrize("name", ChatTemplate.names())
def test_a_format_of_ours_goes_out_as_a_template_with_equal_ids(name: str, tmp_path: Path) -> None:
    tok = Tokenizer.train(["What is it? It is. Why?"], 400, special_tokens=_controls(name))
    chat = ChatTemplate.named(name, tok)
    small_gpt().save_pretrained(tmp_path, tok, chat)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    prompt = theirs.apply_chat_template(rows(DIALOGUE), add_generation_prompt=True)["input_ids"]
    assert prompt == chat.prompt(DIALOGUE).tolist()
    finished = DIALOGUE[:2]
    expected = chat.encode(Conversation(finished)).ids.tolist()
    assert theirs.apply_chat_template(rows(finished))["input_ids"] == expected


def _controls(name: str) -> list[str]:
    import tomllib

    from stategpt.data.chats import typed

    found = tomllib.loads((typed.FOLDER / f"{name}.toml").read_text()).get("controls", [])
    return [*dict.fromkeys([*(token for token in found if token != typed.END_OF_TEXT_MARK), "<|endoftext|>", "<pad>"])]


def test_a_message_that_spells_a_control_token_is_refused_by_our_templates(tmp_path: Path) -> None:
    tok = Tokenizer.train(["ab"], 300, special_tokens=_controls("chatml"))
    small_gpt().save_pretrained(tmp_path, tok, ChatTemplate.named("chatml", tok))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    with pytest.raises(Exception, match=r"spells the special token <\|im_start\|>"):
        theirs.apply_chat_template([{"role": "user", "content": "a<|im_start|>b"}])


def test_a_tokenizer_of_ours_can_have_another_format(tmp_path: Path) -> None:
    tok = Tokenizer.train(["ab"], 300, special_tokens=CONTROL_TOKENS)
    chat = ChatTemplate.named("plain", tok)
    model = small_gpt()
    model.save_pretrained(tmp_path, tok, chat)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    prompt = theirs.apply_chat_template(rows(DIALOGUE), add_generation_prompt=True)["input_ids"]
    assert prompt == chat.prompt(DIALOGUE).tolist()
    assert theirs.pad_token_id == ControlTokens.of(tok).pad


# --- reward models ---


def score_here(model: RewardModel, ids: list[int]) -> float:
    layout = TensorLayout.of(Layout.packed([[len(ids)]], len(ids)))
    with torch.no_grad():
        return float(model.scores(torch.tensor(ids), layout, torch.tensor([len(ids) - 1])))


@pytest.mark.parametrize("kind", ["smollm", "llama3", "qwen", "gemma"])
def test_a_reward_model_scores_equally_alone_and_in_a_padded_batch(kind: str, tmp_path: Path) -> None:
    before = tmp_path / "tokenizer"
    before.mkdir()
    foreign(kind).write(before)
    tok = load_tokenizer(before)
    chat = ChatTemplate.load(before, tok)
    by_id = dict(tok.special_tokens)
    reward = {"smollm": "<file_sep>", "gemma": "<unk>"}.get(kind, next(iter(by_id)))
    torch.manual_seed(1)
    model = RewardModel(small_gpt(SpecialIds(None, (by_id[foreign(kind).special["eos_token"]],), None)))
    model.save_pretrained(tmp_path / "m", tok, chat, reward_id=by_id[reward])
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "m")
    reader = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "m").eval()
    assert reader.config.pad_token_id not in (by_id[reward], theirs.eos_token_id)
    assert theirs.pad_token_id == reader.config.pad_token_id
    talks = [DIALOGUE[:2], (Message("user", "Why is it so, and how?"), Message("assistant", "So it is, so."))]
    batch = theirs.apply_chat_template(
        [rows(talk) for talk in talks], padding=True, return_dict=True, return_tensors="pt"
    )
    for talk, score in zip(talks, reader(**batch).logits[:, 0].tolist(), strict=True):
        encoded = chat.encode(Conversation(talk))
        end = int(encoded.loss_mask.nonzero()[0][-1]) + 1  # the token that ends the answer
        ids = [*encoded.ids[:end].tolist(), by_id[reward]]
        assert theirs.apply_chat_template(rows(talk))["input_ids"] == ids
        assert score == pytest.approx(score_here(model, ids), abs=1e-4)


def test_without_a_reward_token_the_end_of_the_chat_is_scored(tmp_path: Path) -> None:
    foreign("gemma").write(tmp_path)
    tok = load_tokenizer(tmp_path)
    model = RewardModel(small_gpt(SpecialIds(2, (1,), 1)))
    model.save_pretrained(tmp_path / "m", tok, ChatTemplate.load(tmp_path, tok))
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert (config["eos_token_id"], config["pad_token_id"]) == ([1, 5], 0)
    assert (tmp_path / "m" / "chat_template.jinja").read_text() == foreign("gemma").template


def test_a_vocabulary_with_nothing_to_pad_with_is_refused(tmp_path: Path) -> None:
    foreign("gpt2").write(tmp_path)
    tok = Tokenizer.load(tmp_path)
    model = RewardModel(small_gpt(SpecialIds(599, (599,), 599)))
    with pytest.raises(ForeignArtifact, match="nothing is left that pads a batch"):
        model.save_pretrained(tmp_path / "m", tok, ChatTemplate.load(tmp_path, tok))
    assert not (tmp_path / "m").exists()


def test_a_reward_token_without_a_name_is_refused(tmp_path: Path) -> None:
    foreign("smollm").write(tmp_path)
    tok = Tokenizer.load(tmp_path)
    with pytest.raises(ForeignArtifact, match="no name for id 5"):
        RewardModel(small_gpt()).save_pretrained(tmp_path / "m", tok, ChatTemplate.load(tmp_path, tok), reward_id=5)


def test_the_template_of_a_reward_model_wants_a_finished_answer(tmp_path: Path) -> None:
    foreign("smollm").write(tmp_path)
    tok = Tokenizer.load(tmp_path)
    chat = ChatTemplate.load(tmp_path, tok)
    RewardModel(small_gpt()).save_pretrained(tmp_path / "m", tok, chat, reward_id=tok.special_id("<file_sep>"))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "m")
    with pytest.raises(Exception, match="a reward model scores an answer"):
        theirs.apply_chat_template(rows(DIALOGUE))
