"""What a finished run left, in one file: a repeated run is checked against it instead of made again.

The receipt lists every file of the run: published folders by the fingerprint of their manifest, other files by their
hash. Checking reads all of them. Anything else than a perfect match means that the steps look for themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike, walk
from pathlib import Path
from typing import Any

from stategpt.artifacts.fingerprint import Json, json_text
from stategpt.artifacts.publish import publish_file, verify
from stategpt.errors import StategptError, StorageError
from stategpt.files import open_regular
from stategpt.json_reader import read_json
from stategpt.shown_fields import documented

RECEIPT_NAME = "report/finished.json"
SCHEMA_VERSION = 1
# Working state that nothing is made from any more, and the lock of the process at work.
_NOT_LISTED = frozenset({"checkpoints"})
_BLOCK_BYTES = 1 << 20
_PACKAGE = Path(__file__).resolve().parents[1]


@documented
@dataclass(frozen=True)
class Contents:
    """The files of a run folder."""

    published: dict[str, str]
    """Path of each published folder -> fingerprint of its manifest, every file verified."""
    files: dict[str, str]
    """Path of each other file -> BLAKE2b of its content."""

    @classmethod
    def of(cls, root: Path) -> Contents:
        """Reads every file below `root` but checkpoints, hidden files and the receipt itself.

        Raises:
            CorruptArtifact: a published folder is damaged.
            StorageError: a file cannot be read.
        """
        published, files = {}, {}
        for path, is_folder in _entries(root):
            name = path.relative_to(root).as_posix().encode("utf-8", "backslashreplace").decode()
            if is_folder:
                published[name] = verify(path).fingerprint
            elif name != RECEIPT_NAME:
                files[name] = file_hash(path)
        return cls(published, files)


def write_receipt(run_folder: str | PathLike[str]) -> None:
    """Publishes the receipt of a finished run."""
    root = Path(run_folder)
    contents = Contents.of(root)
    record: dict[str, Json] = {
        "schema_version": SCHEMA_VERSION,
        "code": code_hash(),
        "published": contents.published,
        "files": contents.files,
    }
    publish_file(root / RECEIPT_NAME, (json_text(record) + "\n").encode())


def is_finished(run_folder: str | PathLike[str]) -> bool:
    """Whether the folder holds a finished run of this very code, every file as the receipt has it.

    False for anything else, damage included: the steps then say what is wrong, or make again what is missing.
    """
    root = Path(run_folder)
    try:
        record: Any = read_json(root / RECEIPT_NAME)
        if not isinstance(record, dict) or record.get("code") != code_hash():
            return False
        contents = Contents.of(root)
    except StategptError:
        return False
    recorded, found = record.get("files"), contents.files
    # A note that someone put into the folder changes nothing; a file that is missing or altered does.
    unchanged = isinstance(recorded, dict) and all(found.get(name) == value for name, value in recorded.items())
    return unchanged and record.get("published") == contents.published


def file_hash(path: Path) -> str:
    """BLAKE2b of a file, in hexadecimal.

    Raises:
        StorageError: it cannot be read.
    """
    digest = hashlib.blake2b(digest_size=32)
    with open_regular(path) as file:
        try:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
        except OSError as error:
            raise StorageError(f"cannot read {path} ({error}). Check the disk.") from error
    return digest.hexdigest()


def code_hash() -> str:
    """Of every source file of the package: another version may make another report, so it looks for itself."""
    digest = hashlib.blake2b(digest_size=32)
    for path in sorted(_PACKAGE.rglob("*")):
        if path.suffix in (".py", ".j2", ".css") and path.is_file():
            digest.update(f"{path.relative_to(_PACKAGE).as_posix()}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _entries(root: Path) -> Iterator[tuple[Path, bool]]:
    """Published folders, and files outside of them; whatever is hidden or working state is passed over."""
    for folder, inside, names in walk(root):
        if "manifest.json" in names:
            inside.clear()
            yield Path(folder), True
            continue
        inside[:] = sorted(name for name in inside if not name.startswith(".") and name not in _NOT_LISTED)
        paths = [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
        yield from ((path, False) for path in paths if path.is_file())
