"""The steps that look at one text alone, many texts at once: cleaning, quality rules, length, language.

All of it runs in `rust/curation`, with the GIL released. A document is removed by the first rule that it breaks, in the
order of `_native.CURATION_RULES`; the rules of lines (`c4`) come first and also shorten texts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from stategpt import _native
from stategpt.config.curate import CurateConfig
from stategpt.data.curation.removed import Removed
from stategpt.data.records import Document
from stategpt.shown_fields import documented

LANGUAGE = "language"
"""Rule of a document in another language."""
_RULES = {name: (limit, meaning) for name, limit, _, meaning in _native.CURATION_RULES}


@documented
@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a document."""

    outcome: Document | Removed
    """The document, perhaps with another text; or why it was removed."""
    lines_removed: tuple[tuple[str, int], ...] = ()
    """Lines that were removed from its text, by rule."""


class TextRules:
    """The steps that `config` asks for, for documents of any source.

    Raises:
        ConfigError: a language is unknown.
    """

    def __init__(self, config: CurateConfig, *, clean: bool | None = None) -> None:
        """`clean` in place of `config.clean`, where texts were cleaned before."""
        self._thresholds = thresholds(config)
        self._config = config
        self._native = _native.CurationRules(
            list(self._thresholds.items()),
            clean=config.clean if clean is None else clean,
            languages=list(config.languages),
            min_confidence=config.min_language_confidence,
        )

    def apply(self, documents: Sequence[Document]) -> list[Judged]:
        """What becomes of each document, in order."""
        judged = self._native.apply([document.text for document in documents])
        return [self._judged(document, *found) for document, found in zip(documents, judged, strict=True)]

    def _judged(
        self,
        document: Document,
        text: str | None,
        rule: str | None,
        value: float | None,
        language: str,
        lines: Sequence[int] | None,
    ) -> Judged:
        if rule is not None:
            return Judged(Removed(rule, self._evidence(rule, value or 0.0, language)))
        removed = tuple((name, n) for name, n in zip(_native.CURATION_LINE_RULES, lines or (), strict=False) if n)
        return Judged(document if text is None else dataclasses.replace(document, text=text), removed)

    def _evidence(self, rule: str, value: float, language: str) -> str:
        if rule == LANGUAGE:
            asked = f"{', '.join(self._config.languages)} with {self._config.min_language_confidence:g} or more"
            return f"language {language} with confidence {value:.2f}; kept are {asked}"
        if rule not in _RULES:
            return "nothing is left of the text"
        limit, meaning = _RULES[rule]
        if limit == "switch":
            return meaning
        bound = "least" if limit == "at_least" else "most"
        return f"{meaning}: {value:.6g}, at {bound} {self._thresholds[rule]:.6g}"


def thresholds(config: CurateConfig) -> dict[str, float]:
    """Every rule that `config` asks for, with its threshold; length included."""
    asked = config.asked_rules()
    if config.min_characters:
        asked["length_characters_min"] = float(config.min_characters)
    if config.max_characters:
        asked["length_characters_max"] = float(config.max_characters)
    return asked


def rule_values(text: str) -> dict[str, float]:
    """The value of every rule of whole texts, by name: what is compared with its threshold."""
    return _native.rule_values(text)
