"""The scorer that gives 1 to a completion whose last number equals the last number of the reference answer, else 0.

A number is digits, with a sign directly before them ("-" or the minus sign; in "3-4" the sign belongs to no number),
commas between groups of three, and a decimal part after a full stop: 1,234.50 and -0.5. A decimal comma is not read as
one. Units, currencies and the percent sign are no part of a number: "50 %" is 50. Numbers are compared exactly, as
decimals, so 0.50 equals 0.5. A completion without a number gets 0. Options:

    tolerance   largest relative difference that still counts as equal, e.g. 0.01; by default 0
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

import numpy as np

from stategpt.data.records import Prompt
from stategpt.errors import ConfigError, ScorerError
from stategpt.evaluate.prompt_fields import place_of, reference_of
from stategpt.evaluate.scorers import ScorerContext, Scores

if TYPE_CHECKING:
    from stategpt.generate import Completion

OPTIONS = ("tolerance",)
_NUMBER = re.compile(
    "(?:(?<![0-9A-Za-z.,])[-+\u2212])?(?<![0-9.])(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\\.[0-9]+)?"
)
_MOST_DIGITS = 400
"""A longer number is no number: no answer has one, and arithmetic with it takes long."""


class NumberMatch:
    """1 for the reference's number at the end, 0 for any other."""

    def __init__(self, tolerance: Decimal = Decimal(0)) -> None:
        self.tolerance = tolerance

    def scores(self, prompts: Sequence[Prompt], completions: Sequence[Completion]) -> Scores:
        """1 or 0. Raises ScorerError: a prompt has no reference, or its reference no number."""
        right = []
        for prompt, completion in zip(prompts, completions, strict=True):
            reference = reference_of(prompt, "number_match")
            wanted, found = last_number(reference), last_number(completion.text)
            if wanted is None:
                raise ScorerError(f"number_match: the reference {reference!r:.80} of {place_of(prompt)} has no number")
            right.append(found is not None and abs(found - wanted) <= self.tolerance * abs(wanted))
        return Scores(np.array(right, dtype=np.float32))


def last_number(text: str) -> Decimal | None:
    """The last number in a text; None where there is none.

    >>> [last_number(text) for text in ("12 of 1,234.50 EUR", "minus \u22120.5%", "none")]
    [Decimal('1234.50'), Decimal('-0.5'), None]
    """
    found = _NUMBER.findall(text)
    if not found or len(found[-1]) > _MOST_DIGITS:
        return None
    return Decimal(found[-1].replace(",", "").replace("\u2212", "-"))


def build(context: ScorerContext) -> NumberMatch:
    """With the options of the run. Raises ConfigError: `tolerance` is no number from 0 on."""
    given = context.options.get("tolerance", "0")
    try:
        tolerance = Decimal(given)
    except InvalidOperation:
        tolerance = Decimal(-1)
    if not tolerance.is_finite() or tolerance < 0:
        raise ConfigError(f"number_match: tolerance = {given!r:.60}; give a number of 0 or more, as in 0.01")
    return NumberMatch(tolerance)
