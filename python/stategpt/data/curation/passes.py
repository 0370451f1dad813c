"""The passes of a curation, each kept when it is done (`Work`): what an interrupted one begins again is its last part.

    clean     license, encoding, cleaning; only where boilerplate is counted on what it leaves
    filter    boilerplate, or what `clean` does; then rules, length, language, personal data, own filters
    step-N    what a comparing step removes (`corpus_steps`), by number of the document

`clean` and `filter` are cut into parts. What they leave does not depend on where.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from stategpt.config.curate import CurateConfig
from stategpt.data.corpus_rows import read_rows
from stategpt.data.curation.boilerplate import BOILERPLATE, Boilerplate
from stategpt.data.curation.corpus_steps import CorpusStep, Found, corpus_steps
from stategpt.data.curation.parts import Input, Part, documents_of, left_of, write_part
from stategpt.data.curation.receipts import Receipts
from stategpt.data.curation.removed import Removed
from stategpt.data.curation.spool import Marked
from stategpt.data.curation.steps import DocumentSteps
from stategpt.data.curation.summary import Comparison
from stategpt.data.curation.work import Work
from stategpt.data.records import Document, Prompt
from stategpt.data.rejections import Tally
from stategpt.json_reader import Integer, Record, Text, read_json
from stategpt.json_records import from_json, to_json

Progress = Callable[[int, int, str], None]
"""Called now and then with the documents that are done, all of them (0: not known yet), and the pass."""
PROGRESS_EVERY = 100
_BATCH_DOCUMENTS, _BATCH_CHARACTERS = 512, 4 << 20
_GONE = Record({"number": Integer(0), "rule": Text(), "evidence": Text()}, closed=True)
_REMOVED, _COMPARED = "removed.jsonl", "compared.json"
Item = TypeVar("Item")


class Passed(NamedTuple):
    """What all passes did."""

    parts: list[Part]
    """Parts whose documents are left, in order."""
    earlier: list[Part]
    """Parts of the passes before, for their records and counts."""
    removed: dict[int, Removed]
    """What the comparing steps removed, by number of the document among those of `parts`."""
    compared: Comparison
    """What those looked for."""


class Passes:
    """One curation."""

    def __init__(self, config: CurateConfig, prompts: tuple[Prompt, ...], work: Work, progress: Progress) -> None:
        self._config, self._prompts, self._work, self._progress = config, prompts, work, progress
        self._steps = DocumentSteps(config)

    def run(self, documents: Iterable[Document], tallies: Mapping[str, Tally]) -> Passed:
        """All passes; `documents` is read unless all of it was read before."""
        parts, earlier = self._read(documents, tallies), []
        if self._config.boilerplate_share:
            parts, earlier = self._without_boilerplate(parts), parts
        removed, compared = self._compared(parts, left_of([*earlier, *parts]))
        return Passed(parts, earlier, removed, compared)

    def _read(self, documents: Iterable[Document], tallies: Mapping[str, Tally]) -> list[Part]:
        """The first pass, the only one that reads the documents themselves."""
        name = "clean" if self._config.boilerplate_share else "filter"
        source, parts, start = Input(documents), list[Part](), 0
        while not (parts and parts[-1].is_last):
            left = partial(self._first_pass, name, source, start)
            write = partial(write_part, left=left, ended=lambda: source.is_over, tallies=tallies)
            parts.append(Part(self._work.stored(f"{name}-{len(parts):05}", write)))
            start += parts[-1].summary.documents
        return parts

    def _first_pass(self, name: str, source: Input, start: int, receipts: Receipts) -> Iterator[Marked]:
        stream = self._prepared(self._shown(source.part_from(start), 0, name, start), receipts)
        return stream if self._config.boilerplate_share else self._finished(stream, receipts)

    def _prepared(self, documents: Iterable[Document], receipts: Receipts) -> Iterator[Marked]:
        for document in documents:
            receipts.of(document).enter(document)
            kept = receipts.kept(document, self._steps.prepare(document))
            if kept is not None:
                yield kept, kept.text != document.text

    def _without_boilerplate(self, parts: Sequence[Part]) -> list[Part]:
        total, start, finished = left_of(parts), 0, list[Part]()

        def counted() -> Iterator[Document]:
            """All documents, once for each time that lines are counted."""
            stream = documents_of(parts)
            return (document for document, _ in self._shown(stream, total, "boilerplate"))

        # Counted only if a part is still to be made.
        boilerplate = cache(lambda: Boilerplate(counted, self._config.boilerplate_share))
        for number, part in enumerate(parts):
            left = partial(self._second_pass, boilerplate, part, (start, total))
            finished.append(Part(self._work.stored(f"filter-{number:05}", partial(write_part, left=left))))
            start += left_of([part])
        return finished

    def _second_pass(
        self, boilerplate: Callable[[], Boilerplate], part: Part, place: tuple[int, int], receipts: Receipts
    ) -> Iterator[Marked]:
        lines, (start, total) = boilerplate(), place
        stream = self._shown(part.documents(), total, "filter", start)
        return self._finished(_without_lines(lines, stream, receipts), receipts)

    def _finished(self, stream: Iterator[Marked], receipts: Receipts) -> Iterator[Marked]:
        for batch in _batches(stream):
            outcomes = self._steps.finish([document for document, _ in batch], receipts)
            for (document, edited), outcome in zip(batch, outcomes, strict=True):
                kept = receipts.kept(document, outcome)
                if kept is not None:
                    yield kept, edited or kept.text != document.text

    def _compared(self, parts: Sequence[Part], total: int) -> tuple[dict[int, Removed], Comparison]:
        """Each step sees what those before it left, and says by number which documents go."""
        removed: dict[int, Removed] = {}
        compared = Comparison()
        for number, step in enumerate(corpus_steps(self._config, self._prompts, self._work.folder)):
            write = partial(self._search, step, parts, removed, total)
            folder = self._work.stored(f"step-{number}", write)
            found = _read_found(folder)
            removed |= found.removed
            compared += found.compared
        return removed, compared

    def _search(
        self, step: CorpusStep, parts: Sequence[Part], removed: Mapping[int, Removed], total: int, folder: Path
    ) -> None:
        stream = ((number, document) for number, (document, _) in enumerate(documents_of(parts)))
        left = (each for each in stream if each[0] not in removed)
        _write_found(folder, step.find(self._shown(left, total - len(removed), step.name)))

    def _shown(self, items: Iterable[Item], total: int, name: str, start: int = 0) -> Iterator[Item]:
        """The items, counted as they pass."""
        number = start
        for number, item in enumerate(items, start + 1):
            if number == start + 1:
                self._progress(start, total, name)
            yield item
            if number % PROGRESS_EVERY == 0:
                self._progress(number, total, name)
        if number > start:
            self._progress(number, total, name)


def _without_lines(boilerplate: Boilerplate, stream: Iterator[Marked], receipts: Receipts) -> Iterator[Marked]:
    for document, edited in stream:
        outcome, lines = boilerplate.remove(document)
        kept = receipts.kept(document, outcome)
        if kept is not None:
            if lines:
                receipts.of(kept).lines_removed[BOILERPLATE] += lines
            yield kept, bool(edited or lines)


def _batches(stream: Iterator[Marked]) -> Iterator[list[Marked]]:
    """Batches of a bounded number of documents and characters; a document longer than that is alone in its batch."""
    batch: list[Marked] = []
    characters = 0
    for document, edited in stream:
        if batch and (len(batch) == _BATCH_DOCUMENTS or characters + len(document.text) > _BATCH_CHARACTERS):
            yield batch
            batch, characters = [], 0
        batch.append((document, edited))
        characters += len(document.text)
    if batch:
        yield batch


def _write_found(folder: Path, found: Found) -> None:
    with (folder / _REMOVED).open("w", encoding="utf-8") as file:
        for number, removed in found.removed.items():
            file.write(json.dumps({"number": number, "rule": removed.rule, "evidence": removed.evidence}) + "\n")
    (folder / _COMPARED).write_text(json.dumps(to_json(found.compared)) + "\n", encoding="utf-8")


def _read_found(folder: Path) -> Found:
    removed = {row["number"]: Removed(row["rule"], row["evidence"]) for row in read_rows(folder / _REMOVED, _GONE)}
    compared = folder / _COMPARED
    return Found(removed, from_json(Comparison, read_json(compared), where=str(compared)))
