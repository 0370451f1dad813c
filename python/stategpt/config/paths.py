"""Settings that name files: relative paths in a run's file are relative to the folder that holds it.

A resolved run has absolute paths, so that its folder can be continued from anywhere.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stategpt.config.run import RunConfig
from stategpt.config.schema import flatten, general_key, rebuild
from stategpt.hub import is_hub_name

PATTERNS = (
    "sources.NAME.paths",
    "sft.data",
    "rankings.data",
    "rankings.prompts",
    "rl.prompts",
    "evaluate.prompts",
    "classify.data",
)
"""Settings whose values are files, as paths or globs."""
MODELS = ("start.model",)
"""Settings whose value is a folder, a file, or a name on the Hub, which stays as it is."""
FILES = ("serve.api_keys",)
"""Settings whose value is one file."""


def rooted_settings(settings: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """The settings (dotted key -> value) with every relative path below `base`, a home folder's `~` replaced."""
    rooted = dict(settings)
    for key, value in settings.items():
        general = general_key(key)
        if general in PATTERNS:
            rooted[key] = tuple(_below(pattern, glob.escape(str(base))) for pattern in value)
        elif (
            (general in FILES and value)
            or (general in MODELS and value and not is_hub_name(value, base))
            or (general == "start.chat" and value.endswith((".toml", ".jinja")))
        ):
            rooted[key] = _below(value, str(base))
    return rooted


def rooted(run: RunConfig, base: Path | None = None) -> RunConfig:
    """A run with absolute paths; relative ones are relative to `base`, by default the working folder."""
    before = flatten(run)
    after = rooted_settings(before, base or Path.cwd())
    changes = {key: value for key, value in after.items() if value != before[key]}
    return rebuild(run, changes) if changes else run


def _below(path: str, base: str) -> str:
    return os.path.join(base, os.path.expanduser(path))
