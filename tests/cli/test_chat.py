"""Chat: which model is meant, and how a conversation goes. Models are stood in for."""

import argparse
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from stategpt.cli import chat, chat_commands, main
from stategpt.errors import ConfigError, ContextOverflow
from stategpt.visible_text import visible


@dataclass
class Stub:
    """A conversation whose model repeats the question."""

    asked: list[tuple[str, int]]
    form: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(one_turn=""))

    def ask(self, text: str, show: Callable[[SimpleNamespace], None]) -> SimpleNamespace:
        self.asked.append((text, len(self.asked)))
        if text == "too long":
            raise ContextOverflow("the prompt is too long")
        for piece in (" ", "about", " ", text, "\n", " "):
            show(SimpleNamespace(text=piece))
            if text == "wait":
                raise KeyboardInterrupt
        return SimpleNamespace(reason="length" if text == "cut" else "end")

    def fills_context(self, completion: SimpleNamespace) -> bool:
        return False

    def close(self) -> None:
        pass


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run.toml").write_text("", encoding="utf-8")
    return tmp_path


def publish(run: Path, stage: str) -> Path:
    folder = run / stage / "model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    return folder


def test_last_stage_of_a_run_is_the_default(run: Path) -> None:
    base = publish(run, "base")
    assert chat.find_target(run, None) == chat.Target(base, run, "base")
    sft = publish(run, "sft")
    assert chat.find_target(run, None) == chat.Target(sft, run, "sft")
    rl = publish(run, "rl")
    assert chat.find_target(run, None) == chat.Target(rl, run, "rl")
    assert chat.find_target(run, "base") == chat.Target(base, run, "base")


def test_stage_that_is_not_there_yet_is_refused(run: Path) -> None:
    with pytest.raises(ConfigError, match="has no rl model; no stage has finished yet"):
        chat.find_target(run, None)
    publish(run, "base")
    with pytest.raises(ConfigError, match="has no rl model; it has base"):
        chat.find_target(run, "rl")


def test_saved_model_needs_no_run(run: Path) -> None:
    folder = publish(run, "sft")
    assert chat.find_target(folder, None) == chat.Target(folder, None, "sft")
    with pytest.raises(ConfigError, match="needs the run folder"):
        chat.find_target(folder, "base")
    (run / "model.GGUF").touch()
    assert chat.find_target(run / "model.GGUF", None) == chat.Target(run / "model.GGUF", None, "sft")
    for other in ("none", "run.toml"):
        with pytest.raises(ConfigError, match="neither a run folder"):
            chat.find_target(run / other, None)


