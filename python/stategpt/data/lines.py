"""Lines of text files, plain, gzip and zstd: the place of each line, in bounded memory whatever a file holds.

A thin layer over the compiled reader (`stategpt-lines`), with the classes and codes of errors that readers of records
need. A FIFO or device is refused, a compressed file that unpacks to far more than text does ends in an error, and of a
line longer than the limit only its start is kept in memory.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, NamedTuple

from stategpt import _native
from stategpt.errors import StategptError
from stategpt.json_reader import DuplicateKey, decode_json

if TYPE_CHECKING:
    from _csv import Reader as CsvReader

PACKED_SUFFIXES = (".gz", ".zst")
"""A file whose name ends so, in upper or lower case, is unpacked."""
MAX_LINE_BYTES = 64 << 20
"""Longest line that is read."""
UNPACKED_FREELY_BYTES = 64 << 20
"""A compressed file may unpack to this many bytes, however small it is ..."""
MAX_EXPANSION = 128
"""... and beyond that to this multiple of its size. Text shrinks 3 to 10 times; gzip's format allows for 1,032."""

_MARK = b"\xef\xbb\xbf"
_SURROGATES = re.compile("[\ud800-\udfff]")
_READ_AT_ONCE = 1 << 20


def unpacked_suffix(name: str) -> tuple[str, bool]:
    """The suffix of a file's name in lower case, without that of its packing, and whether it is packed.

    >>> unpacked_suffix("chats.JSONL.gz")
    ('.jsonl', True)
    """
    stem, suffix = os.path.splitext(name.lower())
    return (os.path.splitext(stem)[1], True) if suffix in PACKED_SUFFIXES else (suffix, False)


def csv_reader(texts: Iterable[str], separator: str = ",") -> CsvReader:
    """A strict reader of CSV whose fields may be as long as a line.

    Python has one limit of fields for the process: raised in one reader alone, it would let the length that another
    takes depend on what was read before.
    """
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_BYTES))
    return csv.reader(texts, delimiter=separator, strict=True)


class BadLine(ValueError):
    """Why a line cannot be used: `code` is stable, the text may improve."""

    def __init__(self, code: str, message: str) -> None:
        """Takes the code of the rejection, and what is wrong."""
        super().__init__(code, message)
        self.code, self.message = code, message


class Source:
    """The bytes of a regular file, unpacked if its name ends in .gz or .zst. A context manager.

    Args:
        path: the file.
        malformed: class of error for a compressed file that is damaged, or that unpacks to too much, and, with
            `elements`, for a file that is not one JSON array.
        elements: whether `read_lines` gives the elements of the JSON array that the file is, in the place of lines.

    Raises:
        MissingFile: there is no such file.
        StorageError: it is a folder, FIFO or device, or cannot be read.
    """

    def __init__(self, path: str | PathLike[str], malformed: type[StategptError], *, elements: bool = False) -> None:
        self.name = fspath(path)
        self.native = _native.TextFile(self.name, malformed, UNPACKED_FREELY_BYTES, MAX_EXPANSION, elements)

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end."""
        return self.native.read(size)

    def read_all(self, max_bytes: int) -> bytes:
        """Everything, or `max_bytes` + 1 bytes of what is longer."""
        parts, left = [], max_bytes + 1
        while left and (part := self.read(min(left, _READ_AT_ONCE))):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def __enter__(self) -> Source:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the file."""
        self.native.close()


class Line(NamedTuple):
    """A line of a file.

    Attributes:
        number: its number, from 1.
        byte_offset: byte at which it starts, from 0, of the unpacked file.
        content: its bytes without its end; without the byte-order mark at the start of the file.
        size: bytes of the whole line so counted; of a line over the limit `content` is only the start.
        is_ended: whether a newline ends it; the last line of a file may lack one.
    """

    number: int
    byte_offset: int
    content: bytes
    size: int
    is_ended: bool = True

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
            raise BadLine("line_too_long", f"the line has {self.size:,} bytes, more than {MAX_LINE_BYTES:,}")
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


def read_lines(source: Source, max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[Line]:
    """The lines of `source` in order, at most `max_line_bytes` of each; text after the last newline is a line."""
    while batch := source.native.next_lines(max_line_bytes):
        yield from map(Line._make, batch)


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


def is_unicode(text: str) -> bool:
    """Whether a text holds no half characters."""
    return _SURROGATES.search(text) is None


def replaced(text: str | bytes) -> str:
    """`text` with U+FFFD for what is not Unicode: bytes that are not UTF-8, lone surrogates."""
    return text.decode(errors="replace") if isinstance(text, bytes) else _SURROGATES.sub("\ufffd", text)


def json_type(value: object) -> str:
    """The JSON type of a value read from JSON, with its article."""
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return "null" if value is None else names.get(type(value), type(value).__name__)
