"""`stategpt chat`: ask a trained model. Each question is answered by itself; the models know no dialogue."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stategpt.cli.commands import add
from stategpt.config.stage_names import STAGES
from stategpt.errors import ConfigError, StategptError
from stategpt.visible_text import visible, visible_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stategpt.generate import Completion, Engine

FOLDERS = tuple(stage.folder for stage in reversed(STAGES) if stage.chat)
"""Stages that leave a model to talk to, the last one first."""

_DEFAULT_TEMPERATURE, _DEFAULT_MAX_TOKENS = 0.7, 48

Answer = Callable[[str, int], "Completion"]
"""Answers a question; its number in this conversation picks the sample."""

Prompt = Callable[[str], "NDArray[np.uint32]"]
"""The token ids that a question becomes."""


@dataclass(frozen=True)
class Target:
    """What to talk to: a model folder, and the run it belongs to where one was named."""

    model: Path
    run: Path | None
    stage: str


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Joins the command line."""
    details = "a base model only continues documents; it is shown a few questions with answers, then yours"
    parser = add(commands, "chat", execute, "ask a model of a run, or a saved checkpoint", details)
    parser.add_argument("model", metavar="RUN_OR_CHECKPOINT", help="a run folder, or a folder with a saved model")
    parser.add_argument("--stage", choices=FOLDERS, help="model of a run (default: the last stage that is there)")
    parser.add_argument("--prompt", metavar="TEXT", help="answer this and leave")
    parser.add_argument(
        "--temperature", type=float, default=_DEFAULT_TEMPERATURE, help="0 = always the likeliest token"
    )
    parser.add_argument("--max-tokens", type=int, default=_DEFAULT_MAX_TOKENS, help="longest answer (default: 48)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other answers")


def execute(arguments: argparse.Namespace) -> int:
    """Answers one prompt, or prompts typed line by line until end of input."""
    target = find_target(Path(arguments.model), arguments.stage)
    answer = _answerer(target, arguments)
    if arguments.prompt is not None:
        print(_shown(answer(arguments.prompt, 0)))
        return 0
    print(f"{visible_line(str(target.model))}  (an empty line or Ctrl-D ends)")
    return _converse(answer)


def find_target(path: Path, stage: str | None) -> Target:
    """The model that a run folder or a checkpoint folder, and a stage, mean.

    Raises:
        ConfigError: nothing there to talk to; says what is.
    """
    if (path / "run.toml").is_file():
        there = [name for name in FOLDERS if (path / name / "model" / "config.json").is_file()]
        chosen = stage or (there[0] if there else "rl")
        if chosen not in there:
            found = f"it has {', '.join(there)}" if there else "no stage has finished yet"
            raise ConfigError(f"{path} has no {chosen} model; {found}")
        return Target(path / chosen / "model", path, chosen)
    if (path / "config.json").is_file():
        if stage == "base":
            raise ConfigError("--stage base needs the run folder: its example questions come from the run's corpus")
        return Target(path, None, stage or "sft")
    raise ConfigError(f"{path} is neither a run folder (run.toml) nor a saved model (config.json)")


def _answerer(target: Target, arguments: argparse.Namespace) -> Answer:
    from stategpt.generate import Engine
    from stategpt.model import GPT
    from stategpt.tokenizer import Tokenizer

    engine = Engine(GPT.from_pretrained(target.model).eval(), Tokenizer.load(target.model / "tokenizer.json"))
    if target.stage == "base" and target.run is not None:
        prompt_of, stop = _document_prompt(engine, target.run)
    else:
        prompt_of, stop = _chat_prompt(engine)

    def answer(question: str, turn: int) -> Completion:
        """Answers one question."""
        return engine.generate(
            [prompt_of(question)],
            temperature=arguments.temperature,
            max_tokens=arguments.max_tokens,
            seed=arguments.seed,
            stop=stop,
            first_stream=turn,
        )[0]

    return answer


def _chat_prompt(engine: Engine) -> tuple[Prompt, list[str]]:
    from stategpt.data import chat_prompt

    return (lambda question: chat_prompt(engine.tok, question)), []


def _document_prompt(engine: Engine, run: Path) -> tuple[Prompt, list[str]]:
    """The base model continues the document of examples that the run's evaluation used."""
    import numpy as np

    from stategpt.config import load
    from stategpt.data.corpus import read_corpus
    from stategpt.data.few_shot import STOP, choose_examples, few_shot_document

    config = load(run / "run.toml").evaluate
    train = [conversation.prompt() for conversation in read_corpus(run / "corpus").conversations["train"]]
    examples = choose_examples(train, config.few_shot_examples, config.seed)
    end_of_text = np.array([engine.control.end_of_text], dtype=np.uint32)

    def document(question: str) -> NDArray[np.uint32]:
        """Returns the few-shot document for a question."""
        return np.concatenate([end_of_text, engine.tok.encode(few_shot_document(examples, question))])

    return document, [STOP]


def _converse(answer: Answer) -> int:
    turn = 0
    while True:
        try:
            question = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return 0
        if not question:
            return 0
        try:
            print(_shown(answer(question, turn)))
        except StategptError as error:  # a question that is too long ends the answer, not the conversation
            print(f"stategpt: {visible_line(str(error))}")
        except KeyboardInterrupt:  # so does Ctrl-C; at the prompt it ends the conversation
            print("(interrupted)")
        turn += 1


def _shown(completion: Completion) -> str:
    # What a model says may hold anything its training text held: escape sequences, line ends without end.
    return visible(completion.text.strip()) + (" ..." if completion.reason == "length" else "")
