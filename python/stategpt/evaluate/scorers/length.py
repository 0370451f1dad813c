"""The scorer that prefers completions of one length: 1 at the target, falling evenly to 0 at nothing and at twice it.

    score = max(0, 1 - |n - target| / target)          n: length of the completion without white space at its ends

Options:

    target      the length that gets 1; must be given
    unit        words (runs without white space, the default) or characters (code points)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from stategpt.data.records import Prompt
from stategpt.errors import ConfigError
from stategpt.evaluate.scorers import ScorerContext, Scores

if TYPE_CHECKING:
    from stategpt.generate import Completion

OPTIONS = ("target", "unit")
Unit = Literal["words", "characters"]


class LengthTarget:
    """1 at `target` units, 0 at none and at twice as many."""

    def __init__(self, target: int, unit: Unit = "words") -> None:
        self.target, self.unit = target, unit

    def scores(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """From 0 to 1."""
        lengths = [self._length(each.text) for each in completions]
        distance_S = np.abs(np.array(lengths, dtype=np.float64) - self.target)
        return Scores(np.maximum(0, 1 - distance_S / self.target).astype(np.float32))

    def _length(self, text: str) -> int:
        return len(text.split()) if self.unit == "words" else len(text.strip())


def build(context: ScorerContext) -> LengthTarget:
    """With the options of the run. Raises ConfigError: no target, or one that is no whole number from 1 on."""
    target, unit = context.options.get("target", ""), context.options.get("unit", "words")
    if not (target.isascii() and target.isdigit() and len(target) < 10 and int(target) > 0):
        raise ConfigError(f"length: the option target = {target!r:.60}; give a whole number of 1 or more")
    if unit not in ("words", "characters"):
        raise ConfigError(f"length: the option unit = {unit!r:.60}; it is words or characters")
    return LengthTarget(int(target), cast("Unit", unit))
