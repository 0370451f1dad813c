"""The corpus of a run: documents by source and conversations, split into training, validation and test.

On disk it is one published folder of JSONL files that people can read:

    documents/<source>/{train,validation,test}.jsonl    {"text", "group"}
    conversations/{train,validation,test}.jsonl         {"messages": [{"role", "content"}, ...], "group", "meta"}
    rankings/{train,validation,test}.jsonl              records of `data.rankings`, where people ranked completions
    prompts/{rankings,rl,evaluate}/{...}.jsonl          {"messages", "reference", "group", "meta"}, where they are given
    labels/{train,validation,test}.jsonl                {"text", "label", "group"}, where labeled texts are given
    inputs.json                                         path, size and BLAKE3 of the files it was built from, if any
    statistics.json                                     `Corpus.found`, and the sizes

Each of the folders (of prompts, that of each use) is a part with a separate manifest, which depends on its records
alone. A stage is made from the parts that it reads, so that it stays valid where other inputs changed (`PARTS`).

`where` and `meta` of a document, `where` of a conversation and `trained` of a message are written where they differ
from the default. Documents are read when they are used: a corpus larger than memory is no trouble.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from stategpt.artifacts import Manifest, publish_folder, verify
from stategpt.data.corpus_rows import (
    CONVERSATION,
    LABELED,
    PROMPT,
    conversation_of,
    conversation_row,
    document_row,
    labeled_of,
    labeled_row,
    prompt_of,
    prompt_row,
    read_rows,
    write_rows,
)
from stategpt.data.ranking_rows import ranking_row, read_rankings
from stategpt.data.rankings import RankedGroup
from stategpt.data.records import Conversation, Document, LabeledText, Prompt
from stategpt.data.splitting import SIDES as SIDES
from stategpt.data.splitting import Side as Side
from stategpt.data.stored_documents import StoredDocuments
from stategpt.errors import CorpusError, CorruptArtifact, ForeignArtifact
from stategpt.json_reader import Integer, Items, MapOf, Record, Text, check_value, read_json
from stategpt.shown_fields import documented, short_repr

KIND = "corpus"
FORMAT_VERSION = 4
"""Version of the files; 1 had documents/ at the top and pairs/ for conversations, 2 no rankings, prompts and inputs, 3
no manifests of the parts."""

DOCUMENTS, CONVERSATIONS, LABELS = "documents", "conversations", "labels"
"""Names of parts of a corpus. The shards of conversations are beside those of sources; no source may be called so."""
PROMPT_USES = ("rankings", "rl", "evaluate")
"""What prompts of their own may be given for; the prompts of conversations serve where there are none."""

PARTS = (DOCUMENTS, CONVERSATIONS, "rankings", *(f"prompts/{use}" for use in PROMPT_USES), LABELS)
"""Folders of a corpus that are published folders themselves; those that are there."""
PART_KIND = "corpus_part"

_SOURCE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", re.ASCII)
_SIZE = Record({"documents": Integer(0), "bytes": Integer(0)})
_SIZES = MapOf(Record(dict.fromkeys(SIDES, _SIZE)))


@documented
@dataclass(frozen=True, slots=True)
class SplitDocuments:
    """The documents of one source, by side of the split, in memory."""

    train: list[Document] = field(default_factory=list)
    """What models and the tokenizer learn from."""
    validation: list[Document] = field(default_factory=list)
    """What settings are chosen by."""
    test: list[Document] = field(default_factory=list)
    """What only measurements read."""

    __repr__ = short_repr

    def of(self, side: Side) -> list[Document]:
        """The documents of one side, in order."""
        found: list[Document] = getattr(self, side)
        return found

    def texts(self, side: Side) -> list[str]:
        """The texts of one side, in order."""
        return [document.text for document in self.of(side)]


@documented
@dataclass(frozen=True, slots=True)
class Corpus:
    """Everything that a run is made from. One split by group holds for all documents, conversations and prompts."""

    sources: Mapping[str, SplitDocuments | StoredDocuments]
    """Documents by source, by side: in memory, or read from the published folder when they are used."""
    conversations: dict[Side, list[Conversation]]
    """Demonstrations for SFT, and the prompts of rankings, RL and evaluation."""
    found: dict[str, Any]
    """What was read, kept and dropped, by reason; plain JSON values."""
    rankings: dict[Side, list[RankedGroup]] = field(default_factory=dict)
    """Completions that people ranked; empty if there are none."""
    prompts: dict[str, dict[Side, list[Prompt]]] = field(default_factory=dict)
    """Prompts given for one use, by use: rankings, rl, evaluate."""
    labels: dict[Side, list[LabeledText]] = field(default_factory=dict)
    """Labeled texts; empty if there are none."""
    inputs: dict[str, Any] = field(default_factory=dict)
    """Files that it was built from: `data.inputs.Inputs.to_json`; empty for a source that reads no files of users."""

    __repr__ = short_repr

    def __post_init__(self) -> None:
        for name in self.sources:
            require_source_name(name)
        missing = [side for side in SIDES if side not in self.conversations]
        if missing:
            raise CorpusError(f"the corpus has no list of conversations for {', '.join(missing)}; give an empty one")
        unknown = [use for use in self.prompts if use not in PROMPT_USES]
        if unknown:
            raise CorpusError(f"the corpus has prompts for {unknown[0]!r:.60}; they are for {', '.join(PROMPT_USES)}")

    def counts(self) -> dict[str, Any]:
        """Sizes: `sources` (documents and UTF-8 bytes by side), `conversations`, and where there are any `rankings`,
        `prompts` and `labels`, by side; plain JSON values.
        """
        return {
            "sources": {name: _sizes(split) for name, split in self.sources.items()},
            **record_counts(self.conversations, self.rankings, self.prompts, self.labels),
        }


def require_source_name(name: str) -> None:
    """Checks that a source may have this name: its documents and shards have folders of that name.

    Raises:
        CorpusError: it may not.
    """
    if name == CONVERSATIONS:
        raise CorpusError(f"a source of the corpus is called {name!r}, as its conversations are; rename it")
    if not _SOURCE_NAME.fullmatch(name):
        raise CorpusError(f"a source of the corpus is called {name!r:.60}; use letters, digits and _ . -")


def record_counts(
    conversations: Mapping[Side, list[Conversation]],
    rankings: Mapping[Side, list[RankedGroup]],
    prompts: Mapping[str, Mapping[Side, list[Prompt]]],
    labels: Mapping[Side, list[LabeledText]],
) -> dict[str, Any]:
    """Numbers of records by side, as JSON values; rankings, prompts and labels only where there are any."""
    counts: dict[str, Any] = {"conversations": {side: len(conversations[side]) for side in SIDES}}
    if rankings:
        counts["rankings"] = {side: len(rankings[side]) for side in SIDES}
    if prompts:
        counts["prompts"] = {use: {side: len(given[side]) for side in SIDES} for use, given in prompts.items()}
    if labels:
        counts[LABELS] = {side: len(labels[side]) for side in SIDES}
    return counts


def write_corpus(corpus: Corpus, folder: str | PathLike[str], *, fingerprint: str = "") -> Manifest:
    """Publishes `corpus` as `folder`, whole or not at all. `fingerprint` is that of the configuration it follows.

    Raises:
        OutOfSpace, StorageError: nothing half-written is left.
        CorpusError: a document or conversation takes more than 64 MiB as JSON.
    """

    def write(target: Path) -> None:
        """Writes the files of the corpus."""
        for source, split in corpus.sources.items():
            for side in SIDES:
                write_rows(target / "documents" / source / f"{side}.jsonl", map(document_row, split.of(side)))
        write_records(target, corpus.conversations, corpus.rankings, corpus.prompts, corpus.labels)
        if corpus.inputs:
            write_json(target / "inputs.json", corpus.inputs)
        write_json(target / "statistics.json", corpus.found | corpus.counts())

    return publish_corpus(folder, write, list(corpus.sources), fingerprint)


def publish_corpus(
    folder: str | PathLike[str], write: Any, sources: list[str], fingerprint: str, parents: Sequence[str] = ()
) -> Manifest:
    """Publishes the files that `write(target)` makes as a corpus with these sources.

    `parents` are what the documents were made from; the corpus itself is made from its parts.
    """
    parts: list[str] = []

    def write_and_seal(target: Path) -> None:
        """Writes the files, and the manifest of each part."""
        write(target)
        for name in PARTS:
            if (target / name).is_dir():
                made_from = parents if name == DOCUMENTS else ()
                parts.append(_sealed(target / name, made_from).fingerprint)

    return publish_folder(
        folder,
        write_and_seal,
        kind=KIND,
        fingerprints={"config": fingerprint} if fingerprint else {},
        parents=lambda: parts,
        extra={"format_version": FORMAT_VERSION, "sources": sources},
    )


def _sealed(folder: Path, parents: Sequence[str]) -> Manifest:
    """Gives a folder of files a manifest that says nothing but what the files hold and what they were made from."""
    unsealed = folder.with_name(f".{folder.name}")
    folder.rename(unsealed)

    def move(target: Path) -> None:
        """Moves the files into the folder to be published."""
        for path in unsealed.iterdir():
            path.rename(target / path.name)

    manifest = publish_folder(folder, move, kind=PART_KIND, parents=parents)
    unsealed.rmdir()
    return manifest


def write_records(
    target: Path,
    conversations: Mapping[Side, list[Conversation]],
    rankings: Mapping[Side, list[RankedGroup]],
    prompts: Mapping[str, Mapping[Side, list[Prompt]]],
    labels: Mapping[Side, list[LabeledText]],
) -> None:
    """Writes the files of everything but documents into the folder `target`."""
    for side in SIDES:
        write_rows(target / CONVERSATIONS / f"{side}.jsonl", map(conversation_row, conversations[side]))
        if rankings:
            write_rows(target / "rankings" / f"{side}.jsonl", map(ranking_row, rankings[side]))
        for use, given in prompts.items():
            write_rows(target / "prompts" / use / f"{side}.jsonl", map(prompt_row, given[side]))
        if labels:
            write_rows(target / LABELS / f"{side}.jsonl", map(labeled_row, labels[side]))


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes JSON for people: indented, with a newline at the end."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_corpus(folder: str | PathLike[str]) -> Corpus:
    """Reads what `write_corpus` published, after checking every file against the manifest. Documents stay on the disk.

    Raises:
        CorruptArtifact: the folder is damaged, or a line is not a record; a document's line when it is used.
        ForeignArtifact: it is of another kind, or of another format version (made by another version of stategpt).
    """
    manifest, root = verify(folder, kind=KIND), Path(folder)
    version = manifest.extra.get("format_version", 1)
    if version != FORMAT_VERSION:
        raise ForeignArtifact(
            f"{root} is a corpus of format version {version!r:.20}; this version of stategpt reads {FORMAT_VERSION}. "
            "Use a new run folder, where the corpus is built again, or the version of stategpt that wrote it."
        )
    names = check_value(
        manifest.extra.get("sources"), Items(Text(max_chars=100)), where=f"{root}: sources", error=CorruptArtifact
    )
    found = read_json(root / "statistics.json", error=CorruptArtifact)
    check_value(found, Record({"sources": _SIZES}), where=f"{root / 'statistics.json'}", error=CorruptArtifact)
    lost = [name for name in names if name not in found["sources"]]
    if lost:
        raise CorruptArtifact(f"{root / 'statistics.json'} counts no source {lost[0]!r}. Restore the file from a copy.")
    sources = {name: StoredDocuments(root / "documents" / name, name, found["sources"][name]) for name in names}
    conversations = {
        side: list(map(conversation_of, read_rows(root / CONVERSATIONS / f"{side}.jsonl", CONVERSATION)))
        for side in SIDES
    }
    is_ranked, uses = (root / "rankings").is_dir(), [use for use in PROMPT_USES if (root / "prompts" / use).is_dir()]
    inputs = read_json(root / "inputs.json", error=CorruptArtifact) if (root / "inputs.json").exists() else {}
    corpus = Corpus(
        sources,
        conversations,
        {},
        {side: read_rankings(root / "rankings" / f"{side}.jsonl") for side in SIDES} if is_ranked else {},
        {use: _prompts(root / "prompts" / use) for use in uses},
        _labels(root / LABELS) if (root / LABELS).is_dir() else {},
        inputs,
    )
    corpus.found.update({key: value for key, value in found.items() if key not in corpus.counts()})
    return corpus


def _prompts(folder: Path) -> dict[Side, list[Prompt]]:
    return {side: list(map(prompt_of, read_rows(folder / f"{side}.jsonl", PROMPT))) for side in SIDES}


def _labels(folder: Path) -> dict[Side, list[LabeledText]]:
    return {side: list(map(labeled_of, read_rows(folder / f"{side}.jsonl", LABELED))) for side in SIDES}


def _sizes(split: SplitDocuments | StoredDocuments) -> dict[str, dict[str, int]]:
    if isinstance(split, StoredDocuments):
        return {side: dict(split.counts[side]) for side in SIDES}
    return {side: _size(split.of(side)) for side in SIDES}


def _size(documents: Iterable[Document]) -> dict[str, int]:
    sizes = [len(document.text.encode()) for document in documents]
    return {"documents": len(sizes), "bytes": sum(sizes)}
