"""Adds a command to the command line, with the help that commands share."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable

from stategpt.recipes import RECIPES

Execute = Callable[[argparse.Namespace], int]
"""Executes a command and returns its exit code."""

SETTINGS_HELP = """settings:
  --SECTION.KEY VALUE    change any setting, e.g. --rl.beta 0.04 --pretrain.optim.learning_rate 2e-3
  --model.depth N        sets the size: width, heads, learning rates, batch and tokens follow unless given too
  --seed N, --name NAME  the run's seed and name
  `stategpt plan tiny_cpu --toml` lists every setting with its meaning."""


def add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    execute: Execute,
    summary: str,
    details: str = "",
) -> argparse.ArgumentParser:
    """Adds the parser of a command and returns it; `details` is printed unchanged below the options."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=details or None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(execute=execute, parser=parser)
    return parser


def recipes_help() -> str:
    """Returns one line per recipe, from its docstring."""
    lines = ["recipes:"]
    for name, recipe in RECIPES.items():
        told = " ".join((recipe.__doc__ or "").partition("\n\n")[0].split())
        lines += textwrap.wrap(f"{name:<12} {told}", 100, initial_indent="  ", subsequent_indent=" " * 15)
    return "\n".join(lines)
