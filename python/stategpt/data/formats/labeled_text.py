"""Texts with the class that each belongs to, for `[classify]`.

    {"text": "A dull film.", "label": "negative"}

Spellings: text/label, sentence/label, review/sentiment. A label is a string, or a whole number or truth value, which
becomes its text: 1 is "1". `group`, `id`, `source` and `meta` may be beside them; without a group, equal texts are one.
"""

from __future__ import annotations

from typing import Any, Final

from stategpt.data.formats.conversations import meta_of, required_text
from stategpt.data.groups import text_digest
from stategpt.data.lines import BadLine, json_type, require_unicode
from stategpt.data.records import LabeledText, Place

KIND: Final = "label"
KEYS: Final = (("text", "label"), ("sentence", "label"), ("review", "sentiment"))
LONGEST_LABEL: Final = 100


def matches(record: dict[str, Any]) -> bool:
    """Whether the label is the name or the number of a class."""
    return isinstance(record["sentiment" if "sentiment" in record else "label"], str | int)


def read(record: dict[str, Any], where: Place) -> LabeledText:
    """Reads one record."""
    text_key, label_key = next(keys for keys in KEYS if record.keys() >= set(keys))
    text = required_text(record, text_key)
    if not text.strip():
        raise BadLine("empty_text", f"{text_key} is empty")
    group = record.get("group") or text_digest(text)
    if not isinstance(group, str):
        raise BadLine("wrong_type", f"group is {json_type(group)}, expected a string")
    return LabeledText(text, _label(record, label_key), require_unicode(group, "group"), where, meta_of(record))


def _label(record: dict[str, Any], key: str) -> str:
    value = record[key]
    if value is None:
        raise BadLine("missing_field", f"{key} is null")
    if not isinstance(value, str | int):
        raise BadLine("wrong_type", f"{key} is {json_type(value)}, expected a string or a whole number")
    label = require_unicode(str(value).strip(), key)
    if not 0 < len(label) <= LONGEST_LABEL:
        raise BadLine("invalid_label", f"{key} has {len(label):,} characters; the name of a class has 1 to 100")
    return label
