"""`stategpt explain`: shows what each artifact of a run was made from, from the corpus's bytes to the policy."""

from __future__ import annotations

import argparse

from stategpt.cli.commands import add
from stategpt.cli.settings import run_folder
from stategpt.errors import DataError


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    parser = add(commands, "explain", execute, "show the lineage of a run: what each artifact was made from")
    parser.add_argument("run", metavar="RUN", help="a run folder")
    parser.add_argument("--verify", action="store_true", help="read every file again and compare it with its hash")


def execute(arguments: argparse.Namespace) -> int:
    """Prints one block per artifact, parents first; with `--verify` also checks every file."""
    folder = run_folder(arguments.run)
    from stategpt.artifacts import Lineage  # numpy
    from stategpt.artifacts.measurements import refuse_earlier_layout, verify_logs

    refuse_earlier_layout(folder)
    lineage = Lineage.of(folder)
    if not lineage.nodes:
        raise DataError(f"{folder} has no published artifact yet; start it with `stategpt run {folder}`")
    print(lineage.text())
    if arguments.verify:
        from stategpt.evaluate.gates import read_gates

        lineage.verify(folder)
        logs = verify_logs(folder)
        read_gates(folder)  # and run.toml, whose fingerprint they keep
        shown = f"{len(lineage.nodes)} artifacts and {len(logs)} logs"
        print(f"\nverified: all files of {shown} have the recorded hashes")
    return 0
