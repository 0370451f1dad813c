"""Settings of the curation of documents, the table `[curate]` of a run. The defaults change and remove nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from stategpt import _native
from stategpt.arguments import nearest_hint
from stategpt.config.checks import require, require_choice, require_not_negative, require_share
from stategpt.shown_fields import documented, short_repr

Pii = Literal["keep", "replace", "remove"]
RULE_GROUPS = ("c4", "gopher_quality", "gopher_repetition", "fineweb")
"""Groups of rules; the name of a group means all its rules."""
PUBLISHED: Mapping[str, float] = {
    name: threshold for name, _, threshold, _ in _native.CURATION_RULES if not name.startswith("length_")
}
"""Every rule that `rules` can name, with its published threshold; 1 for a rule without one."""


@documented
@dataclass(frozen=True)
class CurateConfig:
    """What is done with documents before training. Every step is off unless a setting turns it on.

    Raises:
        ConfigError: a setting is out of range or names no rule; the message names it.
    """

    clean: bool = False
    """Makes Unicode (NFC), control characters and white space regular."""
    repair_mojibake: bool = False
    """Repairs text that was decoded with the wrong encoding; needs ftfy (extra: data)."""
    boilerplate_share: float = 0.0
    """Lines that at least this share of a source's documents have are removed (in 10 documents at least); 0 = none."""
    rules: tuple[str, ...] = ()
    """Quality rules: c4, gopher_quality, gopher_repetition, fineweb, or single ones; `-name` leaves one out."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """Thresholds in place of the published ones, by rule."""
    min_characters: int = 0
    """Shortest document that is kept; 0 = no limit."""
    max_characters: int = 0
    """Longest document that is kept; 0 = no limit."""
    languages: tuple[str, ...] = ()
    """Languages that are kept, as ISO 639-1 or 639-3 codes; empty = all."""
    min_language_confidence: float = 0.5
    """Least confidence, 0 to 1, of the detector in one of these languages."""
    pii: Pii = "keep"
    """E-mail addresses, phone numbers and IP addresses: keep, replace by a placeholder, or remove the document."""
    pii_finder: str = ""
    """module:function that finds further personal data in a text."""
    licenses: tuple[str, ...] = ()
    """Licenses that are kept, compared without regard to case; empty = all."""
    filters: tuple[str, ...] = ()
    """Own filters, as module:function, asked in order."""
    exact_duplicates: bool = False
    """Of equal documents one is kept."""
    near_duplicates: bool = False
    """Of documents that are nearly equal one is kept."""
    near_duplicate_threshold: float = 0.8
    """Jaccard similarity of word 5-grams from which documents are nearly equal."""
    decontaminate: bool = False
    """Removes documents that hold an evaluation prompt with its answer."""
    duplicate_paragraphs: bool = False
    """Of equal paragraphs of 100 characters or more one is kept; a document of which nothing is left is removed."""

    __repr__ = short_repr

    def __post_init__(self) -> None:
        require_share(
            "curate",
            boilerplate_share=self.boilerplate_share,
            min_language_confidence=self.min_language_confidence,
            near_duplicate_threshold=self.near_duplicate_threshold,
        )
        require_not_negative("curate", min_characters=self.min_characters, max_characters=self.max_characters)
        rule = f"must be 0 or at least min_characters = {self.min_characters}"
        fits = self.max_characters == 0 or self.max_characters >= self.min_characters
        require(fits, "curate.max_characters", self.max_characters, rule)
        require_choice("curate.pii", self.pii, ("keep", "replace", "remove"))
        above = self.near_duplicate_threshold > 0
        require(above, "curate.near_duplicate_threshold", self.near_duplicate_threshold, "must be above 0")
        for name in self.rules:
            _require_rule("curate.rules", name.removeprefix("-"), (*RULE_GROUPS, *PUBLISHED))
        asked = self.asked_rules()
        for name, threshold in self.thresholds.items():
            _require_rule("curate.thresholds", name, tuple(PUBLISHED))
            require(threshold >= 0, f"curate.thresholds.{name}", threshold, "must be 0 or more")
            require(
                name in asked, f"curate.thresholds.{name}", threshold, "has no effect: add the rule to curate.rules"
            )
        for key, names in (("filters", self.filters), ("pii_finder", (self.pii_finder,) if self.pii_finder else ())):
            for name in names:
                module, _, function = name.partition(":")
                parts = [*module.split("."), function]
                require(all(map(str.isidentifier, parts)), f"curate.{key}", name, "must be module:function")
        require(not self.pii_finder or self.pii != "keep", "curate.pii_finder", self.pii_finder, _FINDER_RULE)

    @property
    def is_active(self) -> bool:
        """Whether any step is on."""
        untouched = CurateConfig(
            min_language_confidence=self.min_language_confidence,
            near_duplicate_threshold=self.near_duplicate_threshold,
        )
        return self != untouched

    @property
    def functions(self) -> tuple[str, ...]:
        """The user's functions that it calls, as module:function."""
        return (*self.filters, *((self.pii_finder,) if self.pii_finder else ()))

    def asked_rules(self) -> dict[str, float]:
        """The rules that are asked, with their thresholds."""
        asked: dict[str, float] = {}
        for name in self.rules:
            bare = name.removeprefix("-")
            for rule in (each for each in PUBLISHED if _is_in(each, bare)):
                if name.startswith("-"):
                    asked.pop(rule, None)
                else:
                    asked[rule] = self.thresholds.get(rule, PUBLISHED[rule])
        return asked


_FINDER_RULE = "has no effect with curate.pii = 'keep': set pii to replace or remove"


def _is_in(rule: str, name: str) -> bool:
    return rule == name or (name in RULE_GROUPS and rule.startswith(f"{name}_"))


def _require_rule(key: str, name: str, known: tuple[str, ...]) -> None:
    hint = nearest_hint(name, known, f"use {', '.join(RULE_GROUPS)} or a rule of them")
    require(name in known, key, name, f"is no rule; {hint}")
