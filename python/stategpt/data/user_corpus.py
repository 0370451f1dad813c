"""Builds the corpus of a run from the files that its settings name: documents, conversations, rankings, prompts and
labeled texts.

Everything is split by one rule, so that a prompt is on one side in demonstrations, rankings and prompts alike. Prompts
given for evaluation are held out of all of them. Memory: the conversations, rankings and prompts, and for each document
some bytes; documents themselves wait in a file.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stategpt.artifacts import Manifest
from stategpt.config import RunConfig
from stategpt.data.corpus import (
    publish_corpus,
    record_counts,
    require_source_name,
    write_json,
    write_records,
)
from stategpt.data.document_spool import copy_to_sides, spool_documents
from stategpt.data.inputs import Changes, Inputs, changed, fingerprint_inputs
from stategpt.data.records import Document
from stategpt.data.rejections import Tally
from stategpt.data.sources.files import read_source
from stategpt.data.sources.globs import files_of, require_distinct, root_of, shown_name
from stategpt.data.splitting import GroupSplit, require_groups
from stategpt.data.user_records import HELD_OUT, DividedRecords, UserRecords, divide_records, read_records
from stategpt.errors import CorpusError
from stategpt.user_functions import source_digest

Read = Callable[[str, Tally], Iterator[Document]]
"""Gives the documents of a source, by its name, and counts in the tally what became of each that was read."""

_SPOOL = ".documents"


@dataclass(frozen=True)
class UserInputs:
    """The input files of a run, and the records in them, read and divided."""

    files: Mapping[str, list[Path]]
    """By the setting that names them."""
    root: Path
    """Folder that their names are relative to."""
    hashed: Inputs
    """Their content before they were read."""
    records: UserRecords
    """Conversations, rankings and prompts."""
    divided: DividedRecords
    """Those by side."""
    split: GroupSplit
    """The split, which documents are still to be added to."""

    def of_source(self, name: str) -> Inputs:
        """The content of a source's files."""
        named = (shown_name(path, self.root) for path in self.files[f"sources.{name}.paths"])
        return Inputs({path: self.hashed.files[path] for path in named if path in self.hashed.files})

    def changed_since(self) -> Changes:
        """How the files differ now from what was read."""
        now = _hashed(self.files, self.root)
        return changed(replace(self.hashed, functions={}), now)


def input_files(
    run: RunConfig, base: str | os.PathLike[str] = ".", exclude: Iterable[str | os.PathLike[str]] = ()
) -> dict[str, list[Path]]:
    """The input files of a run by the setting that names them, e.g. `sources.notes.paths`, `sft.data`.

    Args:
        run: its settings.
        base: folder that relative patterns are relative to.
        exclude: folders whose files are no input: the run's own.

    Raises:
        CorpusError: a pattern matches nothing; a file is in two sources.
    """
    left_out = list(exclude)
    found = {name: files_of(patterns, base, left_out, name) for name, patterns in _patterns(run).items()}
    require_distinct({name: files for name, files in found.items() if name.startswith("sources.")})
    return found


def run_inputs(
    run: RunConfig,
    base: str | os.PathLike[str] = ".",
    exclude: Iterable[str | os.PathLike[str]] = (),
) -> Inputs:
    """Size and hash of every input file of a run as it is now, and of the functions that change documents; compare with
    `Inputs.from_json(corpus.inputs)`.

    Raises `CorpusError` as `input_files`, and where a file cannot be read.
    """
    return replace(_hashed(input_files(run, base, exclude), input_root(run, base)), functions=function_digests(run))


def input_root(run: RunConfig, base: str | os.PathLike[str] = ".") -> Path:
    """The folder that names of files and places are relative to: it depends on the settings, not on what is in it."""
    return root_of((pattern for patterns in _patterns(run).values() for pattern in patterns), base)


def function_digests(run: RunConfig) -> dict[str, str]:
    """SHA-256 of the source file of each function of the user's that `[curate]` names, by `module:function`."""
    return {name: source_digest(name) for name in run.curate.functions}


def read_inputs(
    run: RunConfig, base: str | os.PathLike[str] = ".", exclude: Iterable[str | os.PathLike[str]] = ()
) -> UserInputs:
    """Hashes all input files, reads conversations, rankings and prompts, and divides them; documents come later.

    Raises:
        CorpusError: a pattern matches nothing; too many rejected records (the first ten are shown); too few groups.
    """
    files, root = input_files(run, base, exclude), input_root(run, base)
    for name in run.sources:
        require_source_name(name)
    hashed = replace(_hashed(files, root), functions=function_digests(run))
    records = read_records(run, root, files)
    split = GroupSplit(run.corpus.validation_share, run.corpus.test_share, run.corpus.split_seed)
    return UserInputs(files, root, hashed, records, divide_records(run, records, split), split)


