"""`curate`: documents go in, the kept ones come out, and every removed one leaves a record.

    license, mojibake, clean -> boilerplate -> rules, length, language -> personal data -> own filters
        -> exact duplicates -> near duplicates -> contamination -> duplicate paragraphs

Documents are read once, as a stream; between passes they are in a work folder on disk, from which an interrupted
curation continues (`passes`, `work`). The result is one published folder:

    documents/00000.jsonl ...    kept documents, a file for each source, in the order in which they came
    removed.jsonl.zst            a record of each removed document (`RemovedDocument`)
    summary.json                 `CurationSummary`
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from os import PathLike
from pathlib import Path

from stategpt.artifacts import Manifest, publish_folder, verify
from stategpt.artifacts import fingerprint as fingerprint_of
from stategpt.config.curate import CurateConfig
from stategpt.data.corpus_rows import prompt_row
from stategpt.data.curation.paragraph_pass import cut_paragraphs
from stategpt.data.curation.parts import documents_of
from stategpt.data.curation.passes import Passed, Passes, Progress
from stategpt.data.curation.receipts import Receipts, RemovedDocument, read_removed
from stategpt.data.curation.rules import thresholds
from stategpt.data.curation.spool import DocumentWriter, Marked, read_documents
from stategpt.data.curation.summary import FORMAT_VERSION, read_summary, write_summary
from stategpt.data.curation.work import Work
from stategpt.data.records import Document, Prompt
from stategpt.data.rejections import Tally
from stategpt.errors import ConfigError
from stategpt.json_records import to_json

KIND = "curation"
_DOCUMENTS, _REMOVED = "documents", "removed.jsonl.zst"


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
        self.summary = read_summary(self.folder)
        self.sources = sorted(self.summary.sources)

    def __repr__(self) -> str:
        """`<Curated curation: 40 of 46 documents>`."""
        return f"<Curated {self.folder}: {self.summary.kept:,} of {self.summary.documents:,} documents>"

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
    fingerprints: Mapping[str, str] | None = None,
    parents: Sequence[str] = (),
    tallies: Mapping[str, Tally] | None = None,
    progress: Progress | None = None,
) -> Curated:
    """Cleans, filters and deduplicates documents, and publishes what stays as the folder `out`, whole or not at all.

    Args:
        documents: read once, in order. A license is `meta["license"]`.
        config: the steps; those that are off change nothing.
        out: the folder; while it is written, a hidden folder beside it takes up to three times the documents' size.
        evaluation: prompts, with references, that no kept document may contain; needed for `config.decontaminate`.
        fingerprints: what names the documents and the user's functions, for the manifest. An interrupted call with the
            same ones, settings and prompts is continued; without any, nothing is known of the documents and the call
            begins again.
        parents: manifest fingerprints of what the documents are from.
        tallies: counts of the reader of `documents` by source, complete when they are read; recorded in the summary.
        progress: called now and then.

    Raises:
        ConfigError: a function, language or evaluation prompt is missing.
        CorpusError: an own function failed, or there are too many sources; nothing is published.
        MissingExtra: ftfy is needed and not installed.
        OutOfSpace, StorageError: nothing half-written is used.
    """
    prompts, named = tuple(evaluation), dict(fingerprints or {})
    if config.decontaminate and not prompts:
        raise ConfigError("curate.decontaminate = true needs evaluation prompts; give some, or set it to false")
    work = Work(out, _key(config, prompts, named))
    try:
        passed = Passes(config, prompts, work, progress or _silent).run(documents, tallies or {})
        write = partial(_write, passed=passed, config=config)
        manifest = publish_folder(out, write, kind=KIND, fingerprints=named, parents=parents)
    except BaseException:
        if not named:
            work.remove()
        raise
    work.remove()
    return Curated(out, manifest)


def _key(config: CurateConfig, prompts: Iterable[Prompt], fingerprints: Mapping[str, str]) -> str:
    """Names everything that decides a curation; "" where the documents are not known."""
    if not fingerprints:
        return ""
    asked = [prompt_row(prompt) for prompt in prompts]
    decides = {"made_from": dict(fingerprints), "config": to_json(config), "prompts": asked, "version": FORMAT_VERSION}
    return fingerprint_of(decides)


def _write(folder: Path, passed: Passed, config: CurateConfig) -> None:
    """Writes the kept documents, the records of the others, and the summary."""
    with Receipts(folder / _REMOVED) as receipts:
        for part in (*passed.earlier, *passed.parts):
            receipts.add(part.removed, part.summary)
        left = _left(passed, receipts)
        if config.duplicate_paragraphs:
            left = cut_paragraphs(left, folder, receipts)
        _write_documents(folder / _DOCUMENTS, left, receipts)
        summary = receipts.summary()
    write_summary(dataclasses.replace(summary, thresholds=thresholds(config), compared=passed.compared), folder)


def _left(passed: Passed, receipts: Receipts) -> Iterator[Marked]:
    """The documents that the comparing steps left."""
    for number, (document, edited) in enumerate(documents_of(passed.parts)):
        if number in passed.removed:
            receipts.remove(document, passed.removed[number])
        else:
            yield document, edited


def _write_documents(folder: Path, stream: Iterator[Marked], receipts: Receipts) -> None:
    """Writes a file for each source; its number is that of the source among the sorted names."""
    folder.mkdir()
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(DocumentWriter(folder / f"{number:05}.jsonl"))
            for number, name in enumerate(receipts.sources)
        }
        for document, edited in stream:
            receipts.of(document).keep(document, edited)
            writers[document.source].write(document)


def _silent(_done: int, _total: int, _name: str) -> None:
    """No progress is shown."""
