"""The table of commands, and the parser built from it."""

from __future__ import annotations

import argparse
import importlib.metadata
from collections.abc import Sequence

from stategpt.cli import (
    chat,
    data,
    doctor,
    endpoint,
    explain,
    export,
    generate,
    import_,
    init,
    plan,
    report,
    run,
    score,
    serve,
    tokenizer,
)

_DESCRIPTION = """Train a GPT assistant in the four stages of the talk "State of GPT": pretraining, supervised
fine-tuning, reward model, reinforcement learning; then use it."""

COMMANDS = {
    module.__name__.rpartition(".")[2].rstrip("_"): module  # a word of Python has a "_" behind it
    for module in (
        *(run, plan, init, data, chat, generate, score, serve, report, tokenizer),
        *(import_, export, endpoint, explain, doctor),
    )
}
"""Each command's module by the command's name, in the order of the help.

A module defines `add_command(commands)`, and may set `TAKES_SETTINGS = True` (it accepts `--section.key value`) and
`TRAINS = True` (it is launched with the allocator tuned for training, and resumes).
"""


def command_flag(words: Sequence[str], flag: str) -> bool:
    """Returns whether the command that `words` begins with sets `flag`."""
    return bool(words) and getattr(COMMANDS.get(words[0]), flag, False) is True


def _version() -> str:
    try:
        return importlib.metadata.version("stategpt")
    except importlib.metadata.PackageNotFoundError:
        return "from a source tree"


def build_parser() -> argparse.ArgumentParser:
    """Builds the parser of the whole command line."""
    parser = argparse.ArgumentParser(prog="stategpt", description=_DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"stategpt {_version()}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in COMMANDS.values():
        module.add_command(commands)
    return parser
