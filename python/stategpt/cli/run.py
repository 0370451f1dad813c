"""`stategpt run`: the stages of a recipe or of a file, from raw text to the RLHF model and its report."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from stategpt.cli.commands import SETTINGS_HELP, add, recipes_help
from stategpt.cli.settings import default_out, find_run
from stategpt.config.stage_names import STAGE_OF

TAKES_SETTINGS = TRAINS = True


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    summary = "train the stages of a run, or resume the run in a folder"
    parser = add(commands, "run", execute, summary, f"{recipes_help()}\n\n{SETTINGS_HELP}")
    parser.add_argument("recipe", metavar="RECIPE", help="a recipe, a TOML file or a run folder")
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="run folder (default: runs/NAME of the run, or of its TOML file)",
    )
    parser.add_argument("--until", metavar="STAGE", default="", help=f"stop after this stage: {', '.join(STAGE_OF)}")
    parser.add_argument(
        "--from", dest="first", metavar="STAGE", default="", help="begin at this stage; the earlier ones must be there"
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 if a gate that the recipe requires fails")


def execute(arguments: argparse.Namespace) -> int:
    """Runs the stages; returns 1 with `--check` if a required gate failed."""
    config = find_run(arguments.recipe, arguments.settings).run
    out = Path(arguments.out) if arguments.out else default_out(arguments.recipe, config)
    from stategpt.pipeline import run  # torch: only once the settings are known to be right

    result = run(config, out, until=arguments.until, first=arguments.first)
    print(f"report: {result.report}")
    failed = [gate.name for gate in result.failed_gates]
    if arguments.check and failed:
        print(f"stategpt: --check: gates failed: {', '.join(failed)}; see {result.report}", file=sys.stderr)
        return 1
    return 0
