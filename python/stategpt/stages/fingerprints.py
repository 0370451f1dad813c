"""Fingerprints of the parts of a run: the settings that decide each and the artifacts it is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stategpt.artifacts import fingerprint
from stategpt.config import RunConfig
from stategpt.config.parts import deciding
from stategpt.data.user_corpus import function_digests
from stategpt.user_functions import source_digest


def part_fingerprint(run: RunConfig, part: str, parents: Sequence[str] = ()) -> str:
    """Fingerprint of a part of the run: the settings that decide it (`config.parts`) and the artifacts it is made from.

    How often is logged and saved and into how many micro-batches a step is cut is not in it: the loop's checkpoints
    resume alike whatever these are, up to float rounding for the last. Where a function of the user's (a scorer, a
    filter, a finder of personal data) is among the settings, the content of its source file is in it.
    """
    settings = deciding(run, part)
    sources = scorer_sources(settings)
    if "curate.filters" in settings:
        sources |= function_digests(run)
    named = {"function_sources": sources} if sources else {}
    return fingerprint({"part": part, "settings": settings, "parents": list(parents), **named})


def scorer_sources(settings: Mapping[str, Any]) -> dict[str, str]:
    """Digest of the source file of each scorer of the user's that settings (dotted key -> value) name, by setting and
    name: "rl.scorer = rules:score".
    """
    named = {key: value for key, value in settings.items() if key.endswith(".scorer") and ":" in str(value)}
    return {f"{key} = {name}": source_digest(name) for key, name in named.items()}
