"""One process at a time in a run folder."""

from __future__ import annotations

import fcntl
import os
import weakref
from os import PathLike
from pathlib import Path
from types import TracebackType

from stategpt.errors import StorageError

_NAME = ".lock"


class RunLock:
    """A claim on a folder (created if absent), used as a context manager.

    The kernel frees it when the process ends, however it ends, so there is no stale lock to remove by hand. A child
    made by `fork` does not inherit the claim.

    Raises:
        StorageError: another process holds the folder; the message says which.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        self.path = Path(folder) / _NAME
        self._descriptor: int | None = None

    def __enter__(self) -> RunLock:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise StorageError(
                f"{self.path.parent} is in use by process {holder}. Wait for it to end, or choose another folder."
            ) from None
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor
        _HELD.add(self)
        return self

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


_HELD: weakref.WeakSet[RunLock] = weakref.WeakSet()


def _let_go_in_child() -> None:
    # flock belongs to the open file, which fork shares: a child that outlives us would keep the folder locked.
    for lock in list(_HELD):
        lock._close()


os.register_at_fork(after_in_child=_let_go_in_child)
