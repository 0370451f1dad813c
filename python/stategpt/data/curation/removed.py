"""What became of a document that a step did not keep."""

from __future__ import annotations

from dataclasses import dataclass

from stategpt.shown_fields import documented


@documented
@dataclass(frozen=True, slots=True)
class Removed:
    """Why a step of the curation removed a document: a step returns a document, or this."""

    rule: str
    """Name of the rule: `gopher_quality_words_min`, `exact_duplicate`, `near_duplicate`, `contaminated`."""
    evidence: str
    """What the rule found, in words: the value and the threshold, the kept twin, the matched span."""
