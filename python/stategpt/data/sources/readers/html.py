"""HTML: the main text of a page, one document a file. Needs the extra `web` (resiliparse).

A page that is valid UTF-8 is UTF-8. Another is in the encoding that it declares or that its bytes suggest; what is
invalid in that becomes U+FFFD, as in a browser.
"""

from __future__ import annotations

import re
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

MAX_DEPTH = 1024
"""Elements within each other; pages that people read have less than a hundred."""
_TAG = re.compile(rb"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
_CLOSE_BY_THEMSELVES = frozenset(
    b"area base br col embed hr img input link meta source track wbr p li dt dd tr td th option optgroup thead tbody "
    b"tfoot colgroup rp rt".split()
)


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
        yield page_fields(data, where)


def page_fields(data: bytes, where: Place, *others: str) -> Fields | Rejection:
    """The text of a page with further fields; a page whose elements are too deep within each other is rejected.

    The time of a parser grows with the square of that depth.
    """
    depth = deepest = 0
    for tag in _TAG.finditer(data):
        if tag[2].lower() not in _CLOSE_BY_THEMSELVES:
            depth = max(0, depth - 1) if tag[1] else depth + 1
            deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        return Rejection(where, "too_deep", f"{deepest:,} elements within each other, more than {MAX_DEPTH:,}")
    return Fields(where, (page_text(data), *others))


def page_text(data: bytes) -> str:
    """The main text of an HTML page, or all of its text where no main part is found."""
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    try:
        page = data.decode("utf-8-sig")
    except UnicodeDecodeError:  # detection is a guess, and takes short UTF-8 for other encodings
        page = bytes_to_str(data, detect_encoding(data, from_html_meta=True) or "utf-8")
    found: str = extract_plain_text(page, main_content=True)
    return found if found.strip() else str(extract_plain_text(page))
