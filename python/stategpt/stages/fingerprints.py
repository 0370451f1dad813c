"""Fingerprints of the parts of a run: the settings that decide each and the artifacts it is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stategpt.artifacts import fingerprint
from stategpt.config import RunConfig
from stategpt.config.parts import deciding
from stategpt.user_functions import source_digest

_FUNCTIONS = ("curate.filters", "curate.pii_finder")
"""Settings besides scorers that name functions of the user's."""


def part_fingerprint(run: RunConfig, part: str, parents: Sequence[str] = ()) -> str:
    """Fingerprint of a part of the run: the settings that decide it (`config.parts`) and the artifacts it is made from.

    How often is logged and saved and into how many micro-batches a step is cut is not in it: the loop's checkpoints
    resume alike whatever these are, up to float rounding for the last. Where a function of the user's is among the
    settings, the content of its source file is in it.
    """
    settings = deciding(run, part)
    functions = function_sources(settings)
    sources = {"function_sources": functions} if functions else {}
    return fingerprint({"part": part, "settings": settings, "parents": list(parents), **sources})


def function_sources(settings: Mapping[str, Any]) -> dict[str, str]:
    """Digest of the source file of each function of the user's that settings (dotted key -> value) name, by setting and
    name: "rl.scorer = rules:score".
    """
    found = {}
    for key, value in settings.items():
        if key.endswith(".scorer") or key in _FUNCTIONS:
            for name in (value,) if isinstance(value, str) else value:
                if ":" in name:
                    found[f"{key} = {name}"] = source_digest(name)
    return found
