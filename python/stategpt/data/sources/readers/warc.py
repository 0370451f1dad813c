"""WARC archives of a crawl (ISO 28500), plain or gzip: the text of each page. Needs the extra `web` (fastwarc).

A document is a response of status 200 that holds HTML or plain text, or a record of converted text (WET). Requests,
metadata, images and failed responses are no documents and are not counted. `url`, `host` and `date` may name a document
or its group.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stategpt.data.lines import Source, replaced
from stategpt.data.records import Place
from stategpt.data.rejections import Rejection
from stategpt.data.sources.limits import MAX_DOCUMENT_BYTES, too_long
from stategpt.data.sources.readers import Wanted
from stategpt.data.sources.readers.html import page_fields
from stategpt.data.sources.records import Fields, opened
from stategpt.errors import CorpusError, StategptError
from stategpt.extras import require

SUFFIXES = (".warc", ".wet")
FIELDS: tuple[str, ...] | None = ("url", "host", "date")

_PAGES = ("text/html", "application/xhtml+xml")
_PLAIN = "text/plain"


def read(path: Path, name: str, wanted: Wanted) -> Iterator[Fields | Rejection]:
    """The pages of an archive in order; the place of a page is the number of its record and the byte of that."""
    require("fastwarc", f"reading {name}", "web")
    require("resiliparse", f"reading {name}", "web")
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    kinds = WarcRecordType.response | WarcRecordType.conversion
    with opened(path) as source:
        found = False
        try:
            # The package's own reader unpacks the file: it limits how far a file may expand.
            for number, record in enumerate(ArchiveIterator(_Stream(source), record_types=kinds), start=1):
                found = True
                text = _text_of(record, Place(name, number, record.stream_pos), wanted)
                if text is not None:
                    yield text
        except StategptError:
            raise
        except (OSError, ValueError, RuntimeError) as error:
            raise CorpusError(f"{name} is not a whole WARC file ({error}); fetch it again") from error
        if not found:
            raise CorpusError(f"{name} holds no record of WARC that is a response or converted text; leave it out")


class _Stream:
    """A `Source` as the file that fastwarc reads."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes."""
        data = self._source.read(size if size >= 0 else 1 << 20)
        self._position += len(data)
        return data

    def tell(self) -> int:
        """Bytes read so far."""
        return self._position

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Refuses: a compressed file is read once, from its start."""
        raise OSError("a compressed archive is read in order only")

    def close(self) -> None:
        """Leaves the file open; its owner closes it."""


def _text_of(record: Any, where: Place, wanted: Wanted) -> Fields | Rejection | None:
    """The text of a record, or None for one that is no page."""
    is_response = record.is_http
    if is_response and (record.http_headers is None or record.http_headers.status_code != 200):
        return None
    kind = (record.http_content_type if is_response else record.headers.get("Content-Type", _PLAIN)) or ""
    kind = kind.partition(";")[0].strip().lower()
    if kind not in (*_PAGES, _PLAIN):
        return None
    data = record.reader.read(MAX_DOCUMENT_BYTES + 1)
    if len(data) > MAX_DOCUMENT_BYTES:
        return too_long(where)
    url = record.headers.get("WARC-Target-URI", "")
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        host = ""
    known = {"url": url, "host": host, "date": record.headers.get("WARC-Date", "")}
    values = tuple(known[name] for name in wanted.others)
    if kind in _PAGES:
        return page_fields(data, where, *values)
    try:
        return Fields(where, (data.decode(), *values))
    except UnicodeDecodeError as error:
        if wanted.replace_invalid:
            return Fields(where, (replaced(data), *values), True)
        return Rejection(where, "not_utf8", f"not UTF-8 at byte {error.start:,} of the page")
