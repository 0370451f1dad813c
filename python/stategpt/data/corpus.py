"""The corpus of a run: documents by source and conversations, split into training, validation and test.

On disk it is one published folder of JSONL files that people can read:

    documents/<source>/{train,validation,test}.jsonl    {"text", "group"}
    conversations/{train,validation,test}.jsonl         {"messages": [{"role", "content"}, ...], "group", "meta"}
    statistics.json                                     `Corpus.found`

`where` and `meta` of a document, `where` of a conversation and `trained` of a message are written where they differ
from the default.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from stategpt.artifacts import Manifest, publish_folder, verify
from stategpt.data.lines import MAX_LINE_BYTES, BadLine, Source, read_lines
from stategpt.data.records import ROLES, Conversation, Document, Message, Place
from stategpt.data.splitting import SIDES as SIDES
from stategpt.data.splitting import Side as Side
from stategpt.errors import CorpusError, CorruptArtifact, ForeignArtifact
from stategpt.json_reader import Flag, Integer, Items, Kind, MapOf, Optional, Record, Text, check_value, read_json
from stategpt.shown_fields import documented, short_repr

KIND = "corpus"
FORMAT_VERSION = 2
"""Version of the files; 1 had documents/ at the top and pairs/ for conversations."""

CONVERSATIONS = "conversations"
"""Name of the shards of conversations beside those of sources; no source may have it."""

_SOURCE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", re.ASCII)
_ANY_LENGTH = Text(max_chars=2**32)
_PLACE = Record({"file": Text(), "line": Integer(1), "byte_offset": Integer(0)}, closed=True)
_SHARED: dict[str, Kind] = {"group": Optional(Text(), ""), "where": Optional(_PLACE), "meta": Optional(MapOf())}
_DOCUMENT = Record({"text": _ANY_LENGTH, **_SHARED}, closed=True)
_MESSAGE = Record({"role": Text(ROLES), "content": _ANY_LENGTH, "trained": Optional(Flag())}, closed=True)
_CONVERSATION = Record({"messages": Items(_MESSAGE, min_items=1), **_SHARED}, closed=True)


@documented
@dataclass(frozen=True, slots=True)
class SplitDocuments:
    """The documents of one source, by side of the split."""

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
    """Everything that a run is made from. One split by group holds for all sources and for the conversations."""

    sources: dict[str, SplitDocuments]
    """Documents by source; `data.proportions` mixes them for pretraining."""
    conversations: dict[Side, list[Conversation]]
    """Demonstrations for SFT, and the prompts of rankings, RL and evaluation."""
    found: dict[str, Any]
    """What was read, kept and dropped, by reason; plain JSON values."""

    __repr__ = short_repr

    def __post_init__(self) -> None:
        for name in self.sources:
            if name == CONVERSATIONS:
                raise CorpusError(f"a source of the corpus is called {name!r}, as its conversations are; rename it")
            if not _SOURCE_NAME.fullmatch(name):
                raise CorpusError(f"a source of the corpus is called {name!r:.60}; use letters, digits and _ . -")
        missing = [side for side in SIDES if side not in self.conversations]
        if missing:
            raise CorpusError(f"the corpus has no list of conversations for {', '.join(missing)}; give an empty one")

    def counts(self) -> dict[str, Any]:
        """Sizes: `sources` (documents and UTF-8 bytes by side) and `conversations` by side; plain JSON values."""
        return {
            "sources": {name: {side: _size(split.of(side)) for side in SIDES} for name, split in self.sources.items()},
            "conversations": {side: len(self.conversations[side]) for side in SIDES},
        }


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
                _write_lines(target / "documents" / source / f"{side}.jsonl", map(_document_row, split.of(side)))
        for side in SIDES:
            rows = map(_conversation_row, corpus.conversations[side])
            _write_lines(target / "conversations" / f"{side}.jsonl", rows)
        statistics = json.dumps(corpus.found | corpus.counts(), indent=2, ensure_ascii=False)
        (target / "statistics.json").write_text(statistics + "\n", encoding="utf-8")

    return publish_folder(
        folder,
        write,
        kind=KIND,
        fingerprints={"config": fingerprint} if fingerprint else {},
        extra={"format_version": FORMAT_VERSION, "sources": list(corpus.sources)},
    )


def read_corpus(folder: str | PathLike[str]) -> Corpus:
    """Reads what `write_corpus` published, after checking every file against the manifest.

    Raises:
        CorruptArtifact: the folder is damaged, or a line is not a record.
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
    sources = {}
    for name in names:
        lists = (list(_documents(root / "documents" / name / f"{side}.jsonl", name)) for side in SIDES)
        sources[name] = SplitDocuments(*lists)
    conversations = {side: list(_conversations(root / "conversations" / f"{side}.jsonl")) for side in SIDES}
    found = read_json(root / "statistics.json", error=CorruptArtifact)
    corpus = Corpus(sources, conversations, {})
    corpus.found.update({key: value for key, value in found.items() if key not in corpus.counts()})
    return corpus


def _size(documents: Iterable[Document]) -> dict[str, int]:
    sizes = [len(document.text.encode()) for document in documents]
    return {"documents": len(sizes), "bytes": sum(sizes)}


def _document_row(document: Document) -> dict[str, Any]:
    meta = {"meta": document.meta} if document.meta else {}
    return {"group": document.group, "text": document.text, **_where_row(document.where), **meta}


def _conversation_row(conversation: Conversation) -> dict[str, Any]:
    return {
        "messages": [_message_row(message) for message in conversation.messages],
        "group": conversation.group,
        "meta": dict(conversation.meta),
        **_where_row(conversation.where),
    }


def _message_row(message: Message) -> dict[str, Any]:
    row: dict[str, Any] = {"role": message.role, "content": message.content}
    return row if message.trained == (message.role == "assistant") else row | {"trained": message.trained}


def _where_row(where: Place | None) -> dict[str, Any]:
    return {"where": dataclasses.asdict(where)} if where else {}


def _documents(path: Path, source: str) -> Iterator[Document]:
    for row in _rows(path, _DOCUMENT):
        yield Document(row["text"], source, row["group"], _place(row["where"]), row["meta"] or {})


def _conversations(path: Path) -> Iterator[Conversation]:
    for row in _rows(path, _CONVERSATION):
        messages = tuple(Message(**message) for message in row["messages"])
        yield Conversation(messages, row["group"], _place(row["where"]), row["meta"] or {})


def _place(row: Mapping[str, Any] | None) -> Place | None:
    return Place(**row) if row else None


def _write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for number, row in enumerate(rows, start=1):
            line = json.dumps(row, ensure_ascii=False).encode()
            if len(line) > MAX_LINE_BYTES:
                raise CorpusError(
                    f"record {number} of {path.parent.name} ({path.stem}) takes {len(line):,} bytes, more than the "
                    f"{MAX_LINE_BYTES:,} of a line; split the document"
                )
            file.write(line + b"\n")


def _rows(path: Path, kind: Kind) -> Iterator[dict[str, Any]]:
    with Source(path, CorruptArtifact) as source:
        for line in read_lines(source):
            where = f"{path}:{line.number} (byte {line.byte_offset})"
            try:
                row = line.json_object()
            except BadLine as bad:
                raise CorruptArtifact(f"{where}: {bad.message}. Restore the file from a copy.") from None
            yield check_value(row, kind, where=where, error=CorruptArtifact)
