"""One process at a time in a run folder."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import weakref
from os import PathLike
from pathlib import Path
from types import TracebackType

from stategpt.errors import OutOfSpace, StorageError
from stategpt.visible_text import visible_line

_NAME = ".lock"


class RunLock:
    """A claim on a folder (created if absent), used as a context manager.

    The kernel frees it when the process ends, however it ends, so there is no stale lock to remove by hand. A child
    made by `fork` does not inherit the claim.

    Raises:
        StorageError: another process holds the folder (the message says which), the folder cannot be made or written
            to, or `.lock` is a link, a folder or a device.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        self.path = Path(folder) / _NAME
        self._descriptor: int | None = None

    def __enter__(self) -> RunLock:
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = self._open()
        except OSError as error:
            raise _refused(folder, error) from error
        try:
            self._claim(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        _HELD.add(self)
        return self

    def _open(self) -> int:
        # Never through a link: the file is emptied below, and a folder from elsewhere may link to any file of ours.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(self.path, flags, 0o644)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "it is not an ordinary file")
        return descriptor

    def _claim(self, descriptor: int) -> None:
        folder = self.path.parent
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            holder = visible_line(os.pread(descriptor, 32, 0).decode(errors="replace").strip()) or "unknown"
            raise StorageError(
                f"{visible_line(str(folder))} is in use by process {holder}. Wait for it to end, or choose another "
                "folder."
            ) from None
        except OSError as error:
            raise _refused(folder, error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        # The file stays: removing it would let two processes lock two different files of the same name.
        _HELD.discard(self)
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _refused(folder: Path, error: OSError) -> StorageError:
    kind = OutOfSpace if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError
    return kind(
        f"cannot claim {visible_line(str(folder))} through its file {_NAME} ({visible_line(str(error))}). It must be a "
        f"folder that can be written to, with no link, folder or device named {_NAME}."
    )


_HELD: weakref.WeakSet[RunLock] = weakref.WeakSet()


def _let_go_in_child() -> None:
    # flock belongs to the open file, which fork shares: a child that outlives us would keep the folder locked.
    for lock in list(_HELD):
        lock._close()


os.register_at_fork(after_in_child=_let_go_in_child)
