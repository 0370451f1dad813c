"""What a run takes from a foreign folder, and what it says where the chat format does not fit."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the [train] extra is not installed")
transformers = pytest.importorskip("transformers", reason="writes the models")

from foreign_folders import CHATML, FOREIGN, SMALL, write_chats  # noqa: E402
from paged_decoding import Decoding  # noqa: E402
from stategpt.artifacts.run_folder import RunFolder  # noqa: E402
from stategpt.cli import main  # noqa: E402
from stategpt.cli.model_source import engine_of  # noqa: E402
from stategpt.config import CONTROL_TOKENS, RunConfig, load  # noqa: E402
from stategpt.config.start import StartConfig  # noqa: E402
from stategpt.config.toml import dump  # noqa: E402
from stategpt.data import ChatTemplate, Message, ModelIds, Rankings  # noqa: E402
from stategpt.data.chats.typed import FOLDER  # noqa: E402
from stategpt.data.control_ids import CONTROL_FILE  # noqa: E402
from stategpt.errors import ConfigError, ForeignArtifact, InvalidArgument, TokenizerUnsupported  # noqa: E402
from stategpt.evaluate.bits import token_nats  # noqa: E402
from stategpt.model import GPT, RewardModel  # noqa: E402
from stategpt.stages.chat_format import run_tokenizer  # noqa: E402
from stategpt.stages.context import StageContext  # noqa: E402
from stategpt.stages.leave_one_out import leave_one_out  # noqa: E402
from stategpt.stages.prepare import _end_token, prepare  # noqa: E402
from stategpt.stages.pretrain import pretrain  # noqa: E402
from stategpt.tokenizer import HfTokenizer, Tokenizer  # noqa: E402
from user_files import Writer  # noqa: E402

GEMMA, LLAMA = "gemma2, spare rows", "llama, ChatML, no token left"
PIECES = "llama 2, pieces with a space before each text"
NO_TRAINING = """
[start]
model = "given"
[sft]
data = ["chats.jsonl"]
row_tokens = 96
[evaluate]
few_shot_examples = 1
"""


def project(folder: Path, name: str, text: str = NO_TRAINING, *, system: bool = False) -> RunConfig:
    FOREIGN[name].write(folder / "given")
    write_chats(folder / "chats.jsonl", 30, system=system)
    (folder / "mine.toml").write_text(text)
    return load(folder / "mine.toml")


def without_template(given: Path) -> None:
    path = given / "tokenizer_config.json"
    config = json.loads(path.read_text())
    del config["chat_template"]
    path.write_text(json.dumps(config))


def test_the_files_of_the_tokenizer_come_along_and_nothing_else(tmp_path: Path) -> None:
    run = project(tmp_path, LLAMA)
    given, folder = tmp_path / "given", RunFolder(tmp_path / "run")
    (given / "pytorch_model.bin").write_bytes(b"a pickle")
    prepare(run, folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (folder.tokenizer / name).read_bytes() == (given / name).read_bytes()
    base = {path.name for path in folder.model("base").iterdir()}
    assert base == {path.name for path in given.iterdir()} - {"README.md", "pytorch_model.bin"} | {"manifest.json"}
    context = StageContext.of(run, folder)
    assert context.chat.name == "chatml"
    shutil.rmtree(given)
    prepare(run, folder)


def test_another_template_in_its_place_is_noticed(tmp_path: Path) -> None:
    run, folder = project(tmp_path, LLAMA), RunFolder(tmp_path / "run")
    prepare(run, folder)
    path = tmp_path / "given" / "tokenizer_config.json"
    path.write_text(path.read_text().replace("assistant", "model"))
    with pytest.raises(ForeignArtifact, match=r"was not taken from start\.model"):
        prepare(run, folder)


def test_a_role_that_the_format_lacks_is_named_with_the_records_place(tmp_path: Path) -> None:
    run = project(tmp_path, GEMMA, system=True)
    with pytest.raises(InvalidArgument, match=r"chats\.jsonl.* has no system messages .* start\.chat"):
        prepare(run, RunFolder(tmp_path / "run"))
    write_chats(tmp_path / "chats.jsonl", 30)
    prepare(run, RunFolder(tmp_path / "other"))


@pytest.mark.parametrize("kind", ["name", "toml", "jinja"])
def test_every_model_of_a_run_has_the_format_that_was_given(tmp_path: Path, kind: str) -> None:
    run = project(tmp_path, LLAMA)
    settings = tmp_path / "given" / "tokenizer_config.json"
    settings.write_text(settings.read_text().replace("<|im_start|>' + ", "<|im_start|>the ' + "))
    given = {"name": "chatml", "toml": "mine.format.toml", "jinja": "mine.jinja"}[kind]
    if kind == "toml":
        shutil.copyfile(FOLDER / "chatml.toml", tmp_path / given)
    elif kind == "jinja":
        (tmp_path / given).write_text(CHATML)
    (tmp_path / "mine.toml").write_text(NO_TRAINING.replace("[sft]", f'chat = "{given}"\n[sft]'))
    run, folder = load(tmp_path / "mine.toml"), RunFolder(tmp_path / "run")
    prepare(run, folder)
    context = StageContext.of(run, folder)
    talk = [Message("user", "Why?"), Message("assistant", "So.")]
    whole = context.chat.encode(talk).ids.tolist()
    for model in (context.load_model("base"), RewardModel(context.load_model("base"))):
        stage = "sft" if isinstance(model, GPT) else "reward"
        context.publish(stage, "model", partial(context.save_model, model), "made here", ())
        out = folder.model(stage)
        found = ChatTemplate.load(out, context.tok)
        assert (found.prompt("Why?").tolist(), found.encode(talk).ids.tolist()) == (
            context.chat.prompt("Why?").tolist(),
            whole,
        )
        theirs = transformers.AutoTokenizer.from_pretrained(out)
        rows = [{"role": each.role, "content": each.content} for each in talk]
        ids = theirs.apply_chat_template(rows, return_dict=False)
        if isinstance(model, RewardModel):
            assert ids == [*whole[: whole.index(context.control.ends[0], -3) + 1], context.control.reward]
        else:
            assert ids == whole
    (folder.root / "run.toml").write_text(dump(run))
    for asked in ([str(folder.model("sft"))], [str(folder.root)], [str(folder.root), "--stage", "base"]):
        assert main(["chat", *asked, "--prompt", "Why?", "--max-tokens", "2"]) == 0


@pytest.mark.parametrize("kind", ["name", "toml", "jinja"])
def test_a_base_model_takes_the_format_that_is_given(tmp_path: Path, kind: str) -> None:
    run = project(tmp_path, LLAMA)
    without_template(tmp_path / "given")
    with pytest.raises(ConfigError, match=r"has no chat template.* Set start\.chat to one of chatml, "):
        prepare(run, RunFolder(tmp_path / "none"))
    given = {"name": "chatml", "toml": "mine.format.toml", "jinja": "mine.jinja"}[kind]
    templates = FOLDER / "chatml.toml"
    if kind == "toml":
        shutil.copyfile(templates, tmp_path / given)
    elif kind == "jinja":
        (tmp_path / given).write_text(CHATML)
    (tmp_path / "mine.toml").write_text(NO_TRAINING.replace("[sft]", f'chat = "{given}"\n[sft]'))
    run, folder = load(tmp_path / "mine.toml"), RunFolder(tmp_path / "run")
    prepare(run, folder)
    chat = StageContext.of(run, folder).chat
    expected = ChatTemplate.named("chatml", chat.tok)
    assert chat.prompt("Why?").tolist() == expected.prompt("Why?").tolist()
    assert chat.control.ends[0] == chat.tok.special_tokens["<|im_end|>"]
    if kind != "name":
        (tmp_path / given).write_text((tmp_path / given).read_text() + "\n")
        with pytest.raises(ForeignArtifact, match=r"was not taken from start\.model"):
            prepare(run, folder)


def test_pretraining_continues_with_the_familys_beginning_and_end(tmp_path: Path) -> None:
    Writer(tmp_path).markdown(40)
    text = (
        '[start]\nmodel = "given"\n[sources.docs]\npaths = ["docs/**/*.md"]\nshare = 1.0\n[data]\nrow_tokens = 96\n'
        "[pretrain]\ntokens = 2048\nbatch_rows = 4\nsample_tokens = 4\n"
        "[evaluate]\ntest_tokens = 512\nbootstrap_resamples = 20\n"
    )
    run, folder = project(tmp_path, GEMMA, text), RunFolder(tmp_path / "run")
    prepare(run, folder)
    pretrain(run, folder)
    context = StageContext.of(run, folder)
    ids = context.tok.special_tokens
    rows = json.loads((folder.evaluation("base") / "rows.json").read_text())
    assert rows
    shards = json.loads((folder.shards("docs", "train") / "manifest.json").read_text())
    assert f'"end_of_text": {ids["<eos>"]}' in json.dumps(shards)
    model = context.load_model("base")
    document = context.tok.encode("River stone.")
    found = token_nats(model, [document], context.control, 96)[0]
    stream = [ids["<bos>"], *document.tolist(), ids["<eos>"]]
    with torch.no_grad():
        hidden = Decoding(model)(torch.tensor([stream[:-1]]))
        log_probs = model.unembed(hidden[0]).log_softmax(-1)
    assert found == pytest.approx(-float(sum(log_probs[i, t] for i, t in enumerate(stream[1:]))), rel=1e-4)


def test_pretraining_continues_with_pieces_and_cut_characters(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for number in range(40):
        (tmp_path / "docs" / f"{number}.md").write_text("# River\n\n" + f"日本語の川 {number} stone. " * 40)
    text = (
        '[start]\nmodel = "given"\nengine = "tokenizers"\n[sources.docs]\npaths = ["docs/**/*.md"]\nshare = 1.0\n'
        "[data]\nrow_tokens = 96\n[pretrain]\ntokens = 2048\nbatch_rows = 4\nsample_tokens = 4\n"
        "[evaluate]\ntest_tokens = 512\nbootstrap_resamples = 20\n"
    )
    run, folder = project(tmp_path, PIECES, text), RunFolder(tmp_path / "run")
    prepare(run, folder)
    pretrain(run, folder)
    assert json.loads((folder.evaluation("base") / "rows.json").read_text())


def test_leaving_one_out_grows_the_embedding_of_each_reward_model(tmp_path: Path) -> None:
    tok = FOREIGN[LLAMA].write(tmp_path / "given")
    policy = GPT.from_pretrained(tmp_path / "given")
    ids = policy.special_ids
    chat = ChatTemplate.load(tmp_path / "given", tok)
    assert (ids.eos, chat.control.reward) == ((tok.special_tokens["<|im_end|>"],), policy.config.vocab_size)
    lines = [
        {"prompt": f"Question {n}?", "completions": [{"text": "River.", "rank": 1}, {"text": f"Stone {n}", "rank": 2}]}
        for n in range(3)
    ]
    path = tmp_path / "rankings.jsonl"
    path.write_text("".join(json.dumps({"id": str(n), **line}) + "\n" for n, line in enumerate(lines)))
    found = leave_one_out(RunConfig(), policy, tok, Rankings.read(path), chat)
    assert len(found.folds) == 3
    assert np.isfinite(found.accuracy.mean)
    assert policy.config.vocab_size == tok.vocab_size, "the policy is not changed"


def test_inspect_and_chat_use_the_models_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project(tmp_path, GEMMA)
    assert main(["data", "inspect", str(tmp_path / "mine.toml"), "--out", str(tmp_path / "none")]) == 0
    out = capsys.readouterr().out
    assert "the start model's tokenizer" in out
    assert "<bos><start_of_turn>" in out
    assert "<|user|>" not in out
    assert main(["chat", str(tmp_path / "given"), "--prompt", "Why?", "--max-tokens", "3", "--temperature", "0"]) == 0


def given_pieces(folder: Path, settings: str = "") -> RunConfig:
    """A project whose start model has a tokenizer as SentencePiece's; `settings` are of [start]."""
    return project(folder, PIECES, NO_TRAINING.replace("[sft]", f"{settings}\n[sft]"))


