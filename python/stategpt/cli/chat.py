"""`stategpt chat`: asks a trained model. Each question is a new conversation; the models are not trained on more."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stategpt.cli.commands import add
from stategpt.cli.model_source import add_engine, engine_of
from stategpt.config.stage_names import STAGES
from stategpt.errors import ConfigError, StategptError
from stategpt.visible_text import visible, visible_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stategpt.data import ChatTemplate
    from stategpt.generate import Completion, Engine
    from stategpt.tokenizer import AnyTokenizer

FOLDERS = tuple(stage.folder for stage in reversed(STAGES) if stage.chat)
"""Folders of the stages with a model to chat with, the last stage first."""

_DEFAULT_TEMPERATURE, _DEFAULT_MAX_TOKENS = 0.7, 48

Answer = Callable[[str, int], "Completion"]
"""Answers a question; its number in this conversation selects the random numbers."""

Prompt = Callable[[str], "NDArray[np.uint32]"]
"""Encodes a question as the prompt's token ids."""


@dataclass(frozen=True)
class Target:
    """The model to chat with: its folder, and its run if one was named."""

    model: Path
    run: Path | None
    stage: str


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    details = "A base model only continues documents, so its prompt is a few questions with answers, then yours."
    parser = add(commands, "chat", execute, "chat with a model of a run, or with a saved model", details)
    parser.add_argument("model", metavar="RUN_OR_MODEL", help="a run folder, or a folder with a saved model")
    parser.add_argument("--stage", choices=FOLDERS, help="model of the run (default: that of the last finished stage)")
    add_engine(parser)
    parser.add_argument("--prompt", metavar="TEXT", help="answer one prompt and exit")
    parser.add_argument("--temperature", type=float, default=_DEFAULT_TEMPERATURE, help="0 = greedy (default: 0.7)")
    parser.add_argument("--max-tokens", type=int, default=_DEFAULT_MAX_TOKENS, help="limit of an answer (default: 48)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sampling (default: 0)")


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
    """Finds the model that `path` (a run folder or a model folder) and `stage` name.

    Raises:
        ConfigError: there is no such model; the message says what there is.
        ForeignArtifact: the base model of a run of an earlier version, whose corpus cannot be read.
    """
    if (path / "run.toml").is_file():
        there = [name for name in FOLDERS if (path / name / "model" / "config.json").is_file()]
        chosen = stage or (there[0] if there else "rl")
        if chosen not in there:
            found = f"it has {', '.join(there)}" if there else "no stage has finished yet"
            raise ConfigError(f"{path} has no {chosen} model; {found}")
        if chosen == "base":  # its prompt is made from the run's corpus
            from stategpt.artifacts.measurements import refuse_earlier_layout

            refuse_earlier_layout(path)
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

    tok = Tokenizer.load(target.model / "tokenizer.json", engine_of(target.model, arguments.engine))
    engine = Engine(GPT.from_pretrained(target.model).eval(), tok, _template(target, tok))
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


def _template(target: Target, tok: AnyTokenizer) -> ChatTemplate | None:
    """The chat format of the run, or the template of another model's folder; None where the tokenizer is this
    package's.
    """
    from stategpt.artifacts.run_folder import RunFolder
    from stategpt.data import ChatTemplate
    from stategpt.data.control_ids import has_own_block
    from stategpt.stages.chat_format import run_chat

    if target.run is not None:  # a base model's folder is as it came, perhaps without a template
        return run_chat(RunFolder(target.run), tok)
    return None if has_own_block(tok) else ChatTemplate.load(target.model, tok)


def _chat_prompt(engine: Engine) -> tuple[Prompt, list[str]]:
    chat = engine.chat
    assert chat is not None  # this package's, or that of the folder
    return chat.prompt, []


def _document_prompt(engine: Engine, run: Path) -> tuple[Prompt, list[str]]:
    """The base model continues the few-shot document that the run's evaluation used."""
    import numpy as np

    from stategpt.config import load
    from stategpt.data.corpus import read_corpus
    from stategpt.data.few_shot import STOP, choose_examples, few_shot_document

    config = load(run / "run.toml").evaluate
    train = [conversation.prompt() for conversation in read_corpus(run / "corpus").conversations["train"]]
    examples = choose_examples(train, config.few_shot_examples if train else 0, config.seed)
    begin = np.array([engine.control.document_begin], dtype=np.uint32)

    def document(question: str) -> NDArray[np.uint32]:
        """Returns the few-shot document for a question."""
        return np.concatenate([begin, engine.tok.encode(few_shot_document(examples, question))])

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
        except StategptError as error:  # a question that is too long: ask for the next one
            print(f"stategpt: {visible_line(str(error))}")
        except KeyboardInterrupt:  # Ctrl-C ends the answer; at the prompt it ends the conversation
            print("(interrupted)")
        turn += 1


def _shown(completion: Completion) -> str:
    # A model may produce anything its training text held: escape sequences, any number of line ends.
    return visible(completion.text.strip()) + (" ..." if completion.reason == "length" else "")
