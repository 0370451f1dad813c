"""What the sections share: documents, rounds, peers that may be missing."""

from __future__ import annotations

import importlib
import importlib.metadata
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from stategpt.data.records import Document, Place

SUFFIXES = (".py", ".md", ".rst", ".txt")
MIN_BYTES = 400


@dataclass(frozen=True)
class Row:
    """One figure, and those of peers in the same unit."""

    what: str
    unit: str
    figure: float
    peers: Mapping[str, float] = field(default_factory=dict)
    reach: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Bench:
    """Documents and settings of a run."""

    def __init__(self, folder: Path, megabytes: float, rounds: int) -> None:
        self.rounds = rounds
        self.documents = _documents(folder, int(megabytes * 1e6))
        self.bytes = sum(len(document.text.encode()) for document in self.documents)
        self.versions: dict[str, str] = {}
        self.missing: set[str] = set()

    def first(self, megabytes: float) -> list[Document]:
        """The first documents, of about so many MB: for libraries that are far slower."""
        found, size = [], 0
        for document in self.documents:
            if size >= megabytes * 1e6:
                break
            found.append(document)
            size += len(document.text.encode())
        return found

    def peer(self, name: str) -> ModuleType | None:
        """The module, or None where it is not installed."""
        try:
            module = importlib.import_module(name)
        except ImportError:
            self.missing.add(name)
            return None
        self.versions[name] = importlib.metadata.version(name)
        return module

    def seconds(self, jobs: Mapping[str, Callable[[], object]]) -> dict[str, float]:
        """Median CPU seconds of each job; every round runs all jobs before the next begins."""
        spent: dict[str, list[float]] = {name: [] for name in jobs}
        for _ in range(self.rounds):
            for name, job in jobs.items():
                start = time.process_time()
                job()
                spent[name].append(time.process_time() - start)
        return {name: statistics.median(times) for name, times in spent.items()}


def rates(seconds: Mapping[str, float], sizes: Mapping[str, int]) -> dict[str, float]:
    """MB per second."""
    return {name: sizes[name] / 1e6 / spent for name, spent in seconds.items()}


def size_of(documents: Iterable[Document]) -> int:
    """Bytes of the texts."""
    return sum(len(document.text.encode()) for document in documents)


def _documents(folder: Path, limit: int) -> list[Document]:
    found: list[Document] = []
    size = 0
    for path in sorted(folder.rglob("*")):
        if size >= limit:
            break
        if path.suffix in SUFFIXES and path.is_file():
            text = path.read_text(encoding="utf-8", errors="ignore")
            if len(text) >= MIN_BYTES:
                found.append(Document(text, "files", where=Place(str(path))))
                size += len(text)
    if not found:
        raise SystemExit(f"no text of {MIN_BYTES} bytes or more in {folder}; give --texts another folder")
    return found
