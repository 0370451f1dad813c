"""Between the files and the split: what `[curate]` asks, published as the folder `curation` with its receipts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from stategpt.artifacts import fingerprint
from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import RunConfig
from stategpt.config.parts import CURATION
from stategpt.data.curation import Curated, SourceSummary, curate, read_curated
from stategpt.data.formats import read_conversations, read_prompts
from stategpt.data.inputs import Inputs
from stategpt.data.records import Document, Prompt
from stategpt.data.rejections import Tally
from stategpt.data.sources.files import read_source
from stategpt.data.user_corpus import input_files
from stategpt.errors import InvalidArgument
from stategpt.progress import console, progress
from stategpt.stages.fingerprints import part_fingerprint


def curated_documents(run: RunConfig, folder: RunFolder, inputs: Inputs) -> Curated:
    """Curates the documents of all sources, or checks that the curation that is there is of these files and settings.

    Raises:
        ForeignArtifact: it is of other files or settings.
        ConfigError, CorpusError, MissingExtra: as `curate`.
    """
    target = folder.root / CURATION
    made_from = part_fingerprint(run, CURATION, (fingerprint(inputs.to_json()),))
    if folder.published(target, CURATION, made_from):
        return read_curated(target)
    console.print(f"curation: {', '.join(run.sources)}", markup=False)
    files = input_files(run, Path.cwd(), [folder.root])
    with progress("curation", 0, "documents") as advance:
        return curate(
            _documents(run, files),
            run.curate,
            target,
            evaluation=_evaluation(run, files) if run.curate.decontaminate else (),
            fingerprint=made_from,
            progress=advance,
        )


def kept_of(curated: Curated, name: str, documents: Iterator[Document]) -> Iterator[Document]:
    """What was kept of a source. Its documents are read again, so that those that cannot be read are counted."""
    for _ in documents:
        pass
    yield from curated.documents(name)


def found_of(curated: Curated) -> dict[str, Any]:
    """Counts for the corpus's statistics, which the report shows: documents kept, removed by rule, paragraphs cut."""
    sources = curated.summary.sources.items()
    return {"curation": {name: _found(source) for name, source in sources}}


def _found(source: SourceSummary) -> dict[str, Any]:
    paragraphs = {"count": source.paragraphs_removed, "characters": source.paragraph_characters_removed}
    return {"kept": source.kept, "removed": dict(source.removed), "paragraphs": paragraphs}


def _documents(run: RunConfig, files: Mapping[str, list[Path]]) -> Iterator[Document]:
    """The documents of all sources; each knows its license, which the license filter asks."""
    for name, source in run.sources.items():
        tally = Tally()
        for document in read_source(name, source, Path.cwd(), tally, files=files[f"sources.{name}.paths"]):
            yield _licensed(document, source.license)


def _licensed(document: Document, license: str) -> Document:
    if not license or "license" in document.meta:
        return document
    return replace(document, meta={**document.meta, "license": license})


def _evaluation(run: RunConfig, files: Mapping[str, list[Path]]) -> list[Prompt]:
    """The prompts that no document may hold: those of `evaluate.prompts`, else of all conversations.

    Which conversations are held out is decided with the documents, after this.
    """
    if "evaluate.prompts" in files:
        return list(read_prompts(files["evaluate.prompts"])[0])
    if "sft.data" not in files:
        return []
    conversations, _ = read_conversations(files["sft.data"], format=run.sft.format, columns=run.sft.columns)
    return [prompt for conversation in conversations for prompt in _prompt(conversation)]


def _prompt(conversation: Any) -> Iterator[Prompt]:
    try:
        yield conversation.prompt()
    except InvalidArgument:  # it asks nothing
        return
