"""Text and Markdown: one document a file.

The bytes are kept as they are, CRLF too, but for a byte-order mark at the start, which is no text. `[curate]` makes
line ends equal where that is wanted.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from stategpt.data.lines import replaced
from stategpt.data.records import Place
from stategpt.data.rejections import Rejection
from stategpt.data.sources.limits import MAX_DOCUMENT_BYTES, too_long
from stategpt.data.sources.readers import Wanted
from stategpt.data.sources.records import Fields, opened

SUFFIXES = (".txt", ".md", ".markdown", ".rst", ".text")
FIELDS: tuple[str, ...] | None = ()

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read(path: Path, name: str, wanted: Wanted) -> Iterator[Fields | Rejection]:
    """The document of a file; rejected if it is too long, not UTF-8, holds NUL bytes or ends within a character."""
    with opened(path) as source:
        data = source.read_all(MAX_DOCUMENT_BYTES)
    where = Place(name)
    if len(data) > MAX_DOCUMENT_BYTES:
        yield too_long(where)
    elif data.startswith(_UTF16):
        yield Rejection(where, "not_utf8", "the file is UTF-16; save it as UTF-8")
    elif b"\0" in data:
        yield Rejection(where, "not_text", f"byte {data.index(0):,} is NUL, so this is no text; leave the file out")
    else:
        yield _decoded(data, where, wanted)


def _decoded(data: bytes, where: Place, wanted: Wanted) -> Fields | Rejection:
    try:
        return Fields(where, (data.decode().removeprefix("\ufeff"),))
    except UnicodeDecodeError as error:
        if wanted.replace_invalid:
            return Fields(where, (replaced(data).removeprefix("\ufeff"),), True)
        if error.reason == "unexpected end of data":
            return Rejection(where, "cut_off", f"the file ends within the character at byte {error.start:,}")
        return Rejection(
            where,
            "not_utf8",
            f"not UTF-8 at byte {error.start:,} (0x{data[error.start]:02x}); it may be Latin-1 or Windows-1252: save "
            "it as UTF-8",
        )
