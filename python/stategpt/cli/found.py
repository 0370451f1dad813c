"""What a folder holds: documents by folder, and files of records by what their first records are."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stategpt.cli.survey import READ_BYTES, Surveyed, surveyed
from stategpt.errors import ConfigError, CorpusError
from stategpt.visible_text import visible_line

_LOOKED_AT = 20
"""Records of a file that decide what it holds."""
_MOST_FILES = 100_000
_SHORTEST_MEAN_TEXT = 20
_RUN_FILE = "run.toml"
_NOUNS = {"conversation": "conversations", "ranking": "rankings", "prompt": "prompts", "label": "labeled texts"}
"""What a record of each kind is, in the plural."""


@dataclass
class Source:
    """Files that become one source of documents.

    Attributes:
        folder: the folder that holds them, relative to the one that was looked into.
        suffix: how their names end, ".md" or ".jsonl".
        text: field with the text; "" for files that are a document each.
        files: the files.
        survey: their sizes.
    """

    folder: str
    suffix: str
    text: str
    files: list[Path]
    survey: Surveyed


@dataclass
class Found:
    """What a folder holds.

    Attributes:
        sources: documents.
        records: files of conversations, rankings, prompts and labeled texts, by kind.
        formats: the format that was recognized in each of these files.
        surveys: sizes of these files, by kind.
        examples: a few records of each kind, as they are read.
        skipped: files that are none of it, with the reason.
    """

    sources: list[Source] = field(default_factory=list)
    records: dict[str, list[Path]] = field(default_factory=lambda: {kind: [] for kind in _NOUNS})
    formats: dict[Path, str] = field(default_factory=dict)
    surveys: dict[str, Surveyed] = field(default_factory=dict)
    examples: dict[str, list[Any]] = field(default_factory=lambda: {kind: [] for kind in _NOUNS})
    skipped: list[tuple[Path, str]] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """Bytes of all documents."""
        return sum(source.survey.bytes for source in self.sources)

    def lines(self) -> Iterator[str]:
        """What was found, a line for each source and file of records."""
        for source in self.sources:
            yield f"documents      {source.folder or '.'}: {source.survey}"
        for kind, paths in self.records.items():
            for path in paths:
                yield f"{_NOUNS[kind]:<14} {visible_line(str(path))}: {self.formats[path]}"
        for path, reason in self.skipped[:10]:
            yield f"left out       {visible_line(str(path))}: {reason}"
        if len(self.skipped) > 10:
            yield f"left out       and {len(self.skipped) - 10:,} more files"


def look_into(folder: Path) -> Found:
    """Looks at every file below `folder`; hidden files and folders of runs are passed over.

    Raises:
        ConfigError: nothing in it can be used, or there are too many files.
    """
    from stategpt.data.lines import unpacked_suffix
    from stategpt.data.sources.readers import readers_by_suffix
    from stategpt.data.sources.records import FORMAT_OF

    found, readers = Found(), readers_by_suffix()
    by_source: dict[tuple[str, str, str], list[Path]] = {}
    for path in _files(folder):
        suffix, _ = unpacked_suffix(path.name)
        top = _top(folder, path)
        if suffix in FORMAT_OF:
            text = _records(found, path)
            if text:
                by_source.setdefault((top, suffix, text), []).append(path)
        elif suffix in readers:
            by_source.setdefault((top, suffix, ""), []).append(path)
        else:
            found.skipped.append((path, "no format that is read"))
    for (top, suffix, text), files in by_source.items():
        survey = surveyed(top or "documents", "documents", files)
        found.sources.append(Source(top, suffix, text, files, survey))
    found.surveys = {kind: surveyed(kind, _NOUNS[kind], paths) for kind, paths in found.records.items() if paths}
    if not found.sources and not any(found.records.values()):
        reasons = "; ".join(f"{path.name}: {reason}" for path, reason in found.skipped[:3])
        raise ConfigError(
            f"{visible_line(str(folder))} holds nothing to train on ({reasons or 'no files'}). Read are text, "
            "Markdown, HTML, PDF, WARC, and JSONL, JSON or Parquet with texts, conversations, rankings or labels"
        )
    return found


def _files(folder: Path) -> Iterator[Path]:
    count = 0
    for above, folders, names in os.walk(folder):
        if _RUN_FILE in names:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(above, name)
            if name.startswith(".") or name.endswith(".toml") or not path.is_file() or not path.stat().st_size:
                continue
            count += 1
            if count > _MOST_FILES:
                raise ConfigError(f"{folder} has over {_MOST_FILES:,} files; name them in a TOML file by a pattern")
            yield path


def _top(folder: Path, path: Path) -> str:
    """The first folder below `folder` on the file's path; "" for one directly in it."""
    parts = path.relative_to(folder).parts
    return parts[0] if len(parts) > 1 else ""


