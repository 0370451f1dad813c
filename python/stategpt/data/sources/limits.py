"""Limits on a document, and the checks that hold for documents of all formats.

empty_text   no character but white space
not_text     a NUL character: a binary file
too_long     more than 32 MiB of UTF-8
"""

from __future__ import annotations

import json

from stategpt.data.lines import MAX_LINE_BYTES
from stategpt.data.records import Place
from stategpt.data.rejections import Rejection

MAX_DOCUMENT_BYTES = 32 << 20
"""Longest document, in bytes of UTF-8: as JSON it must fit a line of the corpus."""
_SURELY_FITS_BYTES = MAX_LINE_BYTES // 8
"""JSON writes a character in at most six bytes: below this no document is over the limit of a line."""
_FRAME_BYTES = 1 << 20


def too_long(where: Place) -> Rejection:
    """The rejection of a document that is too long."""
    return Rejection(where, "too_long", f"more than {MAX_DOCUMENT_BYTES:,} bytes; split the document")


def problem_of(where: Place, text: str) -> Rejection | None:
    """Why a text is no document, if it is none."""
    if not text or text.isspace():
        return Rejection(where, "empty_text", "there is no text; leave the document out")
    if "\0" in text:
        message = f"character {text.index(chr(0)):,} is NUL, so this is no text; leave the document out"
        return Rejection(where, "not_text", message)
    if len(text) > _SURELY_FITS_BYTES // 4 and _is_too_long(text):
        return too_long(where)
    return None


def _is_too_long(text: str) -> bool:
    size = len(text.encode())
    if size <= _SURELY_FITS_BYTES:
        return False
    as_json = len(json.dumps(text, ensure_ascii=False).encode())
    return size > MAX_DOCUMENT_BYTES or as_json > MAX_LINE_BYTES - _FRAME_BYTES
