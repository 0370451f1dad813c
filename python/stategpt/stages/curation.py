"""Between the files and the split: what `[curate]` asks, published as the folder `curation` with its receipts."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stategpt.artifacts import fingerprint, verify
from stategpt.artifacts.measurements import is_published
from stategpt.artifacts.run_folder import RunFolder
from stategpt.config import RunConfig
from stategpt.config.parts import CURATION
from stategpt.data.corpus_rows import prompt_row
from stategpt.data.curation import Curated, SourceSummary, curate, read_curated
from stategpt.data.curation.duplicates import EXACT_DUPLICATE
from stategpt.data.curation.work import discard_work
from stategpt.data.prompts import prompts_of
from stategpt.data.records import Document, Prompt
from stategpt.data.rejections import Tally
from stategpt.data.sources.files import read_source
from stategpt.data.splitting import Side
from stategpt.data.user_corpus import UserInputs
from stategpt.data.user_records import HELD_OUT
from stategpt.errors import CorpusError, ForeignArtifact
from stategpt.progress import console
from stategpt.stages.curation_progress import BytesRead, shown_passes
from stategpt.stages.fingerprints import part_fingerprint
from stategpt.visible_text import visible_line

_HELD_OUT_SIDES: tuple[Side, ...] = ("validation", "test")
_DOCUMENTS, _FUNCTION, _PROMPTS, _CONFIG = "documents of sources.", "function ", "evaluation prompts", "config"


class _Changed(CorpusError):
    """Files changed while they were curated."""


def curated_documents(run: RunConfig, folder: RunFolder, given: UserInputs, other: Path | None = None) -> Curated:
    """Curates the documents of all sources, or checks that the curation that is there is of these.

    Documents, settings, functions of the user's and evaluation prompts decide it, and nothing else. Where one of them
    changed, `other` is the folder of the new one, and the old one stays; without `other` it is refused or replaced, by
    `corpus.on_change`. An interrupted one is continued.

    Raises:
        ForeignArtifact: it is of others, and `corpus.on_change` is "refuse"; they are named.
        ConfigError, CorpusError, MissingExtra: as `curate`; too many rejected documents of a source, when it is read.
    """
    target = folder.root / CURATION
    prompts = _evaluation(run, given) if run.curate.decontaminate else []
    made_from = _made_from(run, given, prompts)
    if changed := _changed_since(target, made_from):
        _refuse(run, target, changed)
        if other is None:
            shutil.rmtree(target)
        target = other or target
    elif is_published(target):
        discard_work(target)  # of a process that was killed between publishing and cleaning up
        return read_curated(target)
    searched = f"; documents are searched for {len(prompts):,} {_named(run)}" if prompts else ""
    console.print(f"curation: {', '.join(run.sources)}{searched}", markup=False)
    tallies = {name: Tally() for name in run.sources}
    read = BytesRead(given.files, given.root)
    try:
        with shown_passes(read) as show:
            return curate(
                _documents(run, given, tallies, read),
                run.curate,
                target,
                evaluation=prompts,
                fingerprints=made_from,
                tallies=tallies,
                progress=show,
            )
    except _Changed:
        discard_work(target)  # it may hold documents of both
        raise


def kept_of(curated: Curated, name: str, tally: Tally) -> Iterator[Document]:
    """What was kept of a source; counts what the reader and curation did with each document."""
    counted, found = curated.summary.inputs[name], curated.summary.sources.get(name)
    for key in ("kept", "replaced", "first"):
        setattr(tally, key, getattr(counted, key))
    tally.rejected.update(counted.rejected)
    for rule, count in found.removed.items() if found else ():
        tally.drop(rule, count, duplicate=rule == EXACT_DUPLICATE)
    return curated.documents(name)


def found_of(curated: Curated) -> dict[str, Any]:
    """Counts for the corpus's statistics, which the report shows: of each source the documents kept and removed by rule
    and the paragraphs cut out, and what the comparing steps could not see.
    """
    sources = curated.summary.sources
    compared = curated.summary.compared
    return {
        "curation": {name: _found(source) for name, source in sources.items()},
        "compared": {
            "skipped_pairs": compared.skipped_pairs,
            "prompts": compared.prompts,
            "unsearchable": compared.unsearchable,
        },
    }


def _found(source: SourceSummary) -> dict[str, Any]:
    paragraphs = {"count": source.paragraphs_removed, "characters": source.paragraph_characters_removed}
    return {"kept": source.kept, "removed": dict(source.removed), "paragraphs": paragraphs}


def _made_from(run: RunConfig, given: UserInputs, prompts: Iterable[Prompt]) -> dict[str, str]:
    """Fingerprints of all that decides the curation, by what a message calls it."""
    found = {f"{_DOCUMENTS}{name}": fingerprint(given.of_source(name).to_json()) for name in run.sources}
    found |= {f"{_FUNCTION}{name}": digest for name, digest in given.hashed.functions.items()}
    if run.curate.decontaminate:
        found[_PROMPTS] = fingerprint([prompt_row(prompt) for prompt in prompts])
    return {_CONFIG: part_fingerprint(run, CURATION, tuple(found.values())), **found}


def _changed_since(target: Path, made_from: Mapping[str, str]) -> list[str]:
    """What the curation that is there was made from and is otherwise now, by what a message calls it; none if equal."""
    if not is_published(target):
        return []
    held = verify(target, kind=CURATION).fingerprints
    named = [key for key in {**held, **made_from} if held.get(key) != made_from.get(key)]
    return [visible_line(key) for key in named if key != _CONFIG] or (["settings"] if named else [])


def _refuse(run: RunConfig, target: Path, changed: Sequence[str]) -> None:
    """Ends a run that may not make its curation again; says what is made again otherwise."""
    if run.corpus.on_change == "refuse":
        raise ForeignArtifact(
            f"{visible_line(str(target))} was made with other settings or inputs. Changed since: {', '.join(changed)}. "
            'Restore them, use another --out folder, or set corpus.on_change = "rebuild" to make it again.'
        )
    console.print(f"curation: made again, as these changed: {', '.join(changed)}", markup=False)


def _documents(run: RunConfig, given: UserInputs, tallies: Mapping[str, Tally], read: BytesRead) -> Iterator[Document]:
    """The documents of all sources; each knows its license, which the license filter asks.

    A source of which too many are rejected ends it before the next one is read.
    """
    for name, source in run.sources.items():
        files = given.files[f"sources.{name}.paths"]
        for document in read_source(name, source, given.root, tallies[name], files=files, on_file=read.begin):
            read.reach(document)
            yield _licensed(document, source.license)
        tallies[name].require(run.corpus.max_rejected_share, f"sources.{name}")
    read.finish()
    if changes := given.changed_since():
        raise _Changed(f"input files changed while they were curated: {', '.join(changes.edited)}; run it again")


def _licensed(document: Document, license: str) -> Document:
    if not license or "license" in document.meta:
        return document
    return replace(document, meta={**document.meta, "license": license})


def _evaluation(run: RunConfig, given: UserInputs) -> list[Prompt]:
    """The prompts that no document may hold: those of `evaluate.prompts`, else all that are held out of training; and
    the held-out labeled texts, each with its label as the answer.
    """
    labeled = [
        Prompt.of(each.text, each.label, where=each.where)
        for side in _HELD_OUT_SIDES
        for each in given.divided.labels.get(side, ())
    ]
    return [*_asked(run, given), *labeled]


def _asked(run: RunConfig, given: UserInputs) -> list[Prompt]:
    if run.evaluate.prompts:
        return list(given.records.prompts[HELD_OUT.partition(".")[0]])
    asking = replace(
        given.divided,
        conversations={
            side: [each for each in found if any(message.role == "assistant" for message in each.messages)]
            for side, found in given.divided.conversations.items()
        },
    )
    return [prompt for side in _HELD_OUT_SIDES for prompt in prompts_of(asking, "evaluate", side)]


def _named(run: RunConfig) -> str:
    asked = f"prompts of {HELD_OUT}" if run.evaluate.prompts else "prompts that are held out for validation and test"
    return f"{asked}, held-out labeled texts included" if run.classify.data else asked
