"""Builds the corpus of a run from the files that its settings name: documents, conversations, rankings and prompts.

Everything is split by one rule, so that a prompt is on one side in demonstrations, rankings and prompts alike. Prompts
given for evaluation are held out of all of them. Memory: the conversations, rankings and prompts, and for each document
some bytes; documents themselves wait in a file.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

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
from stategpt.data.formats import read_conversations, read_prompts, read_ranked
from stategpt.data.groups import group_of
from stategpt.data.inputs import Inputs, changed, fingerprint_inputs
from stategpt.data.rankings import RankedGroup
from stategpt.data.records import Conversation, Document, Prompt
from stategpt.data.rejections import Tally
from stategpt.data.sources.files import read_source
from stategpt.data.sources.globs import files_of, require_distinct, root_of
from stategpt.data.splitting import SIDES, GroupSplit, Side, Sides, require_groups
from stategpt.errors import CorpusError

Curate = Callable[[str, Iterator[Document]], Iterator[Document]]
"""Takes the name of a source and its documents, and gives those that are kept."""
Grouped = TypeVar("Grouped", Conversation, Prompt, RankedGroup)

_HELD_OUT = "evaluate.prompts"
_SPOOL = ".documents"


@dataclass
class _Found:
    """What was read, before the split."""

    conversations: list[Conversation] = field(default_factory=list)
    rankings: list[RankedGroup] = field(default_factory=list)
    prompts: dict[str, list[Prompt]] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)


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
    settings: Collection[str] | None = None,
) -> Inputs:
    """Size and hash of every input file of a run as it is now; compare with `Inputs.from_json(corpus.inputs)`.

    `settings` are those whose files are hashed, e.g. `sft.data`; by default all of them. Raises `CorpusError` as
    `input_files`, and where a file cannot be read.
    """
    files = input_files(run, base, exclude)
    wanted = {name: listed for name, listed in files.items() if settings is None or name in settings}
    return _hashed(wanted, _root(run, base))


def build_user_corpus(
    run: RunConfig,
    base: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    exclude: Iterable[str | os.PathLike[str]] = (),
    curate: Curate | None = None,
    found: Mapping[str, Any] | None = None,
    fingerprint: str = "",
    parents: Sequence[str] = (),
) -> Manifest:
    """Reads, checks, splits and publishes the corpus of a run as `folder`, whole or not at all.

    Args:
        run: settings; `sources`, `sft.data`, `rankings.data` and the prompts name files.
        base: folder that relative patterns are relative to.
        folder: the corpus; what is there is replaced. Documents wait in a folder beside it meanwhile.
        exclude: folders whose files are no input, such as the run's.
        curate: removes or changes the documents of a source.
        found: what else to record in statistics.json; read after the documents, so that `curate` can fill it.
        fingerprint: that of the settings which the corpus follows.
        parents: manifest fingerprints of what `curate` reads.

    Raises:
        ConfigError: a setting that does not fit the files.
        CorpusError: no file or no document; too many rejected records (the first ten are shown); too few groups to
            split; a file that changed while it was read.
        OutOfSpace, StorageError: nothing half-written is left.
    """
    files, root = input_files(run, base, exclude), _root(run, base)
    for name in run.sources:
        require_source_name(name)
    before = _hashed(files, root)
    split = GroupSplit(run.corpus.validation_share, run.corpus.test_share, run.corpus.split_seed)
    waiting = Path(folder).parent / _SPOOL
    shutil.rmtree(waiting, ignore_errors=True)  # of a process that was killed
    waiting.mkdir(parents=True)
    try:
        records = _read_records(run, root, files)
        sizes = {}
        for name, config in run.sources.items():
            tally = records.tallies[f"sources.{name}"] = Tally()
            documents = read_source(name, config, root, tally, files=files[f"sources.{name}.paths"])
            kept = curate(name, documents) if curate else documents
            sizes[name] = spool_documents(kept, waiting / f"{name}.jsonl", f"sources.{name}", split)
            _require_usable(run, f"sources.{name}", tally, len(sizes[name]))
        if after := changed(before, _hashed(files, root)):
            raise CorpusError(f"input files changed while they were read: {', '.join(after.edited)}; run it again")
        sides = _decide(run, split, records)

        def write(target: Path) -> None:
            """Writes the files of the corpus."""
            counts: dict[str, Any] = {}
            for name in run.sources:
                places = split.sides_in_order(f"sources.{name}", sides)
                spool, to = waiting / f"{name}.jsonl", target / "documents" / name
                counts[name] = copy_to_sides(spool, to, places, sizes[name])
            _write(target, records, sides, counts, before, found or {})

        return publish_corpus(folder, write, list(run.sources), fingerprint, parents)
    finally:
        shutil.rmtree(waiting, ignore_errors=True)


def _patterns(run: RunConfig) -> dict[str, Sequence[str]]:
    named: dict[str, Sequence[str]] = {f"sources.{name}.paths": source.paths for name, source in run.sources.items()}
    named |= {
        "sft.data": run.sft.data,
        "rankings.data": run.rankings.data,
        "rankings.prompts": run.rankings.prompts,
        "rl.prompts": run.rl.prompts,
        _HELD_OUT: run.evaluate.prompts,
    }
    return {name: patterns for name, patterns in named.items() if patterns}


def _hashed(files: Mapping[str, list[Path]], root: Path) -> Inputs:
    return fingerprint_inputs((path for listed in files.values() for path in listed), root)


def _root(run: RunConfig, base: str | os.PathLike[str]) -> Path:
    """The folder that names of files are relative to: it depends on the settings, not on what is in the folder."""
    return root_of((pattern for patterns in _patterns(run).values() for pattern in patterns), base)


def _require_usable(run: RunConfig, name: str, tally: Tally, kept: int) -> None:
    tally.require(run.corpus.max_rejected_share, name)
    if not kept:
        removed = f", {tally.kept:,} were removed by [curate]" if tally.kept else ""
        raise CorpusError(f"{name}: no document is left of {tally.total:,}{removed}; give files with text")


def _decide(run: RunConfig, split: GroupSplit, records: _Found) -> Sides:
    """The side of every group, once each input has enough of them."""
    inputs: dict[str, Sequence[Conversation | Prompt | RankedGroup]] = {
        "sft.data": records.conversations,
        "rankings.data": records.rankings,
        **{f"{use}.prompts": given for use, given in records.prompts.items()},
    }
    for name, given in inputs.items():
        for record in given:
            if name == _HELD_OUT:
                split.pin(group_of(record), "test")
            else:
                split.add(name, group_of(record))
    named = [f"sources.{name}" for name in run.sources]
    for name in [*named, *(name for name, given in inputs.items() if given and name != _HELD_OUT)]:
        require_groups(name, split.groups(name), run.corpus.validation_share, run.corpus.test_share)
    return split.decide()


def _write(
    target: Path,
    records: _Found,
    sides: Sides,
    counts: Mapping[str, Any],
    inputs: Inputs,
    found: Mapping[str, Any],
) -> None:
    conversations = _by_side(records.conversations, sides)
    rankings = _by_side(records.rankings, sides) if records.rankings else {}
    prompts = {use: _by_side(given, sides) for use, given in records.prompts.items()}
    write_records(target, conversations, rankings, prompts)
    write_json(target / "inputs.json", inputs.to_json())
    statistics = {
        "inputs": {name: tally.to_json() for name, tally in records.tallies.items()},
        **found,
        "sources": counts,
        **record_counts(conversations, rankings, prompts),
    }
    write_json(target / "statistics.json", statistics)


def _read_records(run: RunConfig, root: Path, files: Mapping[str, list[Path]]) -> _Found:
    """Conversations, rankings and prompts, each input checked for too many rejections."""
    found = _Found()
    for name, listed in files.items():
        if name.startswith("sources."):
            continue
        records: Sequence[Conversation | Prompt | RankedGroup]
        if name == "sft.data":
            sft = run.sft
            records, tally = read_conversations(listed, format=sft.format, columns=sft.columns, base=root)
            found.conversations = records
        elif name == "rankings.data":
            ranked = run.rankings
            records, tally = read_ranked(listed, format=ranked.format, columns=ranked.columns, base=root)
            found.rankings = records
        else:
            records, tally = read_prompts(listed, base=root)
            found.prompts[name.partition(".")[0]] = records
        found.tallies[name] = tally
        tally.require(run.corpus.max_rejected_share, name)
        if not records:
            raise CorpusError(f"{name}: none of the {tally.total:,} records of its files can be used")
    return found


def _by_side(records: Sequence[Grouped], sides: Sides) -> dict[Side, list[Grouped]]:
    found: dict[Side, list[Grouped]] = {side: [] for side in SIDES}
    for record in records:
        found[sides.of(group_of(record))].append(record)
    return found
