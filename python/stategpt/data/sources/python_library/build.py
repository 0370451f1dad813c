"""Builds the default corpus: read, drop what occurs twice, split by module, make pairs; and count everything.

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
from stategpt.data.sources.python_library.extension_modules import available
from stategpt.data.sources.python_library.pairs import Summary, make_pair, summaries, training_pair
from stategpt.data.sources.python_library.reading import C_GROUP, Reading, Text, source_files
from stategpt.data.sources.python_library.records import SIDES, Pair, PythonLibrary, Side, Split
from stategpt.data.sources.python_library.source_files import LEFT_OUT, file_counts
from stategpt.data.sources.python_library.units import split_units


def build_python_library(config: CorpusConfig) -> PythonLibrary:
    """The corpus that `config` describes. About 7 seconds for the interpreter's library on one core.

    Raises `CorpusError` for a folder that is missing, unreadable or without .py files, for a file of the user's own
    (kind "files") that is not UTF-8 or not Python, and when fewer than three top-level modules cannot be split.
    """
    reading = Reading.of(config)
    entries = reading.distinct_entries()
    documents = {
        "code": reading.distinct_documents(reading.code, "code"),
        "docstrings": [(entry.document, entry.unit) for entry in entries],
        "comments": reading.distinct_documents(reading.comments, "comments"),
    }
    usable = summaries(
        entries, config.minimum_pair_characters, config.maximum_pair_characters, reading.dropped["pairs"]
    )
    prompts = Counter(summary.entry.unit for summary in usable)
    weights = {unit: 1 + prompts[unit] for texts in documents.values() for _, unit in texts}
    side_of = split_units(weights, config.validation_share, config.test_share, config.split_seed)
    sources = {source: _split(texts, side_of) for source, texts in documents.items()}
    pairs = _pairs(usable, side_of, config.split_seed)
    library = PythonLibrary(sources, pairs["train"], pairs["validation"], pairs["test"], found={"kind": config.kind})
    library.found.update(_found(reading, library, side_of))
    return library


def survey(config: CorpusConfig | None = None) -> dict[str, Any]:
    """What `build_python_library` would read, by group, without reading it: for `stategpt doctor`, in 0.1 s.

    Keys: python, location, groups (files and bytes of each; whether used, or why not) and c_modules (names available
    and missing). Raises `CorpusError` when there is nothing to read.
    """
    config = config or CorpusConfig()
    files = source_files(config)
    used: dict[str, list[Path]] = defaultdict(list)
    for file in files.files:
        used[file.group].append(file.path)
    groups: dict[str, Any] = {group: counts | {"used": True} for group, counts in file_counts(used).items()}
    for group, counts in file_counts(files.left_out).items():
        groups[group] = counts | {"used": False, "why": LEFT_OUT[group]}
    have, missing = available() if config.kind == "python_library" else ([], [])
    return {
        "python": platform.python_version(),
        "location": files.location,
        "groups": groups,
        C_GROUP: {"available": have, "missing": missing},
    }


def _split(texts: Iterable[Text], side_of: Mapping[str, Side]) -> Split:
    split = Split()
    for text, unit in texts:
        split.add(text, unit, side_of[unit])
    return split


def _pairs(usable: Iterable[Summary], side_of: Mapping[str, Side], seed: int) -> dict[Side, list[Pair]]:
    """Training pairs, one a name; of validation and test both kinds of each name."""
    pairs: dict[Side, list[Pair]] = {side: [] for side in SIDES}
    for summary in usable:
        side = side_of[summary.entry.unit]
        if side == "train":
            pairs[side].append(training_pair(summary, seed))
        else:
            pairs[side] += [make_pair(summary, "what", seed), make_pair(summary, "complete", seed)]
    return pairs


def _found(reading: Reading, library: PythonLibrary, side_of: Mapping[str, Side]) -> dict[str, Any]:
    """The statistics: plain JSON values, without paths of this machine."""
    left_out = file_counts(reading.files.left_out)
    return {
        "python": platform.python_version(),
        "groups": {group: dict(sorted(counts.items())) for group, counts in sorted(reading.groups.items())},
        "left_out": {group: counts | {"why": LEFT_OUT[group]} for group, counts in left_out.items()},
        "unusable_files": reading.unusable,
        "dropped": {what: dict(sorted(counts.items())) for what, counts in sorted(reading.dropped.items())},
        C_GROUP: {"read": reading.modules.read, "missing": reading.modules.missing},
        "sources": {source: _sizes(split) for source, split in library.sources.items()},
        "pairs": {
            "train": len(library.pairs_train),
            "train_what": sum(pair.kind == "what" for pair in library.pairs_train),
            "validation_names": len(library.pairs_validation) // 2,
            "test_names": len(library.pairs_test) // 2,
        },
        "modules": {
            "train": sum(side == "train" for side in side_of.values()),
            **{held: sorted(unit for unit, side in side_of.items() if side == held) for held in SIDES[1:]},
        },
    }


def _sizes(split: Split) -> dict[str, dict[str, int]]:
    return {
        side: {
            "documents": len(split.documents(side)),
            "bytes": sum(len(text.encode()) for text in split.documents(side)),
        }
        for side in SIDES
    }
