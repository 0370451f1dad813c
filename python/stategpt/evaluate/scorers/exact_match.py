"""The scorer that gives 1 to a completion that equals the prompt's reference answer, else 0.

Both texts are compared in Unicode normalization form C, without white space at their ends, each run of white space
inside as one space. Options:

    ignore      what else does not matter, separated by commas: case, punctuation. With punctuation, characters of the
                Unicode categories P (and the white space that is left at the ends) are removed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stategpt.data.records import Prompt
from stategpt.errors import ConfigError
from stategpt.evaluate.prompt_fields import reference_of
from stategpt.evaluate.scorers import ScorerContext, Scores

if TYPE_CHECKING:
    from stategpt.generate import Completion

OPTIONS = ("ignore",)
_IGNORED = ("case", "punctuation")


class ExactMatch:
    """1 for the reference answer, 0 for any other text."""

    def __init__(self, ignore: frozenset[str] = frozenset()) -> None:
        self.ignore = ignore

    def scores(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """1 or 0. Raises ScorerError: a prompt has no reference."""
        pairs = zip(prompts, completions, strict=True)
        equal = [self.normal(each.text) == self.normal(reference_of(prompt, "exact_match")) for prompt, each in pairs]
        return Scores(np.array(equal, dtype=np.float32))

    def normal(self, text: str) -> str:
        """The form of a text that is compared."""
        text = unicodedata.normalize("NFC", text)
        if "case" in self.ignore:
            text = unicodedata.normalize("NFC", text.casefold())
        if "punctuation" in self.ignore:
            text = "".join(each for each in text if not unicodedata.category(each).startswith("P"))
        return " ".join(text.split())


def build(context: ScorerContext) -> ExactMatch:
    """With the options of the run. Raises ConfigError: `ignore` names something else."""
    given = [name.strip() for name in context.options.get("ignore", "").split(",") if name.strip()]
    unknown = [name for name in given if name not in _IGNORED]
    if unknown:
        raise ConfigError(f"exact_match cannot ignore {unknown[0]!r:.60}; it can ignore {', '.join(_IGNORED)}")
    return ExactMatch(frozenset(given))
