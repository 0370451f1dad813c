"""HTML: the main text of a page, one document a file. Needs the extra `web` (resiliparse).

The encoding is the one that the page or its bytes declare; what is invalid in it becomes U+FFFD, as in a browser.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stategpt.data.records import Place
from stategpt.data.rejections import Rejection
from stategpt.data.sources.limits import MAX_DOCUMENT_BYTES, too_long
from stategpt.data.sources.readers import Wanted
from stategpt.data.sources.records import Fields, opened
from stategpt.extras import require

SUFFIXES = (".html", ".htm", ".xhtml")
FIELDS: tuple[str, ...] | None = ()


def read(path: Path, name: str, wanted: Wanted) -> Iterator[Fields | Rejection]:
    """The text of a page; a page without text is rejected as `empty_text`."""
    require("resiliparse", f"reading {name}", "web")
    with opened(path) as source:
        data = source.read_all(MAX_DOCUMENT_BYTES)
    where = Place(name)
    if len(data) > MAX_DOCUMENT_BYTES:
        yield too_long(where)
    elif b"\0" in data[:1024] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        yield Rejection(where, "not_text", "there is a NUL byte at its start, so this is no page; leave the file out")
    else:
        yield Fields(where, (page_text(data),))


def page_text(data: bytes) -> str:
    """The main text of an HTML page, or all of its text where no main part is found."""
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    page = bytes_to_str(data, detect_encoding(data) or "utf-8")
    found: str = extract_plain_text(page, main_content=True)
    return found if found.strip() else str(extract_plain_text(page))
