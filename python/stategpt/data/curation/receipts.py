"""Receipts: a record of every removed document, and counts; `input = kept + removed by rule` holds for each source."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stategpt import _native
from stategpt.data.corpus_rows import PLACE, place_of, read_rows, where_row
from stategpt.data.curation.removed import Removed
from stategpt.data.curation.summary import (
    EXAMPLES_PER_RULE,
    Counts,
    CurationSummary,
    RemovedExample,
    example_of,
    excerpt_of,
    summarize,
)
from stategpt.data.records import Document, Place
from stategpt.data.rejections import Tally
from stategpt.errors import CorpusError
from stategpt.json_reader import Integer, Optional, Record, Text
from stategpt.shown_fields import documented, short_repr

MAX_SOURCES = 500
"""A file of kept documents is open for each."""
_FRAME_BYTES = 1 << 20
_EVIDENCE_CHARACTERS = 2000
_REMOVED = Record(
    {
        "rule": Text(),
        "evidence": Text(),
        "source": Text(),
        "group": Text(),
        "where": Optional(PLACE),
        "characters": Integer(0),
        "excerpt": Text(),
    },
    closed=True,
)


@documented
@dataclass(frozen=True, slots=True)
class RemovedDocument:
    """The record of a removed document."""

    rule: str
    """Why it was removed."""
    evidence: str
    """What the rule found: the value and the threshold, the kept twin, the matched span."""
    source: str
    """Its source."""
    group: str
    """Its group."""
    where: Place | None
    """File and line it was read from."""
    characters: int
    """Its length when it was removed."""
    excerpt: str
    """How it starts."""

    __repr__ = short_repr


class Receipts:
    """Writes the record of every removed document to `path` (zstd) and counts all documents. A context manager."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._rows: list[bytes] = []
        self._size = 0
        self._counts: defaultdict[str, Counts] = defaultdict(Counts)
        self._examples: defaultdict[str, list[RemovedExample]] = defaultdict(list)
        self.inputs: dict[str, Tally] = {}

    def of(self, document: Document) -> Counts:
        """The counts of the document's source.

        Raises:
            CorpusError: it is one source too many.
        """
        if document.source not in self._counts and len(self._counts) == MAX_SOURCES:
            raise CorpusError(f"the documents are of more than {MAX_SOURCES} sources; name fewer")
        return self._counts[document.source]

    @property
    def sources(self) -> list[str]:
        """Names of the sources that documents came from, sorted."""
        return sorted(self._counts)

    def kept(self, document: Document, outcome: Document | Removed) -> Document | None:
        """The document that stays; a removed one is recorded as it was before the step."""
        if isinstance(outcome, Document):
            return outcome
        self.remove(document, outcome)
        return None

    def add(self, records: Path, summary: CurationSummary) -> None:
        """Takes over the records and counts of a pass that is done."""
        self._flush()
        with records.open("rb") as file:
            shutil.copyfileobj(file, self._file)
        for name, counted in summary.sources.items():
            self._counts[name].add(counted)
        for example in summary.examples:
            self._show(example)
        self.inputs.update(summary.inputs)

    def remove(self, document: Document, removed: Removed) -> None:
        """Records a removed document."""
        self.of(document).removed[removed.rule] += 1
        self._show(example_of(document, removed))
        row = {
            "rule": removed.rule,
            "evidence": removed.evidence[:_EVIDENCE_CHARACTERS],
            "source": document.source,
            "group": document.group,
            **where_row(document.where),
            "characters": len(document.text),
            "excerpt": excerpt_of(document),
        }
        # Escaped where it is not ASCII: a text with surrogates is removed for them, and has a record too.
        line = json.dumps(row).encode() + b"\n"
        self._rows.append(line)
        self._size += len(line)
        if self._size >= _FRAME_BYTES:
            self._flush()

    def summary(self) -> CurationSummary:
        """The counts of all sources."""
        return dataclasses.replace(summarize(self._counts, self._examples), inputs=self.inputs)

    def _show(self, example: RemovedExample) -> None:
        examples = self._examples[example.rule]
        if len(examples) < EXAMPLES_PER_RULE:
            examples.append(example)

    def _flush(self) -> None:
        self._file.write(_native.compress_zstd(b"".join(self._rows)))
        self._rows, self._size = [], 0

    def __enter__(self) -> Receipts:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Writes what is left and closes the file."""
        self._flush()
        self._file.close()


def read_removed(path: Path) -> Iterator[RemovedDocument]:
    """The records of a file that `Receipts` wrote, in order. Raises CorruptArtifact: a line is no record."""
    for row in read_rows(path, _REMOVED):
        yield RemovedDocument(**{**row, "where": place_of(row["where"])})
