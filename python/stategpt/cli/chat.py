"""`stategpt chat`: asks a trained model, in conversations that grow, branch and go back."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from stategpt.cli.chat_commands import AnswerPrinter, Branches, answer, respond
from stategpt.cli.commands import add
from stategpt.cli.constraint_options import add_constraint, constraint_of
from stategpt.cli.model_source import add_engine, load_engine
from stategpt.config.stage_names import STAGES, stage_of_folder
from stategpt.errors import ConfigError, NoChatTemplate, StategptError
from stategpt.hub import local_path
from stategpt.visible_text import visible_line

if TYPE_CHECKING:
    from stategpt.cli.chat_session import Conversation, Form
    from stategpt.generate import Completion, Engine

FOLDERS = tuple(stage.folder for stage in reversed(STAGES) if stage.chat)
"""Folders of the stages with a model to chat with, the last stage first."""

_DEFAULT_TEMPERATURE, _DEFAULT_MAX_TOKENS = 0.7, 48
_DETAILS = """A conversation grows with each question. Where the chat template holds one question, or the run trained on
single questions only, each question is a separate conversation. A base model only continues documents: its prompt is
a few questions with answers, then yours; with --raw it continues your text. Type /help for retries and branches.

  stategpt chat runs/tiny
  stategpt chat runs/tiny --compare --prompt "What is a list?"
  stategpt chat runs/tiny --stage base --raw --prompt "def area(width, height):"
  stategpt chat models/SmolLM2-135M-Instruct --max-tokens 200 --schema city.json"""


@dataclass(frozen=True)
class Target:
    """The model to chat with: its folder, and its run if one was named."""

    model: Path
    run: Path | None
    stage: str


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = add(commands, "chat", execute, "chat with a model of a run, or with a saved model", _DETAILS)
    parser.add_argument("model", metavar="RUN_OR_MODEL", help="a run folder, a model folder, a .gguf file, or org/name")
    parser.add_argument("--stage", choices=FOLDERS, help="model of the run (default: that of the last finished stage)")
    add_engine(parser)
    parser.add_argument("--prompt", metavar="TEXT", help="answer one prompt and exit")
    parser.add_argument("--raw", action="store_true", help="no chat template: the model continues the text")
    parser.add_argument("--compare", action="store_true", help="every stage of the run answers --prompt")
    parser.add_argument(
        "--turns",
        choices=("auto", "several", "one"),
        default="auto",
        help="questions of a conversation (default: auto, several where template and training have them)",
    )
    add_constraint(parser, patterns=False)
    parser.add_argument("--temperature", type=float, default=_DEFAULT_TEMPERATURE, help="0 = greedy (default: 0.7)")
    parser.add_argument("--max-tokens", type=int, default=_DEFAULT_MAX_TOKENS, help="limit of an answer (default: 48)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sampling (default: 0)")


def execute(arguments: argparse.Namespace) -> int:
    """Answers one prompt, or texts typed line by line until end of input."""
    if arguments.compare:
        return _compare(arguments)
    target = find_target(arguments.model, arguments.stage)
    conversation = open_conversation(target, arguments)
    if arguments.prompt is not None:
        _answer_once(conversation, arguments.prompt)
        return 0
    print(f"{visible_line(str(target.model))}  (/help lists commands; an empty line or Ctrl-D ends)")
    if conversation.form.one_turn:
        print(f"(each question begins a new conversation: {conversation.form.one_turn})")
    return _converse(Branches(conversation))


def find_target(name: str | Path, stage: str | None) -> Target:
    """Finds the model that `name` (a run, a model folder, a GGUF file or a name on the Hub) and `stage` name.

    Raises:
        ConfigError: there is no such model; the message says what there is.
    """
    path = local_path(name)
    if (path / "run.toml").is_file():
        there = _finished(path)
        chosen = stage or (there[0] if there else "rl")
        if chosen not in there:
            found = f"it has {', '.join(there)}" if there else "no stage has finished yet"
            raise ConfigError(f"{path} has no {chosen} model; {found}")
        return Target(path / chosen / "model", path, chosen)
    if (path / "config.json").is_file() or (path.suffix.lower() == ".gguf" and path.is_file()):
        if stage == "base":
            raise ConfigError("--stage base needs the run folder: its example questions come from the run's corpus")
        return Target(path, None, stage or "sft")
    raise ConfigError(f"{path} is neither a run folder (run.toml) nor a saved model (config.json, .gguf)")


def open_conversation(target: Target, arguments: argparse.Namespace) -> Conversation:
    """Loads the model and begins a conversation without turns.

    Raises:
        NoChatTemplate: the model has none, and `--raw` was not given.
        ForeignArtifact: the base model of a run of an earlier version, whose corpus cannot be read.
        StategptError: as loading a model, settings of sampling and constraints.
    """
    from stategpt.cli.chat_session import Answering, Conversation

    if target.stage == "base" and target.run is not None and not arguments.raw:
        from stategpt.artifacts.measurements import refuse_earlier_layout

        refuse_earlier_layout(target.run)  # the prompt is made from the run's corpus
    spec = constraint_of(arguments.schema)
    engine = load_engine(target.model, arguments.engine)
    sampling = engine.sampling(temperature=arguments.temperature, seed=arguments.seed)
    form = _form(engine, target, arguments)
    return Conversation(engine, form, Answering(sampling, arguments.max_tokens, spec), count())


def _form(engine: Engine, target: Target, arguments: argparse.Namespace) -> Form:
    from stategpt.cli.chat_forms import FewShotForm, RawForm, chat_form

    few_shot_run = target.run if target.stage == "base" else None
    if (arguments.raw or few_shot_run is not None) and arguments.turns != "auto":
        raise ConfigError("--turns is of chat templates; a base model's questions and --raw have none")
    if arguments.raw:
        return RawForm()
    if few_shot_run is not None:
        return FewShotForm(engine, few_shot_run)
    if engine.chat is None:
        raise NoChatTemplate(f"{target.model} has no chat template; with --raw it continues texts")
    return chat_form(engine.chat, target.run, arguments.turns)


def _finished(run: Path) -> list[str]:
    """Folders of the stages of a run that have a model to chat with, the last stage first."""
    return [name for name in FOLDERS if (run / name / "model" / "config.json").is_file()]


def _compare(arguments: argparse.Namespace) -> int:
    """Prints the answer of each stage to one prompt, the first stage first; one model is in memory at a time."""
    run = Path(arguments.model)
    if arguments.prompt is None or arguments.stage is not None or arguments.turns != "auto":
        raise ConfigError("--compare asks every stage one prompt: give --prompt TEXT, no --stage and no --turns")
    if not (run / "run.toml").is_file():
        raise ConfigError(f"--compare needs a run folder, and {run} has no run.toml")
    there = _finished(run) or [FOLDERS[0]]  # find_target says that there is none
    for number, stage in enumerate(reversed(there)):
        conversation = open_conversation(find_target(run, stage), arguments)
        print(f"{'' if number == 0 else chr(10)}{stage} ({stage_of_folder(stage).title}):")
        _answer_once(conversation, arguments.prompt)
    return 0


def _answer_once(conversation: Conversation, prompt: str) -> None:
    def ask(show: AnswerPrinter) -> Completion:
        """Asks the only text."""
        return conversation.ask(prompt, show)

    answer(ask, conversation)
    conversation.close()


def _converse(branches: Branches) -> int:
    while True:
        try:
            line = input("> " if branches.number == 1 else f"{branches.number}> ")
        except (EOFError, KeyboardInterrupt):
            print()
            return 0
        if not line.strip():
            return 0
        try:
            respond(branches, line)
        except StategptError as error:  # a question that is too long: ask for the next one
            print(f"stategpt: {visible_line(str(error))}")
        except KeyboardInterrupt:  # Ctrl-C ends the answer; at the prompt it ends the conversation
            print("(interrupted)")
