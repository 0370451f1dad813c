"""Writes files and folders atomically: after an error, a kill or a power loss the old version or the new one is there,
complete, and nothing in between.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from stategpt import _native
from stategpt.artifacts.fingerprint import Json, json_text
from stategpt.errors import OutOfSpace, StorageError
from stategpt.shown_fields import documented, short_repr


@documented
@dataclass(frozen=True)
class FileRecord:
    """One file of a published folder."""

    size: int
    """Length in bytes."""
    blake3: str
    """BLAKE3 of the whole file in hexadecimal, as `b3sum` prints it."""
    chunks: tuple[str, ...] = ()
    """BLAKE3 chaining value of each 64 MiB chunk; empty if the file is one chunk."""


@documented
@dataclass(frozen=True)
class Manifest:
    """What a published folder holds and what it was made from."""

    schema_version: int
    """Version of the manifest's format."""
    kind: str
    """What the folder is, e.g. "checkpoint"."""
    files: Mapping[str, FileRecord]
    """Every file but manifest.json, by its path within the folder."""
    fingerprints: Mapping[str, str]
    """Fingerprints of what the folder depends on, by name, e.g. "config"."""
    parents: tuple[str, ...]
    """Manifest fingerprints of the published folders it was made from."""
    extra: Mapping[str, Any]
    """Whatever else its publisher recorded (JSON)."""
    fingerprint: str
    """The folder's identity: BLAKE3 over all of the above."""

    __repr__ = short_repr

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """The manifest in a text that the native side has checked."""
        fields = json.loads(text)
        files = {
            name: FileRecord(**record | {"chunks": tuple(record.get("chunks", ()))})
            for name, record in fields.pop("files").items()
        }
        return cls(files=files, parents=tuple(fields.pop("parents")), **fields)


def publish_file(path: str | PathLike[str], data: bytes) -> None:
    """Writes `data` to the file `path`, in place of what it held; folders above it are created.

    Raises:
        OutOfSpace: the disk is full; `path` still has its old content and no temporary file is left.
        StorageError: another error of the operating system; the same holds.
    """
    _native.publish_file(path, data)


def publish_written(path: str | PathLike[str], write: Callable[[Path], None]) -> None:
    """Replaces the file `path` by the one that `write(temporary)` writes; for files too large to be held in memory.

    Folders above it are created. If `write` raises, nothing is left behind and `path` is untouched; a process that dies
    leaves a folder that the next one for the same path removes.

    Raises:
        OutOfSpace, StorageError: as `publish_file`.
    """
    final = Path(path)
    # Only the temporary folder is used: the file is moved out of it, and no folder of this name is ever published.
    staged = _native.StagedFolder(final.with_name(f"{final.name}.new"))
    try:
        temporary = staged.path / final.name
        write(temporary)
        _make_durable(temporary)
        temporary.rename(final)
        _make_durable(final.parent)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        if _is_out_of_space(error):
            raise _out_of_space(final, error) from error
        raise StorageError(f"cannot write {final} ({error}); it has its old content. Check the path.") from error
    finally:
        staged.abandon()


def _make_durable(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _out_of_space(final: str | PathLike[str], error: BaseException) -> OutOfSpace:
    return OutOfSpace(
        f"no space left while {final} was being written ({error}); nothing was published. "
        "Free space on that disk, or choose another output folder."
    )


def publish_folder(
    final: str | PathLike[str],
    write: Callable[[Path], None],
    *,
    kind: str,
    fingerprints: Mapping[str, str] | None = None,
    parents: Sequence[str] | Callable[[], Sequence[str]] = (),
    extra: Mapping[str, Json] | None = None,
) -> Manifest:
    """Publishes a folder: `write(temporary_folder)` fills it, then every file is hashed and made durable.

    An existing `final` is replaced as a whole. If `write` raises, nothing is left behind and `final` is untouched.

    Args:
        kind: what the folder is, recorded in its manifest; `verify` refuses another where it is told one.
        fingerprints: fingerprints of what the content depends on, by name.
        parents: manifest fingerprints of the published folders it was made from; or a function that gives them once
            the temporary folder is filled, for those that lie inside it.
        extra: anything else to record.

    Raises:
        OutOfSpace, StorageError: as `publish_file`; `final` holds the old folder or the new one.
        InvalidArgument: `extra` is not JSON, or `write` left a link, a device or a name that is not UTF-8.
    """
    label: dict[str, Json] = {"kind": kind, "fingerprints": dict(fingerprints or {}), "extra": dict(extra or {})}
    json_text(label)  # refused before anything is written
    staged = _native.StagedFolder(final)
    try:
        write(staged.path)
        label["parents"] = list(parents() if callable(parents) else parents)
    except BaseException as error:
        staged.abandon()
        if _is_out_of_space(error):
            raise _out_of_space(final, error) from error
        raise
    return Manifest.from_json(staged.publish(json_text(label)))


def _is_out_of_space(error: BaseException) -> bool:
    if isinstance(error, OSError) and not isinstance(error, OutOfSpace):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    # safetensors and other Rust libraries raise classes of their own and keep the number in the text only.
    return isinstance(error, Exception) and "(os error 28)" in str(error) and not isinstance(error, OutOfSpace)


def verify(folder: str | PathLike[str], kind: str | None = None) -> Manifest:
    """Reads every file of a published folder and compares it with the manifest.

    Raises:
        CorruptArtifact: a missing, truncated, altered or extra file, or no manifest; the message names each file, the
            offset of the first bad chunk and both hashes.
        ForeignArtifact: the folder is of another kind or format version.
    """
    return Manifest.from_json(_native.verify_folder(folder, kind))


def read_manifest(folder: str | PathLike[str]) -> Manifest:
    """The manifest of a published folder, itself checked; the files are not read.

    Raises:
        CorruptArtifact, ForeignArtifact: as `verify`, for what the manifest alone can show.
    """
    return Manifest.from_json(_native.read_manifest(folder))
