"""Makes text from models, corpora and files safe to print: no control character reaches a terminal or a page."""

from __future__ import annotations

import re

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters but line end and tab, and those that change the direction of writing."""


def visible(text: str) -> str:
    """Control and direction characters as escapes (`\\x1b`), lone surrogates as "?"; line ends and tabs stay.

    HTML is not escaped here; templates escape everything.
    """
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return _UNSAFE.sub(lambda match: ascii(match.group())[1:-1], whole)


def visible_line(text: str, max_chars: int | None = None) -> str:
    """As `visible`, with line ends and tabs escaped too: for names that must stay on one line.

    Of a longer text than `max_chars` the start, and dots.
    """
    if max_chars is not None and len(text) > max_chars:
        text = f"{text[:max_chars]}..."
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")
