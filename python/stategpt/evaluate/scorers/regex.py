"""The scorer that gives 1 to a completion in which a regular expression matches, else 0.

The expression is the prompt's `meta["pattern"]`, or without one the option `pattern`. It is searched anywhere in the
completion; ^ and $ are its start and end. The syntax is that of the Rust crate `regex`: no references back and no
looking around, and so matching takes time linear in the text, whatever the expression. One that would take more than
1 MiB compiled, as a repetition of a large repetition does, is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stategpt import _native
from stategpt.data.records import Prompt
from stategpt.errors import ConfigError, InvalidArgument, ScorerError
from stategpt.evaluate.prompt_fields import place_of
from stategpt.evaluate.scorers import ScorerContext, Scores

if TYPE_CHECKING:
    from stategpt.generate import Completion

OPTIONS = ("pattern",)


class Matches:
    """1 where the pattern is found, else 0."""

    def __init__(self, pattern: str | None = None) -> None:
        self.pattern = pattern
        self._compiled: dict[str, _native.LinearPattern] = {}

    def scores(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """1 or 0. Raises ScorerError: a prompt has no pattern, or one that cannot be compiled."""
        pairs = zip(prompts, completions, strict=True)
        return Scores(np.array([self._of(prompt).is_found(each.text) for prompt, each in pairs], dtype=np.float32))

    def _of(self, prompt: Prompt) -> _native.LinearPattern:
        pattern = prompt.meta.get("pattern", self.pattern)
        if not isinstance(pattern, str):
            raise ScorerError(
                f'regex: {place_of(prompt)} has no text as meta["pattern"]; give it, or the option pattern'
            )
        try:
            return self.compiled(pattern)
        except InvalidArgument as error:
            raise ScorerError(f"regex: the pattern {pattern!r:.80} of {place_of(prompt)}: {error}") from error

    def compiled(self, pattern: str) -> _native.LinearPattern:
        """The pattern, compiled once. Raises InvalidArgument: it is no regular expression, or too large."""
        if pattern not in self._compiled:
            self._compiled[pattern] = _native.LinearPattern(pattern)
        return self._compiled[pattern]


def build(context: ScorerContext) -> Matches:
    """With the options of the run. Raises ConfigError: `pattern` is no regular expression."""
    scorer = Matches(context.options.get("pattern"))
    if scorer.pattern is not None:
        try:
            scorer.compiled(scorer.pattern)
        except InvalidArgument as error:
            raise ConfigError(f"regex: the option pattern = {scorer.pattern!r:.80}: {error}") from error
    return scorer
