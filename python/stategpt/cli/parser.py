"""The commands and their options."""

from __future__ import annotations

import argparse
import importlib.metadata

from stategpt.cli import chat, doctor, explain, plan, report, run, tokenizer

_DESCRIPTION = """Train a GPT assistant in the four stages of the talk "State of GPT": pretraining, supervised
fine-tuning, reward model, reinforcement learning; then use it."""


def _version() -> str:
    try:
        return importlib.metadata.version("stategpt")
    except importlib.metadata.PackageNotFoundError:
        return "from a source tree"


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(prog="stategpt", description=_DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"stategpt {_version()}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (run, plan, chat, report, tokenizer, explain, doctor):
        module.add_command(commands)
    return parser