def test_a_tokenizer_that_the_native_engine_does_not_cover_needs_the_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = given_pieces(tmp_path)
    with pytest.raises(TokenizerUnsupported, match=r"Prepend.* with start\.engine = \"tokenizers\""):
        prepare(run, RunFolder(tmp_path / "run"))
    assert main(["data", "inspect", str(tmp_path / "mine.toml"), "--out", str(tmp_path / "none")]) != 0
    assert 'a run does so with start.engine = "tokenizers"' in capsys.readouterr().err


def test_the_engine_is_recorded_and_every_later_load_takes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, folder = given_pieces(tmp_path, 'engine = "tokenizers"'), RunFolder(tmp_path / "run")
    assert main(["data", "inspect", str(tmp_path / "mine.toml"), "--out", str(folder.root)]) == 0
    assert "the start model's tokenizer" in capsys.readouterr().out
    prepare(run, folder)
    assert json.loads((folder.tokenizer / CONTROL_FILE).read_text())["engine"] == "tokenizers"
    assert type(run_tokenizer(folder)) is HfTokenizer
    assert type(StageContext.of(run, folder).tok) is HfTokenizer
    assert main(["data", "inspect", str(tmp_path / "mine.toml"), "--out", str(folder.root)]) == 0
    assert "the run's tokenizer" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "given")
    prepare(run, folder)


