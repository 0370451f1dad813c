"""Lines that many documents of a source have (menus, notices, headers): counted in two passes, removed in a third."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterable

from stategpt import _native
from stategpt.data.curation.removed import Removed
from stategpt.data.records import Document

BOILERPLATE = "boilerplate"
"""Rule of a document that has nothing else; lines are counted under it too."""
MIN_DOCUMENTS = 10
"""A line that fewer documents of a source have is never boilerplate."""


class Boilerplate:
    """The boilerplate of `documents`, of which each source is counted alone.

    A line is boilerplate if at least `share` of the documents of its source have it, and at least 10. Memory: 64 MiB,
    and about 50 bytes for each line that is or nearly is boilerplate. The order of the documents does not matter.
    """

    def __init__(self, documents: Callable[[], Iterable[Document]], share: float) -> None:
        self._native = _native.BoilerplateLines()
        sizes: Counter[str] = Counter()
        for document in documents():
            sizes[document.source] += 1
            self._native.estimate(document.source, [document.text])
        least = {source: max(MIN_DOCUMENTS, math.ceil(share * size)) for source, size in sizes.items()}
        for document in documents():
            self._native.count(document.source, [document.text], least[document.source])
        self.lines = self._native.finish()

    def remove(self, document: Document) -> tuple[Document | Removed, int]:
        """The document without such lines, and how many it had; removed if nothing else is left."""
        found = self._native.remove(document.source, document.text)
        if found is None:
            return document, 0
        text, lines = found
        if not text.strip():
            return Removed(BOILERPLATE, f"all {lines} lines are in many documents of {document.source!r}"), 0
        return dataclasses.replace(document, text=text), lines
