"""Builds the corpus of a Python library: read, drop repetitions, split by module, make conversations; count everything.

Where a text occurs twice the first name is kept: builtins and C modules (what `help()` shows), then public Python
modules, then private ones. Nothing depends on the order of the file system, on hashes that change between processes,
or on what else is imported.
"""

from __future__ import annotations

import platform
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stategpt.config import CorpusConfig
from stategpt.data.corpus import SIDES, Corpus, Side, SplitDocuments
from stategpt.data.records import Conversation, Document
from stategpt.data.sources.python_library.conversations import (
    Summary,
    make_conversation,
    summaries,
    training_conversation,
)
from stategpt.data.sources.python_library.extension_modules import available
from stategpt.data.sources.python_library.reading import C_GROUP, Reading, Text, source_files
from stategpt.data.sources.python_library.source_files import LEFT_OUT, file_counts
from stategpt.data.sources.python_library.units import split_units
from stategpt.quantities import size


def build(config: CorpusConfig) -> Corpus:
    """The corpus that `config` describes. About 7 seconds for the interpreter's library on one core.

    `corpus.paths` are folders of .py files, or `package:NAME` for importable packages; empty is the standard library of
    this interpreter. The sources are code (without docstrings and comments), docstrings (as `help()` shows them) and
    comments; a conversation asks about a name and is answered by the first sentence of its docstring. Groups are
    top-level modules.

    Raises:
        CorpusError: a folder is missing, unreadable or without .py files, a package is not installed, a file in a
            folder is not UTF-8 or not Python, or there are fewer than three top-level modules to split.
    """
    reading = Reading.of(config)
    entries = reading.distinct_entries()
    texts = {
        "code": reading.distinct_documents(reading.code, "code"),
        "docstrings": [(entry.document, entry.unit) for entry in entries],
        "comments": reading.distinct_documents(reading.comments, "comments"),
    }
    dropped = reading.dropped["conversations"]
    usable = summaries(entries, config.min_response_characters, config.max_response_characters, dropped)
    prompts = Counter(summary.entry.unit for summary in usable)
    weights = {unit: 1 + prompts[unit] for source in texts.values() for _, unit in source}
    side_of = split_units(weights, config.validation_share, config.test_share, config.split_seed)
    sources = {source: _split(source, found, side_of) for source, found in texts.items()}
    conversations = _conversations(usable, side_of, config.split_seed)
    return Corpus(sources, conversations, _found(reading, conversations, side_of))


def survey(config: CorpusConfig) -> dict[str, Any]:
    """What `build` would read, by group, without reading it, in 0.1 s.

    Keys: python, location, groups (files and bytes of each; whether used, or why not) and c_modules (names available
    and missing). Raises `CorpusError` when there is nothing to read.
    """
    files = source_files(config)
    used: dict[str, list[Path]] = defaultdict(list)
    for file in files.files:
        used[file.group].append(file.path)
    groups: dict[str, Any] = {group: counts | {"used": True} for group, counts in file_counts(used).items()}
    for group, counts in file_counts(files.left_out).items():
        groups[group] = counts | {"used": False, "why": LEFT_OUT[group]}
    have, missing = ([], []) if config.paths else available()
    return {
        "python": platform.python_version(),
        "location": files.location,
        "groups": groups,
        C_GROUP: {"available": have, "missing": missing},
    }


def describe(config: CorpusConfig) -> list[tuple[str, str]]:
    """What `build` would read, as lines (name, value) for people. Distributions strip parts of the standard library.

    Raises `CorpusError` when there is nothing to read.
    """
    found = survey(config)
    if config.paths:
        used = [group for group in found["groups"].values() if group["used"]]
        files, held = sum(group["files"] for group in used), sum(group["bytes"] for group in used)
        return [("read from", found["location"]), ("Python files", f"{files:,}, {size(held)}")]
    names = found[C_GROUP]
    missing = f", missing {', '.join(names['missing'])}" if names["missing"] else ""
    return [
        ("read from", found["location"]),
        *((group, _files(counted)) for group, counted in found["groups"].items()),
        ("C modules", f"{len(names['available'])} with docstrings{missing}"),
    ]


def _files(counted: Mapping[str, Any]) -> str:
    held = f"{counted['files']:,} files, {size(counted['bytes'])}"
    return held if counted["used"] else f"{held}, left out: {counted['why']}"


def _split(source: str, texts: Iterable[Text], side_of: Mapping[str, Side]) -> SplitDocuments:
    split = SplitDocuments()
    for text, unit in texts:
        split.of(side_of[unit]).append(Document(text, source, unit))
    return split


def _conversations(usable: Iterable[Summary], side_of: Mapping[str, Side], seed: int) -> dict[Side, list[Conversation]]:
    """Of training one conversation per name, of validation and test both kinds of each name."""
    found: dict[Side, list[Conversation]] = {side: [] for side in SIDES}
    for summary in usable:
        side = side_of[summary.entry.unit]
        if side == "train":
            found[side].append(training_conversation(summary, seed))
        else:
            found[side] += [make_conversation(summary, "what", seed), make_conversation(summary, "complete", seed)]
    return found


def _found(
    reading: Reading, conversations: Mapping[Side, list[Conversation]], side_of: Mapping[str, Side]
) -> dict[str, Any]:
    """The statistics: plain JSON values, without paths of this machine."""
    left_out = file_counts(reading.files.left_out)
    return {
        "python": platform.python_version(),
        "groups": {group: dict(sorted(counts.items())) for group, counts in sorted(reading.groups.items())},
        "left_out": {group: counts | {"why": LEFT_OUT[group]} for group, counts in left_out.items()},
        "unusable_files": reading.unusable,
        "dropped": {what: dict(sorted(counts.items())) for what, counts in sorted(reading.dropped.items())},
        C_GROUP: {"read": reading.modules.read, "missing": reading.modules.missing},
        "names": {
            "train": len(conversations["train"]),
            "train_what": sum(conversation.meta["kind"] == "what" for conversation in conversations["train"]),
            "validation": len(conversations["validation"]) // 2,
            "test": len(conversations["test"]) // 2,
        },
        "modules": {
            "train": sum(side == "train" for side in side_of.values()),
            **{held: sorted(unit for unit, side in side_of.items() if side == held) for held in SIDES[1:]},
        },
    }
