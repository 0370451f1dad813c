"""Which file a path to a tokenizer names, and whether it is what its publisher wrote."""

from __future__ import annotations

import os

from stategpt import _native
from stategpt.errors import MissingFile, StategptError
from stategpt.json_reader import read_json

FILE_LIMIT_BYTES = 128 << 20
"""A larger `tokenizer.json` is refused by either engine."""

_NAMES = ("tokenizer.json", "tokenizer.model")
_MANIFEST = "manifest.json"


def tokenizer_file(path: str | os.PathLike[str]) -> str:
    """The file at `path`, or the `tokenizer.json` in the folder there, or else its `tokenizer.model`.

    In a published folder the file is compared with the manifest that lists it; the other files are not read.

    Raises:
        MissingFile: a folder without that file.
        CorruptArtifact, ForeignArtifact: the file differs from its manifest, or that is damaged or of another version.
    """
    file = os.fspath(path)
    if os.path.isdir(file):
        found = (os.path.join(file, name) for name in _NAMES)
        file = next((each for each in found if os.path.lexists(each)), "")
        if not file:
            raise MissingFile(
                f"{path} is a folder without {' or '.join(_NAMES)}; give the path of the tokenizer's file"
            )
    folder, name = os.path.split(file)
    if _is_published(folder or "."):
        _native.verify_file(folder or ".", name)
    return file


def _is_published(folder: str) -> bool:
    """Whether there is a manifest of ours, damaged or not: web applications have a `manifest.json`, too."""
    manifest = os.path.join(folder, _MANIFEST)
    if not os.path.isfile(manifest):
        return False
    try:
        fields = read_json(manifest)
    except StategptError:
        return True
    return isinstance(fields, dict) and not fields.keys().isdisjoint({"schema_version", "fingerprint", "files"})
