"""`stategpt data`: builds, counts, shows and checks the data of a run, without training."""

from __future__ import annotations

import argparse
from pathlib import Path

from stategpt.cli.commands import SETTINGS_HELP, add
from stategpt.cli.settings import default_out, find_run
from stategpt.config.paths import rooted
from stategpt.config.presence import is_own
from stategpt.config.run import RunConfig
from stategpt.errors import ConfigError

TAKES_SETTINGS = True
_OUT = "run folder (default: runs/NAME of the run, or of its TOML file)"


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command and its subcommands to the command line."""
    parser = add(commands, "data", lambda _: 0, "build, count, show and check the data of a run, without training")
    inner = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    build = add(inner, "build", execute_build, "read, curate, split and publish the corpus of a run", SETTINGS_HELP)
    stats = add(inner, "stats", execute_stats, "count what a built corpus kept and left out, and show its lengths")
    inspect = add(inner, "inspect", execute_inspect, "show what the files of chats and rankings are read as")
    verify = add(inner, "verify", execute_verify, "check a built corpus, and that its input files are unchanged")
    for each in (build, stats, inspect, verify):
        each.add_argument("recipe", metavar="RUN", help="a TOML file, a recipe or a run folder")
        each.add_argument("--out", metavar="DIR", help=_OUT)
    inspect.add_argument("--examples", type=int, default=3, metavar="N", help="examples per input (default: 3)")


def _run_and_folder(arguments: argparse.Namespace) -> tuple[RunConfig, Path]:
    run = rooted(find_run(arguments.recipe, arguments.settings).run)
    return run, Path(arguments.out) if arguments.out else default_out(arguments.recipe, run)


def execute_build(arguments: argparse.Namespace) -> int:
    """Builds the corpus, or checks that it is there."""
    run, out = _run_and_folder(arguments)
    from stategpt.cli.data_stats import stats_text
    from stategpt.pipeline import build_data

    build_data(run, out)
    print(stats_text(out))
    return 0


def execute_stats(arguments: argparse.Namespace) -> int:
    """Prints the tables of a built corpus."""
    _, out = _run_and_folder(arguments)
    from stategpt.cli.data_stats import stats_text

    print(stats_text(out))
    return 0


def execute_inspect(arguments: argparse.Namespace) -> int:
    """Prints formats, counts and examples; writes nothing."""
    run, out = _run_and_folder(arguments)
    if not is_own(run):
        raise ConfigError(f"{run.name} reads corpus.source = {run.corpus.source!r}, which has no files to inspect")
    from stategpt.cli.data_inspect import inspect_run

    inspect_run(run, out, max(0, arguments.examples))
    return 0


def execute_verify(arguments: argparse.Namespace) -> int:
    """Checks every file of the corpus and compares the input files with those it was built from."""
    run, out = _run_and_folder(arguments)
    from stategpt.cli.data_stats import verify_data

    print(verify_data(out, run))
    return 0
