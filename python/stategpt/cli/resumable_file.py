"""An output file that is written over many runs of a command: what is done is kept, and the file is whole or absent.

    OUT.settings.json   what the output was begun with; the process that works on the output holds a lock on it
    OUT.part            a line for each finished result, appended as it is finished
    OUT                 the results in the order of the input, at the end

Each line is appended whole: what a kill tears is removed before the next one. A result has a place, a number from 0.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from array import array
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from stategpt.artifacts import Json, append_line, publish_written
from stategpt.artifacts.fingerprint import json_text
from stategpt.data.lines import Source, read_lines
from stategpt.errors import ConfigError, DataError, ForeignArtifact, StorageError
from stategpt.files import read_bytes
from stategpt.json_reader import MapOf, check_value, parse_json
from stategpt.visible_text import visible_line

FORMAT_VERSION = 1
_LIMIT_BYTES = 16 << 20
_MAX_LINE_BYTES = 1 << 30
_DURABLE_EVERY_S = 5.0
_NOT_DONE = (1 << 64) - 1

PlaceOf = Callable[[Mapping[str, Any]], int | None]
"""The place of a result; None for one that belongs to no input."""


class ResumableFile:
    """The output `out`, begun with `settings`; a context manager that holds its lock.

    Raises:
        ConfigError: `out` is there and was not written so.
        ForeignArtifact: it was begun with other settings; the message names the first.
        StorageError: another process writes it, or it cannot be written.
    """

    def __init__(
        self, out: str | os.PathLike[str], settings: Mapping[str, Json], places: int, place_of: PlaceOf
    ) -> None:
        self.out = Path(out)
        self.part = self.out.with_name(f"{self.out.name}.part")
        self.receipt = self.out.with_name(f"{self.out.name}.settings.json")
        self._settings = {"format_version": FORMAT_VERSION, **settings}
        self._place_of, self._offsets = place_of, array("Q", [_NOT_DONE]) * places
        self._lock: int | None = None
        self._durable_s = 0.0
        self.done = 0
        """Results that are there."""

    def __enter__(self) -> ResumableFile:
        self.out.parent.mkdir(parents=True, exist_ok=True)
        if self.out.exists() and not self.receipt.exists():
            raise ConfigError(f"{_shown(self.out)} is there and has no {self.receipt.name}; give another --out")
        self._lock = _locked(self.receipt)
        try:
            self._compare()
            if self.is_complete:
                self.part.unlink(missing_ok=True)  # a kill came between the two
            else:
                self._read_part()
        except BaseException:
            self._unlock()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._unlock()

    @property
    def is_complete(self) -> bool:
        """Whether the output is finished."""
        return self.out.exists()

    def has(self, place: int) -> bool:
        """Whether the result of a place is there."""
        return self._offsets[place] != _NOT_DONE

    def add(self, result: Mapping[str, Json]) -> None:
        """Appends a result; it survives a kill, and a power loss some seconds later."""
        place = self._place_of(result)
        assert place is not None  # it is of an input
        now_s = time.monotonic()
        durable = now_s - self._durable_s >= _DURABLE_EVERY_S
        append_line(self.part, result, durable=durable)
        self._durable_s = now_s if durable else self._durable_s
        if not self.has(place):
            self._offsets[place] = 0  # read again at the end
            self.done += 1

    def publish(self, lines: Callable[[Callable[[int], bytes]], Iterator[bytes]]) -> None:
        """Writes the output from `lines`, which gets the line of a place by its number; removes the part."""
        self._read_part()

        def write(path: Path) -> None:
            """Writes the results in order."""
            with self.part.open("rb") as part, path.open("wb") as file:

                def line_of(place: int) -> bytes:
                    """The line of a place, with its end."""
                    part.seek(self._offsets[place])
                    return part.readline()

                for line in lines(line_of):
                    file.write(line)

        publish_written(self.out, write)
        self.part.unlink()

    def _compare(self) -> None:
        """Compares the settings with those that the output was begun with, or notes them."""
        content = read_bytes(self.receipt, _LIMIT_BYTES, DataError)
        now = json.loads(json_text(self._settings))
        try:
            begun = check_value(parse_json(content, where=str(self.receipt)), MapOf(), where=str(self.receipt))
        except DataError:
            # A kill may tear it as it is written, before the first result.
            if self.part.exists() or self.out.exists():
                raise
            begun = {}
        if not begun:
            assert self._lock is not None
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, (json.dumps(self._settings, indent=1, ensure_ascii=False) + "\n").encode(), 0)
            os.fsync(self._lock)
            return
        for name in (*now, *begun):
            if now.get(name) != begun.get(name):
                raise ForeignArtifact(
                    f"{_shown(self.out)} was begun with {name} = {_value(begun.get(name))}, and now it is "
                    f"{_value(now.get(name))}. Give the same, another --out, or remove {_shown(self.receipt)}, "
                    f"{self.part.name} and {self.out.name} to begin again."
                )

    def _read_part(self) -> None:
        """Finds the results that are there."""
        if not self.part.exists():
            return
        self.done = 0
        for number in range(len(self._offsets)):
            self._offsets[number] = _NOT_DONE
        with Source(self.part, DataError) as source:
            for line in read_lines(source, _MAX_LINE_BYTES):
                if not line.is_ended:  # torn by a kill; the next one removes it
                    break
                where = f"{_shown(self.part)}:{line.number}"
                result = check_value(parse_json(line.content, where=where), MapOf(), where=where)
                place = self._place_of(result)
                if place is None:
                    raise DataError(f"{where} is no result of this input; remove the line.")
                if not self.has(place):
                    self.done += 1
                self._offsets[place] = line.byte_offset

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _locked(path: Path) -> int:
    """Opens a file, made if it is absent, that no other process may hold; the kernel frees it however this one ends."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not path.exists() or os.fstat(descriptor).st_ino != path.stat().st_ino:
            raise BlockingIOError  # it was removed meanwhile
    except BlockingIOError:
        os.close(descriptor)
        raise StorageError(f"{_shown(path)} is in use by another process; wait for it, or give another --out") from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _shown(path: Path) -> str:
    return visible_line(str(path))


def _value(value: object) -> str:
    return visible_line("not set" if value is None else json.dumps(value, ensure_ascii=False), 80)
