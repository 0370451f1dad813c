"""`curate`: documents go in, the kept ones come out, and every removed one leaves a record.

    license, mojibake, clean -> boilerplate -> rules, length, language -> personal data -> own filters
        -> exact duplicates -> near duplicates -> contamination -> duplicate paragraphs

Documents are read once, as a stream; between passes they are in a work folder on disk. The result is one published
folder:

    documents/00000.jsonl ...    kept documents, a file for each source, in the order in which they came
    removed.jsonl.zst            a record of each removed document (`RemovedDocument`)
    summary.json                 `CurationSummary`
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from stategpt.artifacts import Manifest, publish_folder, verify
from stategpt.config.curate import CurateConfig
from stategpt.data.curation.boilerplate import BOILERPLATE, Boilerplate
from stategpt.data.curation.corpus_steps import CorpusStep, corpus_steps
from stategpt.data.curation.paragraph_pass import cut_paragraphs
from stategpt.data.curation.receipts import Receipts, RemovedDocument, read_removed
from stategpt.data.curation.removed import Removed
from stategpt.data.curation.rules import thresholds
from stategpt.data.curation.spool import DocumentWriter, read_documents
from stategpt.data.curation.steps import DocumentSteps
from stategpt.data.curation.summary import FORMAT_VERSION, CurationSummary
from stategpt.data.records import Document, Prompt
from stategpt.errors import ConfigError, CorpusError
from stategpt.json_records import read_versioned, versioned
from stategpt.shown_fields import short_repr

KIND = "curation"
MAX_SOURCES = 500
"""A file is open for each."""
_BATCH_DOCUMENTS, _BATCH_CHARACTERS = 512, 4 << 20
_DOCUMENTS, _REMOVED, _SUMMARY, _WORK = "documents", "removed.jsonl.zst", "summary.json", "work"
_PROGRESS_EVERY = 1000
Marked: TypeAlias = tuple[Document, bool]
"""A document, and whether its text was changed."""
Progress = Callable[[int, str], None]
"""Called with the documents done so far and the pass."""


class Curated:
    """A published curation.

    Attributes:
        folder: where it is.
        manifest: its manifest.
        sources: names of the sources, sorted.
        summary: counts by source and rule, lengths, examples.
    """

    def __init__(self, folder: str | PathLike[str], manifest: Manifest) -> None:
        self.folder, self.manifest = Path(folder), manifest
        self.summary = read_versioned(self.folder / _SUMMARY, CurationSummary, FORMAT_VERSION)
        self.sources = sorted(self.summary.sources)

    __repr__ = short_repr

    def documents(self, source: str | None = None) -> Iterator[Document]:
        """The kept documents of one source, or of all, source by source; each in the order in which they came.

        Raises:
            CorruptArtifact: a line is no document.
        """
        for number, name in enumerate(self.sources):
            if source in (None, name):
                yield from read_documents(self.folder / _DOCUMENTS / f"{number:05}.jsonl")

    def removed(self) -> Iterator[RemovedDocument]:
        """The records of removed documents. Raises CorruptArtifact as `documents`."""
        return read_removed(self.folder / _REMOVED)


def read_curated(folder: str | PathLike[str]) -> Curated:
    """What `curate` published, after checking every file against the manifest.

    Raises:
        CorruptArtifact: the folder is damaged.
        ForeignArtifact: it is of another kind or format version.
    """
    return Curated(folder, verify(folder, kind=KIND))


def curate(
    documents: Iterable[Document],
    config: CurateConfig,
    out: str | PathLike[str],
    *,
    evaluation: Iterable[Prompt] = (),
    fingerprint: str = "",
    parents: Sequence[str] = (),
    progress: Progress | None = None,
) -> Curated:
    """Cleans, filters and deduplicates documents, and publishes what stays as the folder `out`, whole or not at all.

    Args:
        documents: read once, in order. A license is `meta["license"]`.
        config: the steps; those that are off change nothing.
        out: the folder; while it is written, a temporary folder beside it takes up to three times the documents' size.
        evaluation: prompts, with references, that no kept document may contain; needed for `config.decontaminate`.
        fingerprint: that of the configuration it follows.
        parents: manifest fingerprints of what the documents are from.
        progress: called now and then.

    Raises:
        ConfigError: a function, language or evaluation prompt is missing.
        CorpusError: an own function failed, or there are too many sources; nothing is published.
        MissingExtra: ftfy is needed and not installed.
        OutOfSpace, StorageError: nothing half-written is left.
    """
    prompts = tuple(evaluation)
    if config.decontaminate and not prompts:
        raise ConfigError("curate.decontaminate = true needs evaluation prompts; give some, or set it to false")

    def write(folder: Path) -> None:
        """Runs all steps."""
        work = folder / _WORK
        work.mkdir()
        (folder / _DOCUMENTS).mkdir()
        with Receipts(folder / _REMOVED) as receipts:
            _Run(config, folder, receipts, progress or _silent).run(documents, prompts)
            summary = receipts.summary(thresholds(config))
        text = json.dumps(versioned(summary, FORMAT_VERSION), indent=2)
        (folder / _SUMMARY).write_text(text + "\n", encoding="utf-8")
        shutil.rmtree(work)

    fingerprints = {"config": fingerprint} if fingerprint else {}
    return Curated(out, publish_folder(out, write, kind=KIND, fingerprints=fingerprints, parents=parents))


class _Run:
    """One curation: the passes over the documents."""

    def __init__(self, config: CurateConfig, folder: Path, receipts: Receipts, progress: Progress) -> None:
        self._config, self._folder, self._receipts, self._progress = config, folder, receipts, progress
        self._steps = DocumentSteps(config, receipts)

    def run(self, documents: Iterable[Document], prompts: tuple[Prompt, ...]) -> None:
        """All passes; writes the files of kept documents."""
        stream = self._prepared(documents)
        if self._config.boilerplate_share:
            stream = self._without_boilerplate(stream)
        steps = corpus_steps(self._config, prompts, self._folder / _WORK)
        finished = self._finished(stream)
        if steps:
            finished = self._without_duplicates(finished, steps)
        if self._config.duplicate_paragraphs:
            finished = cut_paragraphs(finished, self._folder / _WORK, self._receipts)
        self._write(finished)

    def _prepared(self, documents: Iterable[Document]) -> Iterator[Marked]:
        for number, document in enumerate(documents, start=1):
            self._receipts.of(document).enter(document)
            kept = self._kept(document, self._steps.prepare(document))
            if kept is not None:
                yield kept, kept.text != document.text
            if number % _PROGRESS_EVERY == 0:
                self._progress(number, "read")

    def _without_boilerplate(self, stream: Iterator[Marked]) -> Iterator[Marked]:
        path = self._folder / _WORK / "prepared.jsonl"
        edited = _spool(stream, path)
        boilerplate = Boilerplate(lambda: read_documents(path), self._config.boilerplate_share)
        for number, document in enumerate(read_documents(path)):
            outcome, lines = boilerplate.remove(document)
            kept = self._kept(document, outcome)
            if kept is not None:
                if lines:
                    self._receipts.of(kept).lines_removed[BOILERPLATE] += lines
                yield kept, bool(edited[number] or lines)
        path.unlink()

    def _finished(self, stream: Iterator[Marked]) -> Iterator[Marked]:
        for batch in _batches(stream):
            outcomes = self._steps.finish([document for document, _ in batch])
            for (document, edited), outcome in zip(batch, outcomes, strict=True):
                kept = self._kept(document, outcome)
                if kept is not None:
                    yield kept, edited or kept.text != document.text

    def _without_duplicates(self, stream: Iterator[Marked], steps: Sequence[CorpusStep]) -> Iterator[Marked]:
        """Each step sees what those before it left, and says by number which documents go."""
        path = self._folder / _WORK / "filtered.jsonl"
        edited = _spool(stream, path)
        removed: dict[int, Removed] = {}
        for step in steps:
            self._progress(len(edited) - len(removed), step.name)
            # Read in full before the next step: its documents are those that are not in `removed` yet.
            removed |= step.find(_without(path, removed))
        for number, document in enumerate(read_documents(path)):
            if number in removed:
                self._receipts.remove(document, removed[number])
            else:
                yield document, bool(edited[number])
        path.unlink()

    def _kept(self, document: Document, outcome: Document | Removed) -> Document | None:
        """The document that stays; a removed one is recorded as it was before the step."""
        if isinstance(outcome, Document):
            return outcome
        self._receipts.remove(document, outcome)
        return None

    def _write(self, stream: Iterator[Marked]) -> None:
        """Writes a file for each source; its number is that of the source among the sorted names."""
        folder = self._folder / _DOCUMENTS
        with ExitStack() as stack:
            writers: dict[str, DocumentWriter] = {}
            for document, edited in stream:
                self._receipts.of(document).keep(document, edited)
                if document.source not in writers:
                    if len(writers) == MAX_SOURCES:
                        raise CorpusError(f"the documents are of more than {MAX_SOURCES} sources; name fewer")
                    file = DocumentWriter(folder / f"{len(writers)}.part")
                    writers[document.source] = stack.enter_context(file)
                writers[document.source].write(document)
        parts = {name: folder / f"{number}.part" for number, name in enumerate(writers)}
        for number, name in enumerate(self._receipts.sources):
            path = folder / f"{number:05}.jsonl"
            if name in parts:
                parts[name].rename(path)
            else:
                path.touch()


def _spool(stream: Iterable[Marked], path: Path) -> bytearray:
    """Writes documents to a work file; returns for each whether it was edited."""
    marks = bytearray()
    with DocumentWriter(path) as writer:
        for document, edited in stream:
            writer.write(document)
            marks.append(edited)
    return marks


def _without(path: Path, removed: Mapping[int, Removed]) -> Iterator[tuple[int, Document]]:
    for number, document in enumerate(read_documents(path)):
        if number not in removed:
            yield number, document


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


def _silent(_done: int, _note: str) -> None:
    """No progress is shown."""