def test_the_engine_of_a_model_is_that_of_its_run(tmp_path: Path) -> None:
    run, folder = given_pieces(tmp_path, 'engine = "tokenizers"'), RunFolder(tmp_path / "run")
    prepare(run, folder)
    assert engine_of(folder.model("base"), None) == "native", "not in a run"
    (folder.root / "run.toml").write_text(dump(run))
    assert engine_of(folder.model("base"), None) == "tokenizers"
    assert engine_of(folder.model("rl/seed_1"), None) == "tokenizers"
    assert engine_of(folder.model("base"), "native") == "native"
    assert engine_of(tmp_path / "given", None) == "native"
    assert main(["chat", str(folder.root), "--prompt", "Why?", "--max-tokens", "2"]) == 0


def test_a_base_model_without_a_template_is_asked_in_the_runs_format(tmp_path: Path) -> None:
    project(tmp_path, LLAMA)
    without_template(tmp_path / "given")
    (tmp_path / "mine.toml").write_text(NO_TRAINING.replace("[sft]", 'chat = "chatml"\n[sft]'))
    run, folder = load(tmp_path / "mine.toml"), RunFolder(tmp_path / "run")
    prepare(run, folder)
    (folder.root / "run.toml").write_text(dump(run))
    assert main(["chat", str(folder.root), "--prompt", "Why?", "--max-tokens", "2"]) == 0


