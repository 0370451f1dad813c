"""`stategpt init`: writes a commented TOML file of a run from what a folder holds."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from stategpt.cli.commands import add
from stategpt.errors import ConfigError, StorageError
from stategpt.visible_text import visible_line


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    details = """What is found:
  text, Markdown, HTML, PDF, WARC     a source of documents for each folder
  JSONL, JSON, Parquet (.gz, .zst)    by the keys of the first records: conversations, rankings, prompts or documents
Nothing is copied or changed. Read the file, change what you like, then: stategpt plan FILE, stategpt run FILE."""
    parser = add(commands, "init", execute, "write a commented TOML file of a run from what a folder holds", details)
    parser.add_argument("folder", metavar="FOLDER", help="a folder with documents, chats, rankings")
    parser.add_argument("--out", metavar="FILE", help="the file to write (default: NAME OF THE FOLDER.toml)")
    parser.add_argument("--force", action="store_true", help="replace the file if it is there")


def execute(arguments: argparse.Namespace) -> int:
    """Writes the file and prints what was found."""
    folder = Path(arguments.folder)
    if not folder.is_dir():
        raise ConfigError(f"{visible_line(str(folder))} is not a folder; give the folder with your files")
    out = Path(arguments.out) if arguments.out else Path(f"{folder.resolve().name or 'mine'}.toml")
    if out.suffix != ".toml":
        raise ConfigError(f"{visible_line(str(out))}: the name of a run's file ends with .toml")
    if os.path.lexists(out) and not arguments.force:
        raise ConfigError(f"{visible_line(str(out))} is there already; give --force to replace it, or another --out")
    from stategpt.cli.found import look_into
    from stategpt.cli.starter import starter_text
    from stategpt.config.toml import load

    found = look_into(folder)
    text = starter_text(found, folder, out.absolute().parent)
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write {visible_line(str(out))} ({error.strerror}); choose another --out") from error
    run = load(out)  # what is written is a run
    for line in found.lines():
        print(line)
    print(f"{out}: {', '.join(run.stages)}. Next: stategpt plan {out}")
    return 0
