"""Settings on a command line (`--section.key value`), and the run that an argument names."""

from __future__ import annotations

import argparse
import difflib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from stategpt.config.checks import shown_key
from stategpt.config.presets import PRESETS
from stategpt.config.run import RunConfig
from stategpt.config.schema import nearest_settings
from stategpt.config.toml import Resolved, load, resolve
from stategpt.errors import ConfigError
from stategpt.recipes import RECIPES

_DOTTED = re.compile(r"--(?P<key>[A-Za-z_][\w-]*(?:\.[\w-]+)+)(?:=(?P<value>.*))?", re.DOTALL)
_ROOT = re.compile(r"--(?P<key>seed|name)(?:=(?P<value>.*))?", re.DOTALL)


def split_settings(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Separates `--section.key value`, `--section.key=value`, `--seed` and `--name` from the rest of a command line.

    This happens before argparse parses the rest, since argparse cannot tell which words are values of unknown options.

    Raises:
        ConfigError: a setting without a value.
    """
    settings: dict[str, str] = {}
    plain: list[str] = []
    rest = iter(words)
    for word in rest:
        match = _DOTTED.fullmatch(word) or _ROOT.fullmatch(word)
        if match is None:
            plain.append(word)
            continue
        value = match["value"] if match["value"] is not None else next(rest, None)
        if value is None:
            raise ConfigError(f"{shown_key(word)} needs a value: {shown_key(word)} VALUE")
        settings[match["key"].replace("-", "_")] = value
    return settings, plain


def find_run(name: str, settings: Mapping[str, str]) -> Resolved:
    """Returns the run that `name` means (a recipe, a TOML file or a run folder), with `settings` applied.

    Raises:
        ConfigError: `name` is none of them (names the nearest), or a setting is wrong.
        ForeignArtifact: `name` is the folder of a run of an earlier layout.
    """
    if name in RECIPES:
        return resolve(RECIPES[name](), settings)
    path = Path(name)
    if os.path.isdir(path):  # False also for a name too long for the file system
        path = path / "run.toml"
        if not os.path.lexists(path):
            raise ConfigError(
                f"{shown_key(name)} is a folder without a run.toml, so no run; give a recipe ({', '.join(RECIPES)})"
            )
        from stategpt.artifacts.measurements import refuse_earlier_layout  # numpy

        refuse_earlier_layout(path.parent)
    if path.suffix == ".toml" or os.path.lexists(path):
        return resolve(load(path), settings)
    raise unknown_run(name)


def unknown_run(name: str) -> ConfigError:
    """Returns the error for an argument that is no recipe, preset, file or folder."""
    recipes = ", ".join(RECIPES)
    if name in PRESETS:
        return ConfigError(
            f"{name} is a published shape, to plan only: `stategpt plan {name}`. To train give a recipe ({recipes}), "
            "a TOML file or a run folder"
        )
    names = [*RECIPES, *PRESETS]
    short = shown_key(name)  # the search takes quadratic time in the length of the name
    nearest = difflib.get_close_matches(short.lower(), names, n=1, cutoff=0.0)[0]
    return ConfigError(
        f"{short!r} is neither a recipe ({recipes}) nor a TOML file nor a run folder; nearest: {nearest}"
    )


def default_out(name: str, run: RunConfig) -> Path:
    """Returns the run folder to use without `--out`: the one that was named, else `runs/<name of the run>`."""
    return Path(name) if name not in RECIPES and os.path.isdir(name) else Path("runs") / run.name


def refuse_rest(arguments: argparse.Namespace, rest: Sequence[str], *, takes_settings: bool) -> None:
    """Exits with the command's usage where unknown arguments are left; suggests the nearest options.

    Args:
        takes_settings: the command accepts settings, so these are suggested too.

    Raises:
        SystemExit: 2, as argparse does for wrong usage.
    """
    if not rest:
        return
    parser: argparse.ArgumentParser = arguments.parser
    options = [word for word in rest if word.startswith("-") and len(word) > 1]
    if not options:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    word = options[0].partition("=")[0]
    known = [option for action in parser._actions for option in action.option_strings]
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.75)
    if not near and takes_settings:
        near = [f"--{setting}" for setting in nearest_settings(word.lstrip("-"), 3)]
    parser.error(f"unknown option {word}" + (f"; nearest: {', '.join(near)}" if near else ""))


def run_folder(name: str) -> Path:
    """Returns the run folder at `name`.

    Raises:
        ConfigError: no such folder, or a folder that is not a run's.
    """
    folder = Path(name)
    if not os.path.isfile(folder / "run.toml"):
        what = "has no run.toml" if os.path.isdir(folder) else "is not a folder"
        raise ConfigError(f"{shown_key(name)} {what}; give the folder of a run, the one named by `stategpt run --out`")
    return folder
