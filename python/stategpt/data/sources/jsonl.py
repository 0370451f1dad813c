"""Reads documents from JSON lines: one object per line, with the text under a key."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stategpt.arguments import Errors
from stategpt.data.lines import BadLine, Line, Source, json_type, read_lines, require_unicode
from stategpt.errors import CorpusError

_SURROGATES = re.compile("[\ud800-\udfff]")


def replaced(text: str | bytes) -> str:
    """`text` with U+FFFD for what is not Unicode: bytes that are not UTF-8, lone surrogates."""
    return text.decode(errors="replace") if isinstance(text, bytes) else _SURROGATES.sub("\ufffd", text)


def read_json_lines(source: Source, field: str, errors: Errors) -> Iterator[str]:
    """The strings under `field` of the JSON objects in a file, one per line; blank lines are skipped.

    Raises:
        CorpusError: a line is not an object with that string, or there is none; it names file, line and byte offset.
    """
    found = False
    for line in read_lines(source):
        if line.is_blank:
            continue
        found = True
        try:
            text = _text_of(line, field, errors)
        except BadLine as bad:
            place = f"{source.name}:{line.number} (byte {line.byte_offset})"
            raise CorpusError(f"{place}: {bad.message}. Fix or remove the line.") from None
        yield text
    if not found:
        raise CorpusError(f"{source.name} holds no documents; leave it out")


def _text_of(line: Line, field: str, errors: Errors) -> str:
    if errors == "replace":
        content = replaced(line.content).encode()
        line = Line(line.number, line.byte_offset, content, len(content) + line.size - len(line.content))
    record = line.json_object()
    text = record.get(field)
    if not isinstance(text, str):
        keys = ", ".join(ascii(key) for key in sorted(record)[:8])
        found = json_type(text) if field in record else f"its keys are {keys:.200}"
        raise BadLine("missing_field", f'there is no string under "{field}" ({found}); name the field that has it')
    return replaced(text) if errors == "replace" else require_unicode(text, field)
