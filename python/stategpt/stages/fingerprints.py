"""Fingerprints of the parts of a run: the settings that decide each and the artifacts it is made from."""

from __future__ import annotations

from collections.abc import Sequence

from stategpt.artifacts import fingerprint
from stategpt.config import RunConfig
from stategpt.config.parts import deciding


def part_fingerprint(run: RunConfig, part: str, parents: Sequence[str] = ()) -> str:
    """Fingerprint of a part of the run: the settings that decide it (`config.parts`) and the artifacts it is made from.

    How often is logged and saved and into how many micro-batches a step is cut is not in it: the loop's checkpoints
    resume alike whatever these are, up to float rounding for the last.
    """
    return fingerprint({"part": part, "settings": deciding(run, part), "parents": list(parents)})
