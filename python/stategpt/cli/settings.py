"""Settings on a command line: `--section.key value`, and the run that a word names."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from stategpt.config.checks import shown_key
from stategpt.config.presets import PRESETS
from stategpt.config.run import Run
from stategpt.config.toml import Resolved, load, resolve
from stategpt.errors import ConfigError
from stategpt.recipes import RECIPES

COMMANDS_WITH_SETTINGS = ("run", "plan")
_DOTTED = re.compile(r"--(?P<key>[A-Za-z_][\w-]*(?:\.[\w-]+)+)(?:=(?P<value>.*))?", re.DOTALL)
_ROOT = re.compile(r"--(?P<key>seed|name)(?:=(?P<value>.*))?", re.DOTALL)


def split_settings(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Takes `--section.key value`, `--section.key=value`, `--seed` and `--name` out of a command line.

    They are taken out before argparse sees the rest: it cannot know which words are values of options it has not met.

    Raises:
        ConfigError: a setting without a value.
    """
    if not words or words[0] not in COMMANDS_WITH_SETTINGS:
        return {}, list(words)
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
    """The run that `name` means (a recipe, a TOML file or a run folder), with `settings` applied.

    Raises:
        ConfigError: `name` is none of them (names the nearest), or a setting is wrong.
    """
    if name in RECIPES:
        return resolve(RECIPES[name](), settings)
    path = Path(name)
    try:
        if path.is_dir():
            path = path / "run.toml"
        known = path.suffix == ".toml" or path.exists()
    except (OSError, ValueError):  # a name too long for the file system
        known = False
    if known:
        return resolve(load(path), settings)
    raise unknown_run(name)


def unknown_run(name: str) -> ConfigError:
    """The error for a word that is no recipe, preset, file or folder."""
    names = [*RECIPES, *PRESETS]
    short = shown_key(name)  # the search takes time that grows with the square of the name
    nearest = difflib.get_close_matches(short.lower(), names, n=1, cutoff=0.0)[0]
    recipes = ", ".join(RECIPES)
    return ConfigError(
        f"{short!r} is neither a recipe ({recipes}) nor a TOML file nor a run folder; nearest: {nearest}"
    )


def default_out(name: str, run: Run) -> Path:
    """Where a run goes when nothing is said: the run folder that was named, else `runs/<name of the run>`."""
    return Path(name) if name not in RECIPES and os.path.isdir(name) else Path("runs") / run.name


def run_folder(name: str) -> Path:
    """The run folder at `name`.

    Raises:
        ConfigError: no such folder, or a folder that is not a run's.
    """
    folder = Path(name)
    try:
        is_run, is_folder = (folder / "run.toml").is_file(), folder.is_dir()
    except (OSError, ValueError):  # a name too long for the file system
        is_run = is_folder = False
    if not is_run:
        what = "has no run.toml" if is_folder else "is not a folder"
        raise ConfigError(f"{shown_key(name)} {what}; give the folder of a run, the one named by `stategpt run --out`")
    return folder
