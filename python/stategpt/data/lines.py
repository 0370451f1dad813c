"""Reads lines of text files, also gzipped, with their place in the file and in bounded memory.

A FIFO or device is refused, a gzip file that unpacks to far more than text does ends in an error, and of a line longer
than the limit only its start is held.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any, BinaryIO, cast

from stategpt.errors import StategptError, StorageError
from stategpt.files import open_regular
from stategpt.json_reader import DuplicateKey, decode_json

LINE_LIMIT_BYTES = 64 << 20
"""Longest line that is read."""
UNPACKED_FREELY_BYTES = 64 << 20
"""A gzip file may unpack to this much, however small it is ..."""
MOST_EXPANSION = 128
"""... and beyond that to this multiple of its size. Text compresses 3 to 10 times; gzip's format allows 1,032."""

_MARK = b"\xef\xbb\xbf"
_READ_AT_ONCE = 1 << 20


class BadLine(ValueError):
    """Why a line cannot be used: `code` is stable, the text may improve."""

    def __init__(self, code: str, message: str) -> None:
        """Takes the code of the rejection, and what is wrong."""
        super().__init__(code, message)
        self.code, self.message = code, message


class Source:
    """The bytes of a regular file, unpacked if its name ends in .gz. A context manager.

    Args:
        path: the file.
        malformed: class of error for gzip that is not whole, or that unpacks to too much.

    Raises:
        MissingFile: there is no such file.
        StorageError: it is a folder, FIFO or device, or cannot be read.
    """

    def __init__(self, path: str | PathLike[str], malformed: type[StategptError]) -> None:
        self.name = fspath(path)
        self._malformed = malformed
        self._file = open_regular(path)
        self._packed = self.name.lower().endswith(".gz")
        # A GzipFile reads like any binary file.
        self._stream = cast(BinaryIO, gzip.GzipFile(fileobj=self._file)) if self._packed else self._file
        self._unpacked = 0

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end."""
        return self._checked(lambda: self._stream.read(size))

    def readline(self, size: int) -> bytes:
        """A line with its end, or its first `size` bytes; none at the end."""
        return self._checked(lambda: self._stream.readline(size))

    def read_all(self, limit_bytes: int) -> bytes:
        """Everything, or `limit_bytes` + 1 bytes of what is longer."""
        parts, left = [], limit_bytes + 1
        while left and (part := self.read(min(left, _READ_AT_ONCE))):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def __enter__(self) -> Source:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the file."""
        self._file.close()

    def _checked(self, read: Callable[[], bytes]) -> bytes:
        try:
            data = read()
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise self._malformed(f"{self.name} is not a whole gzip file: {error}. Fetch or write it again.") from error
        except OSError as error:
            raise StorageError(f"cannot read {self.name}: {error}. Check the disk.") from error
        if self._packed:
            self._unpacked += len(data)
            packed = self._file.tell()
            if self._unpacked > max(UNPACKED_FREELY_BYTES, MOST_EXPANSION * packed):
                raise self._malformed(
                    f"{self.name} unpacks to over {self._unpacked:,} bytes from {packed:,}: text does not compress "
                    "that far. If the file is what you want, unpack it first."
                )
        return data


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file.

    Attributes:
        number: its number, from 1.
        byte_offset: byte at which it starts, from 0, of the unpacked file.
        content: its bytes without its end; without the byte-order mark at the start of the file.
        size: bytes of the whole line so counted; of a line over the limit `content` is only the start.
    """

    number: int
    byte_offset: int
    content: bytes
    size: int

    @property
    def is_blank(self) -> bool:
        """Only white space."""
        return self.size == len(self.content) and not self.content.strip()

    def text(self) -> str:
        """The line as text.

        Raises:
            BadLine: `line_too_long`, `not_utf8` or `byte_order_mark` (one that is not at the start of the file).
        """
        if self.size > len(self.content):
            raise BadLine("line_too_long", f"the line has {self.size:,} bytes, more than {LINE_LIMIT_BYTES:,}")
        if self.content.startswith(_MARK):
            raise BadLine("byte_order_mark", "a byte-order mark is allowed at the start of a file only; remove it")
        return decoded(self.content)

    def json_object(self) -> dict[str, Any]:
        """The JSON object on the line.

        Raises:
            BadLine: as `text`; `invalid_json`, `duplicate_key`, or `wrong_type` for JSON that is no object.
        """
        text = self.text()
        try:
            value = decode_json(text)
        except DuplicateKey as error:
            raise BadLine("duplicate_key", str(error)) from None
        except RecursionError:
            raise BadLine("invalid_json", "nested too deeply to be read") from None
        except ValueError as error:
            raise BadLine("invalid_json", f"not valid JSON: {error}") from None
        if not isinstance(value, dict):
            raise BadLine("wrong_type", f"the line holds {json_type(value)}, expected an object")
        return value


def read_lines(source: Source, limit_bytes: int = LINE_LIMIT_BYTES) -> Iterator[Line]:
    """The lines of `source` in order, each at most `limit_bytes` in memory; text after the last line end is a line."""
    number, byte_offset = 0, 0
    limit_bytes = max(limit_bytes, len(_MARK))  # the mark is seen whole
    while content := source.readline(limit_bytes + 1):
        number += 1
        taken = len(content)
        ended = content.endswith(b"\n")
        content = content[:-1] if ended else content[:limit_bytes]
        size = taken - ended
        while not ended and taken > limit_bytes:
            rest = source.readline(_READ_AT_ONCE)
            ended = rest.endswith(b"\n") or not rest
            taken += len(rest)
            size += len(rest) - rest.endswith(b"\n")
        if byte_offset == 0 and content.startswith(_MARK):
            content, size = content[len(_MARK) :], size - len(_MARK)
        yield Line(number, byte_offset, content, size)
        byte_offset += taken


def decoded(content: bytes) -> str:
    """UTF-8 as text. Raises BadLine, `not_utf8`, with the byte."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise BadLine(
            "not_utf8", f"not UTF-8 from byte {error.start} of the line on; save the file as UTF-8"
        ) from error


def require_unicode(text: str, what: str) -> str:
    r"""`text`, if it is Unicode: JSON can write half a character, "\ud83d", which no tokenizer can read.

    Raises:
        BadLine: `invalid_json`, with the place in the text.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"U+{ord(text[error.start]):04X}"
        raise BadLine("invalid_json", f"{what} has the lone surrogate {half} at character {error.start}") from None
    return text


def json_type(value: object) -> str:
    """The JSON type of a value read from JSON, with its article."""
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return "null" if value is None else names.get(type(value), type(value).__name__)
