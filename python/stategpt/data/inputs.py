"""What a corpus was built from: path, size and content hash of every input file, and the user's functions.

There is no shortcut by size and time of change: a file that is edited twice within the clock's step, restored from a
copy or touched by `git checkout` has misleading times, and BLAKE3 reads about a gigabyte a second.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stategpt import _native
from stategpt.data.sources.globs import shown_name
from stategpt.errors import CorpusError, CorruptArtifact, StorageError
from stategpt.json_reader import Integer, MapOf, Optional, Record, Text, check_value
from stategpt.shown_fields import documented, short_repr

_FILES = Record(
    {"files": MapOf(Record({"bytes": Integer(0), "blake3": Text()})), "functions": Optional(MapOf(Text()), {})}
)


@documented
@dataclass(frozen=True, slots=True)
class InputFile:
    """A file as it was read."""

    bytes: int
    """Its size."""
    blake3: str
    """BLAKE3 of its content, in hexadecimal."""


@documented
@dataclass(frozen=True, slots=True)
class Inputs:
    """The input files of a corpus."""

    files: Mapping[str, InputFile] = field(default_factory=dict)
    """By path, relative to the folder that the paths of the run are relative to where they are inside it."""
    functions: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the source file of each function of the user's that changes documents, by `module:function`."""

    __repr__ = short_repr

    def to_json(self) -> dict[str, Any]:
        """As JSON values, sorted by path."""
        return {
            "files": {
                path: {"bytes": found.bytes, "blake3": found.blake3} for path, found in sorted(self.files.items())
            },
            **({"functions": dict(sorted(self.functions.items()))} if self.functions else {}),
        }

    @classmethod
    def from_json(cls, value: object, where: str = "inputs.json") -> Inputs:
        """Reads `to_json`.

        Raises:
            CorruptArtifact: it is something else.
        """
        checked = check_value(value, _FILES, where=where, error=CorruptArtifact)
        files = {path: InputFile(found["bytes"], found["blake3"]) for path, found in checked["files"].items()}
        return cls(files, checked["functions"])


@documented
@dataclass(frozen=True, slots=True)
class Changes:
    """How the inputs differ from those of an earlier time; paths, sorted."""

    added: tuple[str, ...]
    """Files that are new."""
    removed: tuple[str, ...]
    """Files that are gone."""
    edited: tuple[str, ...]
    """Files with another content."""
    functions: tuple[str, ...] = ()
    """Functions of the user's, as module:function, whose source file has another content."""

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.added or self.removed or self.edited or self.functions)


def fingerprint_inputs(files: Iterable[Path], base: str | os.PathLike[str] = ".") -> Inputs:
    """Hashes files, a MiB of each in memory. FIFOs and devices, which are never read, are left out.

    Args:
        files: the files; one that is named twice is hashed once.
        base: folder that their names are relative to.

    Raises:
        CorpusError: a file does not exist or cannot be read.
    """
    found: dict[str, InputFile] = {}
    for path in files:
        name = shown_name(path, base)
        if name in found or (path.exists() and not path.is_file()):
            continue
        try:
            found[name] = InputFile(*_native.hash_file(path))
        except StorageError as error:
            raise CorpusError(f"{path} cannot be read ({error})") from error
    return Inputs(found)


def changed(before: Inputs, after: Inputs) -> Changes:
    """How `after` differs from `before`."""
    both = before.files.keys() & after.files.keys()
    named = before.functions.keys() | after.functions.keys()
    return Changes(
        added=tuple(sorted(after.files.keys() - before.files.keys())),
        removed=tuple(sorted(before.files.keys() - after.files.keys())),
        edited=tuple(sorted(path for path in both if before.files[path] != after.files[path])),
        functions=tuple(sorted(name for name in named if before.functions.get(name) != after.functions.get(name))),
    )
