"""JSON lines: one object a line, the document under a field."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stategpt.data.rejections import Rejection
from stategpt.data.sources.readers import Wanted
from stategpt.data.sources.records import Fields, read_fields

SUFFIXES = (".jsonl", ".ndjson")
FIELDS: tuple[str, ...] | None = None


def read(path: Path, name: str, wanted: Wanted) -> Iterator[Fields | Rejection]:
    """The documents of a file in order; see `records.read_fields`."""
    keys = (wanted.text, *wanted.others)
    yield from read_fields(path, keys, replace_invalid=wanted.replace_invalid, format="jsonl", name=name)
