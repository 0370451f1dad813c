"""Labeled texts, each once: copies are found by their normalized text, and copies with several labels are refused."""

from __future__ import annotations

import unicodedata

from stategpt.data.groups import text_digest
from stategpt.data.records import LabeledText, Place
from stategpt.data.rejections import Rejection, Tally


def normalized(text: str) -> str:
    """A text as copies of it share it: Unicode form NFC, letter case folded, each run of white space one space.

    >>> normalized("  A\\n GOOD  film ")
    'a good film'
    """
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


class DistinctTexts:
    """Collects labeled texts; what equals an earlier one is a copy."""

    def __init__(self) -> None:
        self._kept: dict[str, LabeledText] = {}
        self._copies: dict[str, int] = {}
        self._conflicts: dict[str, str] = {}

    def add(self, found: LabeledText, tally: Tally) -> None:
        """Keeps a text, or counts it as a copy."""
        key = text_digest(normalized(found.text))
        held = self._kept.setdefault(key, found)
        if held is found:
            tally.keep()
            return
        if held.label != found.label:
            self._conflicts.setdefault(key, found.label)
        self._copies[key] = self._copies.get(key, 0) + 1
        tally.drop_duplicate()

    def texts(self, tally: Tally) -> list[LabeledText]:
        """The texts in the order of their first copies; those with several labels become rejections, copy by copy."""
        for key, other in self._conflicts.items():
            held = self._kept.pop(key)
            copies = self._copies[key]
            tally.kept -= 1
            tally.duplicate -= copies
            message = f"the text has the label {held.label!r:.40}, and {other!r:.40} elsewhere; correct or remove it"
            for _ in range(1 + copies):
                tally.reject(Rejection(held.where or Place(""), "conflicting_label", message))
        return list(self._kept.values())
