"""`stategpt plan`: estimates what a run, or a model of the talk's two tables, costs. Trains and measures nothing."""

from __future__ import annotations

import argparse
import os
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from stategpt.cli.commands import SETTINGS_HELP, add, recipes_help
from stategpt.cli.plan_text import preset_text, run_text
from stategpt.cli.settings import find_run
from stategpt.cli.survey import expecting, lacking, survey
from stategpt.config.corpus import CorpusConfig
from stategpt.config.paths import rooted
from stategpt.config.planner import Assumptions, plan
from stategpt.config.presence import is_own
from stategpt.config.presets import PRESETS, Hardware, plan_preset
from stategpt.config.schema import hints_of
from stategpt.config.toml import Resolved, dump
from stategpt.errors import ConfigError
from stategpt.json_reader import read_json
from stategpt.machine import memory_bytes
from stategpt.recipes import RECIPES
from stategpt.shown_fields import field_docs

TAKES_SETTINGS = True
Options = TypeVar("Options", Assumptions, Hardware)


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the command line."""
    presets = "presets of the talk's tables:\n  " + "\n  ".join(
        ", ".join(name for name in PRESETS if name.startswith(family)) for family in ("gpt3", "llama")
    )
    details = f"{recipes_help()}\n\n{presets}\n\n{SETTINGS_HELP}"
    parser = add(
        commands, "plan", execute, "estimate what a run costs: parameters, tokens, FLOPs, memory, time", details
    )
    parser.add_argument("recipe", metavar="RECIPE", help="a recipe, a preset, a TOML file or a run folder")
    parser.add_argument(
        "--toml", action="store_true", help="print the resolved run.toml, each setting with its meaning"
    )
    _add_options(parser.add_argument_group("assumptions about a run's machine and corpus"), Assumptions)
    _add_options(parser.add_argument_group("assumptions about a preset's machine"), Hardware)


def execute(arguments: argparse.Namespace) -> int:
    """Prints the plan."""
    if arguments.recipe in PRESETS:
        _refuse_settings(arguments)
        print(preset_text(plan_preset(PRESETS[arguments.recipe], _options(arguments, Hardware))))
        return 0
    resolved = find_run(arguments.recipe, arguments.settings)
    if arguments.toml:
        print(dump(resolved.run), end="")
    else:
        folder = None if arguments.recipe in RECIPES else Path(arguments.recipe)
        if is_own(resolved.run):
            _print_own(resolved, _options(arguments, Assumptions))
            return 0
        found, assumed = corpus_found(resolved.run.corpus, folder, _options(arguments, Assumptions))
        print(run_text(plan(resolved.run, assumed), resolved, found, memory_bytes()))
    return 0


def _print_own(resolved: Resolved, assumed: Assumptions) -> None:
    """Prints the plan of a run on a user's files: what they hold first, and what is missing last."""
    run = rooted(resolved.run)
    found = survey(run)
    planned = plan(run, expecting(run, found, assumed))
    shown = [(each.setting, str(each)) for each in found]
    print(run_text(planned, resolved, shown, memory_bytes(), corpus_title="your files (sizes, and the first records)"))
    for sentence in lacking(run, found):
        print(f"missing: {sentence}")


def corpus_found(
    config: CorpusConfig, folder: Path | None, assumed: Assumptions
) -> tuple[list[tuple[str, str]], Assumptions]:
    """Returns a description of the corpus at `config.paths`, and `assumed` updated with what is known of the corpus.

    Where `folder` is a run that has read its corpus, the number of training conversations is known.

    Raises:
        ConfigError: `corpus.source` names no source.
        CorpusError: the corpus is missing, cannot be listed, or holds nothing to read.
    """
    from stategpt.data.sources import describe_corpus, expected_corpus, source_names

    statistics = folder / "corpus" / "statistics.json" if folder else None
    if statistics and os.path.isfile(statistics):
        counted = field_of(read_json(statistics), "conversations", "train")
        return [], assumed.expecting({"conversations": counted if isinstance(counted, int) else 0})
    described = describe_corpus(config) if config.source and config.paths else []
    if not config.source:
        described = [("source", f"not set; `stategpt run` needs corpus.source, one of {', '.join(source_names())}")]
    return described, assumed.expecting(expected_corpus(config))


def field_of(data: Any, *keys: str) -> Any:
    """Returns `data[key]...`, or None where a level is no mapping or has no such key."""
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _refuse_settings(arguments: argparse.Namespace) -> None:
    if arguments.settings or arguments.toml:
        given = ", ".join(f"--{key}" for key in arguments.settings) or "--toml"
        raise ConfigError(f"{given} does not apply to {arguments.recipe}: presets are published shapes, not runs")


def _add_options(group: argparse._ArgumentGroup, options: type[Assumptions] | type[Hardware]) -> None:
    docs = field_docs(options)
    hints: dict[str, Any] = hints_of(options)
    for field in fields(options):
        shown = f"{field.default:g}" if isinstance(field.default, float) else f"{field.default}"
        group.add_argument(
            "--" + field.name.replace("_", "-"),
            type=hints[field.name],
            metavar="X" if hints[field.name] is str else "N",
            help=f"{docs.get(field.name, '').rstrip('.')} (default: {shown})".replace("%", "%%"),
        )


def _options(arguments: argparse.Namespace, options: type[Options]) -> Options:
    given = {field.name: getattr(arguments, field.name) for field in fields(options)}
    return options(**{name: value for name, value in given.items() if value is not None})
