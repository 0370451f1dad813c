"""The steps that need one document alone, in their order; the counts of what they change."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

from stategpt.config.curate import CurateConfig
from stategpt.data.curation.clean import clean_text, repair_mojibake
from stategpt.data.curation.hooks import Filter, Function, call, place_of
from stategpt.data.curation.pii import Found, find_pii, replace_pii
from stategpt.data.curation.receipts import Receipts
from stategpt.data.curation.removed import Removed
from stategpt.data.curation.rules import TextRules
from stategpt.data.records import Document
from stategpt.errors import CorpusError
from stategpt.extras import require
from stategpt.user_functions import load_function

LICENSE = "license"
"""Rule of a document whose license is not kept; and the field of `meta` that has it."""
NOT_UNICODE, PII, EMPTY = "not_unicode", "pii", "clean_empty"


class DocumentSteps:
    """The steps that `config` asks for: `prepare` each document, then `finish` many at once.

    Raises:
        ConfigError: a function or language is unknown.
        MissingExtra: ftfy is needed and not installed.
    """

    def __init__(self, config: CurateConfig) -> None:
        self._config = config
        if config.repair_mojibake:
            require("ftfy", "curate.repair_mojibake", "data")
        self._licenses = {name.casefold() for name in config.licenses}
        # Boilerplate is counted on clean lines; then the text is clean when the rules see it.
        self._cleans_first = config.clean and config.boilerplate_share > 0
        self._rules = TextRules(config, clean=config.clean and not self._cleans_first)
        self._finder = load_function(config.pii_finder, "curate.pii_finder") if config.pii_finder else None
        self._filters = [Filter(name) for name in config.filters]

    def prepare(self, document: Document) -> Document | Removed:
        """License, Unicode, mojibake; cleaning where the lines of all documents are counted next."""
        if self._licenses:
            license = document.meta.get(LICENSE)
            if not isinstance(license, str) or license.casefold() not in self._licenses:
                found = f"license {license!r:.100}" if license else "no license"
                return Removed(LICENSE, f"{found}; kept are {', '.join(self._config.licenses)}")
        try:
            document.text.encode()
        except UnicodeEncodeError as error:
            return Removed(NOT_UNICODE, f"the lone surrogate U+{ord(document.text[error.start]):04X} at {error.start}")
        text = repair_mojibake(document.text) if self._config.repair_mojibake else document.text
        if self._cleans_first:
            text = clean_text(text)
            if not text:
                return Removed(EMPTY, "nothing is left of the text")
        return document if text == document.text else dataclasses.replace(document, text=text)

    def finish(self, documents: Sequence[Document], receipts: Receipts) -> list[Document | Removed]:
        """Cleaning, quality rules, length and language; personal data; own filters. Counts what they change."""
        outcomes: list[Document | Removed] = []
        for document, judged in zip(documents, self._rules.apply(documents), strict=True):
            receipts.of(document).lines_removed.update(dict(judged.lines_removed))
            outcomes.append(self._finish(judged.outcome, receipts))
        return outcomes

    def _finish(self, outcome: Document | Removed, receipts: Receipts) -> Document | Removed:
        if isinstance(outcome, Document) and self._config.pii != "keep":
            outcome = self._without_pii(outcome, receipts)
        for each in self._filters:
            if isinstance(outcome, Document):
                outcome = each(outcome)
        return outcome

    def _without_pii(self, document: Document, receipts: Receipts) -> Document | Removed:
        found = self._find_pii(document)
        if not found:
            return document
        kinds = Counter(each.kind for each in found)
        if self._config.pii == "remove":
            return Removed(PII, ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))
        receipts.of(document).pii_replaced.update(kinds)
        return dataclasses.replace(document, text=replace_pii(document.text, found))

    def _find_pii(self, document: Document) -> list[Found]:
        name, function = self._config.pii_finder, self._finder
        finder = None if function is None else _finder_of(function, name, document)
        try:
            return find_pii(document.text, finder)
        except ValueError as error:
            raise CorpusError(f"{place_of(document)}: {name} {error}") from error


def _finder_of(function: Function, name: str, document: Document) -> Function:
    return lambda text: call(function, name, document, text)
