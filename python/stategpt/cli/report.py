"""`stategpt report`: renders a run's report again."""

from __future__ import annotations

import argparse

from stategpt.cli.commands import add
from stategpt.cli.settings import run_folder


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = add(commands, "report", execute, "render the report of a run, finished or not")
    parser.add_argument("run", metavar="RUN", help="a run folder")


def execute(arguments: argparse.Namespace) -> int:
    """Renders report/index.html from the files of the run folder and prints its path."""
    folder = run_folder(arguments.run)
    from stategpt.report import render  # matplotlib

    print(render(folder))
    return 0
