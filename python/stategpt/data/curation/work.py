"""Passes of a curation that are done, kept on disk until it is published: an interrupted one continues after them.

Each is a folder that is published whole, with the hash of every file and the key of the work: the documents, settings
and functions that it was made from. What is half-written, damaged or of another key is never read, and made again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from os import PathLike
from pathlib import Path

from stategpt.artifacts import publish_folder, read_manifest, verify
from stategpt.errors import CorruptArtifact, ForeignArtifact, StorageError

_KIND = "curation_work"
_KEY = "key"


class Work:
    """The passes that are done, in a hidden folder beside `target`; those of another key are removed."""

    def __init__(self, target: str | PathLike[str], key: str) -> None:
        """Takes up the work on `target`.

        Args:
            target: the folder that the curation is published as.
            key: names everything that decides the result; "" where that is not known: there is no earlier work then.

        Raises:
            StorageError: the hidden folder is a link, or cannot be made.
        """
        self.folder, self._key = _folder_of(target), key
        if self.folder.is_symlink():
            raise StorageError(f"{self.folder} is a link; remove it, as curation writes and removes files there")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot make {self.folder} ({error}); check the path") from error
        for found in self.folder.iterdir():
            if found.is_dir() and not self._is_ours(found):
                shutil.rmtree(found)

    def stored(self, name: str, write: Callable[[Path], None]) -> Path:
        """The folder `name` of an earlier call if it is whole, else the one that `write` fills.

        Raises:
            OutOfSpace, StorageError: as `publish_folder`; whatever `write` raises.
        """
        folder = self.folder / name
        if not self._is_whole(folder):
            publish_folder(folder, write, kind=_KIND, fingerprints={_KEY: self._key})
        return folder

    def remove(self) -> None:
        """Removes all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _is_ours(self, folder: Path) -> bool:
        """Whether a folder was published with this key; its files are not read yet."""
        try:
            return bool(self._key) and read_manifest(folder).fingerprints.get(_KEY) == self._key
        except (CorruptArtifact, ForeignArtifact):
            return False

    def _is_whole(self, folder: Path) -> bool:
        try:
            return verify(folder, kind=_KIND).fingerprints.get(_KEY) == self._key
        except (CorruptArtifact, ForeignArtifact):
            return False


def discard_work(target: str | PathLike[str]) -> None:
    """Removes what an interrupted curation left beside `target`; nothing if there is nothing."""
    folder = _folder_of(target)
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)


def _folder_of(target: str | PathLike[str]) -> Path:
    path = Path(target)
    return path.with_name(f".{path.name}.work")