def test_a_run_cannot_take_another_engine_later(tmp_path: Path) -> None:
    run, folder = project(tmp_path, LLAMA), RunFolder(tmp_path / "run")
    prepare(run, folder)
    other = replace(run, start=replace(run.start, engine="tokenizers"))
    with pytest.raises(ForeignArtifact, match=r"was not taken from start\.model"):
        prepare(other, folder)


def test_the_engine_is_of_a_start_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"start\.engine = \"tokenizers\" .* start\.model, which is not set"):
        StartConfig(engine="tokenizers")
    with pytest.raises(ConfigError, match=r"start\.engine = fast|start\.engine = 'fast'"):
        StartConfig(model="given", engine="fast")  # type: ignore[arg-type]
    run = given_pieces(tmp_path, 'engine = "tokenizers"')
    Tokenizer.train(["to be"], 300, special_tokens=list(CONTROL_TOKENS)).save(tmp_path / "given" / "tokenizer.json")
    with pytest.raises(ConfigError, match=r"has this package's control tokens, .* leave start\.engine out"):
        prepare(run, RunFolder(tmp_path / "run"))


def test_plan_knows_the_shape_of_a_foreign_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project(tmp_path, GEMMA, SMALL)
    assert main(["plan", str(tmp_path / "mine.toml")]) == 0
    out = capsys.readouterr().out
    parameters = sum(p.numel() for p in GPT.from_pretrained(tmp_path / "given").parameters())
    assert f"{parameters:,}" in out or "Gemma2" in out


def test_an_end_that_is_no_special_token_is_an_error(tmp_path: Path) -> None:
    tok = FOREIGN[LLAMA].write(tmp_path / "given")
    chat = ChatTemplate.named("chatml", tok).for_model(ModelIds(eos=(20,)))
    assert _end_token(chat, of_chats=True) == "<|im_end|>"
    unnamed = chat.with_control(replace(chat.control, ends=(20,)))
    with pytest.raises(InvalidArgument, match=r"the id 20, which ends texts .* is no special token"):
        _end_token(unnamed, of_chats=True)