@pytest.fixture
def asked(run: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    publish(run, "rl")
    questions: list[tuple[str, int]] = []
    monkeypatch.setattr(chat, "open_conversation", lambda target, arguments: Stub(questions))
    return questions


def arguments(run: Path, prompt: str | None) -> argparse.Namespace:
    return argparse.Namespace(model=str(run), stage=None, prompt=prompt, compare=False)


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """What is typed, until end of input."""
    left = iter(lines)

    def line(_: str) -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", line)


def test_prompt_is_answered_once(run: Path, asked: list[tuple[str, int]], capsys: pytest.CaptureFixture[str]) -> None:
    assert chat.execute(arguments(run, "cut")) == 0
    assert capsys.readouterr().out == "about cut ...\n"
    assert asked == [("cut", 0)]


def test_conversation_goes_on_after_an_error_and_ends_with_the_input(
    run: Path,
    asked: list[tuple[str, int]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    typed(monkeypatch, "one", "too long", "two")
    assert chat.execute(arguments(run, None)) == 0
    assert asked == [("one", 0), ("too long", 1), ("two", 2)]
    output = capsys.readouterr().out
    assert "about one\nstategpt: the prompt is too long\nabout two\n" in output


def test_what_a_model_says_reaches_the_terminal_as_text_only(
    run: Path, asked: list[tuple[str, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert chat.execute(arguments(run, "\x1b]0;owned\x07 \x9b31m \u202e\nand more")) == 0
    assert capsys.readouterr().out == "about \\x1b]0;owned\\x07 \\x9b31m \\u202e\nand more\n"


def test_ctrl_c_ends_an_answer_and_the_conversation_goes_on(
    run: Path,
    asked: list[tuple[str, int]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = iter(["wait", "one", ""])
    monkeypatch.setattr("builtins.input", lambda _: next(lines))
    assert chat.execute(arguments(run, None)) == 0
    assert "(interrupted)\nabout one\n" in capsys.readouterr().out


SOURCE = '''
def area(width, height):
    """Return the area of a rectangle."""
    return width * height


def name_of(thing):
    """Return the name of a thing."""
    return thing.name
'''


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a corpus and the same untrained model as base and rl."""
    pytest.importorskip("torch", reason="a model needs torch")
    from stategpt import recipes
    from stategpt.config import CONTROL_TOKENS, dump, override
    from stategpt.data.corpus import write_corpus
    from stategpt.data.sources import build_corpus
    from stategpt.model import GPT
    from stategpt.tokenizer import Tokenizer

    folder = tmp_path_factory.mktemp("run")
    sources = tmp_path_factory.mktemp("sources")
    for number in range(8):
        text = SOURCE.replace("rectangle", f"rectangle of kind {number}").replace("a thing", f"thing {number}")
        (sources / f"module_{number}.py").write_text(text, encoding="utf-8")
    run = override(recipes.smoke_cpu(str(sources)), {"tokenizer.vocab_size": 300})
    (folder / "run.toml").write_text(dump(run), encoding="utf-8")
    write_corpus(build_corpus(run.corpus), folder / "corpus")
    for stage in ("base", "rl"):
        model = folder / stage / "model"
        model.mkdir(parents=True)
        GPT(run.model).save_pretrained(model)
        Tokenizer.train([SOURCE], 300, special_tokens=CONTROL_TOKENS).save(model / "tokenizer.json")
    return folder


def test_commands_retry_go_back_and_switch_branches(
    untrained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "What is it?,/retry,/fork,And why?,/switch 1,/back,/branches,/switch 9,/new,/fly,//slash,/new,/branches"
    typed(monkeypatch, *lines.split(","), "/help", "/back", "/retry")
    words = ["chat", str(untrained), "--max-tokens", "2", "--turns", "several", "--temperature", "5"]
    assert main(words) == 0
    ours = re.compile(r"\(branch|\(took|[* ] \d  |stategpt:|/help")
    notes = [line for line in capsys.readouterr().out.splitlines() if ours.match(line)]
    assert notes == [
        "(branch 2, a copy of branch 1; /switch 1 returns to it)",
        "* 1  1 turn  What is it?",
        "  2  2 turns  And why?",
        "(took back: What is it?)",
        "* 1  0 turns",
        "  2  2 turns  And why?",
        "stategpt: /switch needs the number of a branch, 1 .. 2: /branches lists them",
        "stategpt: this conversation has no turns yet; type a text",
        "stategpt: /fly is no command; /help lists them",
        "(branch 3, a new conversation)",
        "  1  1 turn  /slash",
        "  2  2 turns  And why?",
        "* 3  0 turns",
        *[line for line in chat_commands.HELP.splitlines() if line.startswith("/he")],
        "stategpt: this conversation has no turns yet; type a text",
        "stategpt: this conversation has no turns yet; type a text",
    ]


def test_single_questions_are_said_to_be_separate_conversations(
    untrained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, "What is it?", "And why?", "/branches")
    assert main(["chat", str(untrained), "--max-tokens", "2"]) == 0
    told = capsys.readouterr().out
    assert "(each question begins a new conversation: this run's models are trained on single questions;" in told
    assert "* 1  1 turn  And why?" in told


def test_every_stage_answers_one_prompt_under_its_name(untrained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["chat", str(untrained), "--prompt", "What does `area` do?", "--max-tokens", "6"]
    alone = []
    for stage in ("base", "rl"):
        assert main([*words, "--stage", stage]) == 0
        alone.append(capsys.readouterr().out)
    assert main([*words, "--compare"]) == 0
    assert capsys.readouterr().out == (f"base (pretraining):\n{alone[0]}\nrl (reinforcement learning):\n{alone[1]}")


def test_raw_text_is_continued_without_a_template(untrained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from stategpt.generate import Engine
    from stategpt.model import GPT
    from stategpt.tokenizer import Tokenizer

    folder = untrained / "rl" / "model"
    for chosen in ([str(untrained)], [str(untrained), "--stage", "base"], [str(folder)]):
        words = ["chat", *chosen, "--raw", "--prompt", "def area(", "--max-tokens", "6", "--temperature", "0"]
        assert main(words) == 0
        place = untrained / "base" / "model" if "base" in chosen else folder
        engine = Engine(GPT.from_pretrained(place).eval(), Tokenizer.load(place / "tokenizer.json"))
        expected = engine.generate(["def area("], temperature=0, max_tokens=6)[0]
        assert capsys.readouterr().out == visible(expected.text.strip()) + " ..." * (expected.reason == "length") + "\n"


def test_an_answer_satisfies_a_schema_from_a_file_or_the_command_line(
    untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("llguidance", reason="constraints need llguidance")
    schema = {"enum": ["one", "two"]}
    (tmp_path / "schema.json").write_text(json.dumps(schema), encoding="utf-8")
    for given in (json.dumps(schema), str(tmp_path / "schema.json")):
        for stage in ("base", "rl"):
            assert main(["chat", str(untrained), "--stage", stage, "--prompt", "Which?", "--schema", given]) == 0
            assert json.loads(capsys.readouterr().out) in ("one", "two")
    (tmp_path / "schema.json").write_text('{"contains": 1', encoding="utf-8")
    wrong = ((str(tmp_path / "schema.json"), "schema.json"), ('{"not": {}}', "not"), ("none.json", "none"))
    for given, message in wrong:
        assert main(["chat", str(untrained), "--prompt", "Which?", "--schema", given]) == 2
        told = capsys.readouterr().err
        assert message in told
        assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--compare"], "give --prompt TEXT"),
        (["--compare", "--prompt", "x", "--stage", "rl"], "no --stage"),
        (["--compare", "--prompt", "x", "--turns", "one"], "no --turns"),
        (["--raw", "--turns", "one"], "--turns is of chat templates"),
        (["--stage", "base", "--turns", "several"], "--turns is of chat templates"),
        (["--turns", "several", "--stage", "sft"], "has no sft model"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    untrained: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["chat", str(untrained), *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["base", "rl"])
def test_a_real_model_answers_and_the_seed_decides(
    untrained: Path, stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["chat", str(untrained), "--stage", stage, "--prompt", "What does `area` do?", "--max-tokens", "6"]
    answers = []
    for seed in ("0", "0", "1"):
        assert main([*words, "--seed", seed]) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1] != answers[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prompt", "a\udcffb"], ""),
        (["--prompt", "x", "--temperature", "-1"], "temperature is -1"),
        (["--prompt", "x", "--temperature", "nan"], "temperature is nan"),
        (["--prompt", "x", "--max-tokens", "0"], "max_tokens is 0"),
        (["--prompt", "x", "--seed", "-1"], "seed is -1"),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    untrained: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["chat", str(untrained), *options]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"stategpt: {message}")
    assert told.count("\n") == 1


def test_a_prompt_beyond_the_context_is_an_error(untrained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", str(untrained), "--prompt", "word " * 400]) == 2
    assert "context" in capsys.readouterr().err
