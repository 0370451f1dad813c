"""The corpus on disk: one published folder of JSONL files that people can read.

corpus/<source>/{train,validation,test}.jsonl    {"module": ..., "text": ...}       one document a line
corpus/pairs/{train,validation,test}.jsonl       the fields of `Pair`               one pair a line
corpus/statistics.json                           `PythonLibrary.found`
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from stategpt.artifacts import Manifest, publish_folder, verify
from stategpt.config.corpus import SOURCES
from stategpt.data.sources.python_library.records import SIDES, Pair, PythonLibrary, Split

KIND = "corpus"


def write_library(library: PythonLibrary, folder: str | PathLike[str], *, fingerprint: str = "") -> Manifest:
    """Publish `library` as `folder`, whole or not at all. `fingerprint` is that of the configuration it follows.

    Raises `OutOfSpace` or `StorageError`; nothing half-written is left.
    """

    def write(target: Path) -> None:
        for source, split in library.sources.items():
            for side in SIDES:
                lines = _documents(split.documents(side), split.modules(side))
                _write_lines(target / source / f"{side}.jsonl", lines)
        for side in SIDES:
            _write_lines(target / "pairs" / f"{side}.jsonl", map(dataclasses.asdict, library.pairs(side)))
        statistics = json.dumps(library.found, indent=2, ensure_ascii=False)
        (target / "statistics.json").write_text(statistics + "\n", encoding="utf-8")

    return publish_folder(folder, write, kind=KIND, fingerprints={"config": fingerprint} if fingerprint else {})


def read_library(folder: str | PathLike[str]) -> PythonLibrary:
    """Read what `write_library` published, after checking every file against the manifest.

    Raises `CorruptArtifact` for a damaged folder and `ForeignArtifact` for one of another kind or version.
    """
    verify(folder, kind=KIND)
    root = Path(folder)
    sources = {}
    for source in SOURCES:
        split = sources[source] = Split()
        for side in SIDES:
            for line in _read_lines(root / source / f"{side}.jsonl"):
                split.add(line["text"], line["module"], side)
    train, validation, test = (
        [Pair(**line) for line in _read_lines(root / "pairs" / f"{side}.jsonl")] for side in SIDES
    )
    found = json.loads((root / "statistics.json").read_text(encoding="utf-8"))
    return PythonLibrary(sources, train, validation, test, found)


def _documents(texts: Iterable[str], modules: Iterable[str]) -> Iterator[Mapping[str, str]]:
    return ({"module": module, "text": text} for text, module in zip(texts, modules, strict=True))


def _write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _read_lines(path: Path) -> Iterator[Any]:
    # Split at "\n" only: str.splitlines would also split at the form feeds that documents hold.
    return (json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line)