def build_user_corpus(
    run: RunConfig,
    base: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    exclude: Iterable[str | os.PathLike[str]] = (),
    read: Read | None = None,
    found: Mapping[str, Any] | None = None,
    fingerprint: str = "",
    parents: Sequence[str] = (),
) -> Manifest:
    """Reads, checks, splits and publishes the corpus of a run as `folder`, whole or not at all.

    Args:
        run: settings; `sources`, `sft.data`, `rankings.data` and the prompts name files.
        base: folder that relative patterns are relative to.
        exclude: folders whose files are no input, such as the run's.
        folder, read, found, fingerprint, parents: as `publish_user_corpus`.

    Raises:
        As `read_inputs` and `publish_user_corpus`.
    """
    given = read_inputs(run, base, exclude)
    return publish_user_corpus(run, given, folder, read=read, found=found, fingerprint=fingerprint, parents=parents)


def publish_user_corpus(
    run: RunConfig,
    given: UserInputs,
    folder: str | os.PathLike[str],
    *,
    read: Read | None = None,
    found: Mapping[str, Any] | None = None,
    fingerprint: str = "",
    parents: Sequence[str] = (),
) -> Manifest:
    """Adds the documents to what was read, and publishes all as the corpus `folder`, whole or not at all.

    Args:
        run: settings.
        given: what `read_inputs` gave; it can be published once.
        folder: the corpus; what is there is replaced. Documents wait in a folder beside it meanwhile.
        read: gives the documents of a source in place of its files.
        found: what else to record in statistics.json.
        fingerprint: that of the settings which the corpus follows.
        parents: manifest fingerprints of what `read` reads.

    Raises:
        ConfigError: a setting that does not fit the files.
        CorpusError: no document; too many rejected documents (the first ten are shown); too few groups to split; a file
            that changed while it was read.
        OutOfSpace, StorageError: nothing half-written is left.
    """
    with _waiting_beside(Path(folder)) as waiting:
        sizes = _spool_sources(run, given, read or partial(_read_files, run, given), waiting)
        if changes := given.changed_since():
            raise CorpusError(f"input files changed while they were read: {', '.join(changes.edited)}; run it again")
        write = partial(_write, waiting=waiting, given=given, sizes=sizes, found=found or {})
        return publish_corpus(folder, write, list(run.sources), fingerprint, parents)


@contextmanager
def _waiting_beside(folder: Path) -> Iterator[Path]:
    """A folder for documents whose side is not known yet."""
    waiting = folder.parent / _SPOOL
    shutil.rmtree(waiting, ignore_errors=True)  # of a process that was killed
    waiting.mkdir(parents=True)
    try:
        yield waiting
    finally:
        shutil.rmtree(waiting, ignore_errors=True)


def _spool_sources(run: RunConfig, given: UserInputs, read: Read, waiting: Path) -> dict[str, npt.NDArray[np.int64]]:
    """Writes the documents of each source to a file, and adds their groups to the split; returns their sizes."""
    sizes = {}
    for name in run.sources:
        key = f"sources.{name}"
        tally = given.records.tallies[key] = Tally()
        sizes[name] = spool_documents(read(name, tally), waiting / f"{name}.jsonl", key, given.split)
        _require_usable(run, key, tally, len(sizes[name]))
    for key in (f"sources.{name}" for name in run.sources):
        require_groups(key, given.split.groups(key), run.corpus.validation_share, run.corpus.test_share)
    return sizes


def _read_files(run: RunConfig, given: UserInputs, name: str, tally: Tally) -> Iterator[Document]:
    files = given.files[f"sources.{name}.paths"]
    return read_source(name, run.sources[name], given.root, tally, files=files)


def _require_usable(run: RunConfig, name: str, tally: Tally, left: int) -> None:
    tally.require(run.corpus.max_rejected_share, name)
    if not left:
        removed = tally.duplicate + sum(tally.removed.values())
        by = f", {removed:,} were removed by [curate]" if removed else ""
        raise CorpusError(f"{name}: no document is left of {tally.total:,}{by}; give files with text")


def _write(
    target: Path,
    waiting: Path,
    given: UserInputs,
    sizes: Mapping[str, npt.NDArray[np.int64]],
    found: Mapping[str, Any],
) -> None:
    """Writes the files of the corpus."""
    sides, counts = given.split.decide(), {}
    for name, each in sizes.items():
        places = given.split.sides_in_order(f"sources.{name}", sides)
        counts[name] = copy_to_sides(waiting / f"{name}.jsonl", target / "documents" / name, places, each)
    records = given.divided
    write_records(target, records.conversations, records.rankings, records.prompts, records.labels)
    write_json(target / "inputs.json", given.hashed.to_json())
    statistics = {
        "inputs": {name: tally.to_json() for name, tally in given.records.tallies.items()},
        **found,
        "sources": counts,
        **record_counts(records.conversations, records.rankings, records.prompts, records.labels),
    }
    write_json(target / "statistics.json", statistics)


def _patterns(run: RunConfig) -> dict[str, Sequence[str]]:
    named: dict[str, Sequence[str]] = {f"sources.{name}.paths": source.paths for name, source in run.sources.items()}
    named |= {
        "sft.data": run.sft.data,
        "rankings.data": run.rankings.data,
        "rankings.prompts": run.rankings.prompts,
        "rl.prompts": run.rl.prompts,
        HELD_OUT: run.evaluate.prompts,
        "classify.data": run.classify.data,
    }
    return {name: patterns for name, patterns in named.items() if patterns}


def _hashed(files: Mapping[str, list[Path]], root: Path) -> Inputs:
    return fingerprint_inputs((path for listed in files.values() for path in listed), root)
