"""PDF: the text layer of a file, one document a file. Needs the extra `pdf` (pypdfium2).

no_text_layer   pages without text: a scan; run character recognition first
encrypted       a password is needed
invalid_pdf     not a PDF file, or a damaged one
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stategpt.data.lines import replaced
from stategpt.data.records import Place
from stategpt.data.rejections import Rejection
from stategpt.data.sources.limits import MAX_DOCUMENT_BYTES, too_long
from stategpt.data.sources.readers import Wanted
from stategpt.data.sources.records import Fields, opened
from stategpt.extras import require

SUFFIXES = (".pdf",)
FIELDS: tuple[str, ...] | None = ()

MAX_PDF_BYTES = 512 << 20
"""Largest file that is read; it is held in memory."""


def read(path: Path, name: str, wanted: Wanted) -> Iterator[Fields | Rejection]:
    """The text of all pages, a blank line between two."""
    require("pypdfium2", f"reading {name}", "pdf")
    with opened(path) as source:
        data = source.read_all(MAX_PDF_BYTES)
    where = Place(name)
    if len(data) > MAX_PDF_BYTES:
        yield Rejection(where, "too_long", f"more than {MAX_PDF_BYTES:,} bytes; split the file")
    else:
        yield _document(data, where)


def _document(data: bytes, where: Place) -> Fields | Rejection:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            return Rejection(where, "encrypted", "the file needs a password; save it without one")
        return Rejection(where, "invalid_pdf", f"not a PDF that can be read ({error})")
    try:
        return _pages(document, where, pypdfium2.PdfiumError)
    finally:
        document.close()


def _pages(document: Any, where: Place, failure: type[Exception]) -> Fields | Rejection:
    pages, size = [], 0
    for number in range(len(document)):
        try:
            page = document[number]
            layer = page.get_textpage()
            text = layer.get_text_range()
            layer.close()
            page.close()
        except failure as error:
            return Rejection(where, "invalid_pdf", f"page {number + 1} cannot be read ({error})")
        size += len(text)
        if size > MAX_DOCUMENT_BYTES:
            return too_long(where)
        # PDFium gives U+FFFE for a hyphen at the end of a line, U+0000 for a glyph without a character.
        pages.append(text.replace("\r\n", "\n").replace("\ufffe", "").replace("\0", "\ufffd").strip())
    found = "\n\n".join(page for page in pages if page)
    if not found:
        return Rejection(where, "no_text_layer", f"its {len(pages)} pages have no text; recognize the characters first")
    clean = replaced(found)
    return Fields(where, (clean,), clean != found)