def _records(found: Found, path: Path) -> str:
    """Files a file of records under its kind; returns the field with the text where its records are documents."""
    from stategpt.data.rejections import Rejection
    from stategpt.data.sources.records import read_records

    first, bad = [], ""
    try:
        for where, record in read_records(path):
            if isinstance(record, Rejection):
                bad = bad or str(record)
            else:
                first.append((where, record))
            if len(first) >= _LOOKED_AT:
                break
    except CorpusError as error:
        bad = str(error)
    if not first:
        found.skipped.append((path, bad or "no records"))
        return ""
    kind, name, examples = recognized(first)
    if kind:
        found.records[kind].append(path)
        found.formats[path] = name
        found.examples[kind] += examples
        return ""
    text = text_field([record for _, record in first])
    if not text:
        keys = ", ".join(sorted(map(str, first[0][1]))[:8])
        found.skipped.append((path, f"neither conversations, rankings nor texts (keys: {keys:.100})"))
    return text


def text_field(records: list[dict[str, Any]]) -> str:
    """The field that holds the longest texts in most of the records; "" if none does."""
    sizes: Counter[str] = Counter()
    for record in records:
        for key, value in record.items():
            if isinstance(key, str) and isinstance(value, str):
                sizes[key] += len(value)
    if not sizes:
        return ""
    if "text" in sizes:
        return "text"
    key, total = sizes.most_common(1)[0]
    return key if total / len(records) >= _SHORTEST_MEAN_TEXT else ""


def source_name(source: Source, taken: set[str]) -> str:
    """A name for a source that is not taken, from its folder or its files."""
    stem = source.folder or (source.files[0].name.partition(".")[0] if len(source.files) == 1 else "documents")
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_-") or "documents"
    name, number = name[:40], 2
    if name in taken and f"{name}_{source.suffix[1:]}" not in taken:
        name = f"{name}_{source.suffix[1:]}"
    base = name
    while name in taken:
        name, number = f"{base}_{number}", number + 1
    taken.add(name)
    return name


def recognized(first: list[tuple[Any, dict[str, Any]]]) -> tuple[str, str, list[Any]]:
    """Kind, format's name and records of the first records of a file; empty where no format has their keys."""
    from stategpt.data.formats import recognize
    from stategpt.data.records import LabeledText
    from stategpt.errors import StategptError

    try:
        form = recognize(first[0][1])
    except StategptError:
        return "", "", []
    examples = []
    for where, record in first:
        try:
            examples.append(form.read(record, where))
        except StategptError:  # counted where the file is read whole
            continue
    if form.kind == "label" and not _are_classes([each.label for each in examples if isinstance(each, LabeledText)]):
        return "", "", []
    return form.kind, form.name, examples


def _are_classes(labels: list[str]) -> bool:
    """Whether labels come back, as names of classes do; documents may have a label that is another for each."""
    return bool(labels) and len(set(labels)) <= max(2, len(labels) // 2)


def label_sizes(paths: list[Path]) -> Counter[str]:
    """How many texts each class has in the first megabytes of each file."""
    from stategpt.data.formats import recognize
    from stategpt.data.records import LabeledText
    from stategpt.data.rejections import Rejection
    from stategpt.data.sources.records import read_records
    from stategpt.errors import StategptError

    sizes: Counter[str] = Counter()
    for path in paths:
        for where, record in read_records(path):
            if where.byte_offset > READ_BYTES:
                break
            if isinstance(record, Rejection):
                continue
            try:
                read = recognize(record, "label").read(record, where)
            except StategptError:  # counted where the file is read whole
                continue
            if isinstance(read, LabeledText):
                sizes[read.label] += 1
    return sizes
