"""Opens files whose paths come from a user: regular files only, with a limit on what is read into memory.

`open()` on a FIFO waits for a writer that may never come, and a device such as /dev/zero never ends. Everything in this
package that reads a path from outside opens it here (the Rust half: `stategpt_storage::open_regular`).
"""

from __future__ import annotations

import os
import stat
from os import PathLike
from typing import BinaryIO

from stategpt.errors import DataError, MissingFile, StategptError, StorageError

TEXT_LIMIT_BYTES = 64 << 20
"""Default limit on a file that is read whole: no configuration, manifest or record list comes near it."""
_BLOCK_BYTES = 1 << 20


def open_regular(path: str | PathLike[str]) -> BinaryIO:
    """Opens a regular file (or a link to one) for reading, unbuffered names resolved by the kernel; never blocks.

    Raises:
        MissingFile: there is no such file (also a FileNotFoundError).
        StorageError: it is a folder, FIFO, socket or device, or it cannot be opened.
    """
    name = os.fspath(path)
    try:
        # O_NONBLOCK makes open() of a FIFO return at once; on a regular file it has no effect.
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise MissingFile(error.errno, f"{name} does not exist. Check the path.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        raise StorageError(f"cannot open {name!r} ({error}). Check the path and its permissions.") from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise StorageError(f"{name} is {_kind(mode)}, not a regular file. Give the path of a file.")
    return os.fdopen(descriptor, "rb")


def read_bytes(
    path: str | PathLike[str],
    limit_bytes: int = TEXT_LIMIT_BYTES,
    error: type[StategptError] = DataError,
) -> bytes:
    """Reads a regular file of at most `limit_bytes`.

    Raises:
        MissingFile, StorageError: as `open_regular`.
        error: the file is larger; at most `limit_bytes` + 1 bytes were read.
    """
    content = bytearray()
    with open_regular(path) as file:
        try:
            # In blocks: one read() of the limit would allocate the limit, whatever the file has.
            while len(content) <= limit_bytes and (
                block := file.read(min(_BLOCK_BYTES, limit_bytes + 1 - len(content)))
            ):
                content += block
        except OSError as failure:
            raise StorageError(f"cannot read {os.fspath(path)} ({failure}). Check the disk.") from failure
    if len(content) > limit_bytes:
        raise error(f"{os.fspath(path)} is larger than {limit_bytes:,} bytes, the limit for such a file.")
    return bytes(content)


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a character device",
        stat.S_IFBLK: "a block device",
    }
    return kinds.get(stat.S_IFMT(mode), "a special file")
