"""Questions of MT-Bench: the turns of a user, with reference answers for some.

    {"question_id": 111, "category": "math", "turns": ["What is 2 + 2?", "And its double?"], "reference": ["4", "8"]}

The first turn is the prompt, and its reference answer the reference. Later turns ask about the model's answer, which
is not there yet: they are not asked, counted (`Tally.later_turns`) and kept in `meta["later_turns"]`. `category` and
`question_id` are in `meta` too.
"""

from __future__ import annotations

from typing import Any, Final

from stategpt.data.formats.conversations import prompt
from stategpt.data.lines import BadLine, json_type, require_unicode
from stategpt.data.records import LATER_TURNS, Message, Place, Prompt

KIND: Final = "prompt"
KEYS: Final = (("turns", "question_id"), ("turns", "category"), ("turns",))


def read(record: dict[str, Any], where: Place) -> Prompt:
    """Reads one record."""
    first, *later = _texts(record, "turns")
    if not first.strip():
        raise BadLine("empty_text", "the first of turns is empty")
    references = _texts(record, "reference") if record.get("reference") is not None else []
    known = {key: record[key] for key in ("question_id", "category") if key in record}
    given = record.get("meta") or {}
    if not isinstance(given, dict):
        raise BadLine("wrong_type", f"meta is {json_type(given)}, expected an object")
    meta = {**given, **known, **({LATER_TURNS: later} if later else {})}
    return prompt({**record, "meta": meta}, (Message("user", first),), where, references[0] if references else None)


def _texts(record: dict[str, Any], key: str) -> list[str]:
    """A list of texts with at least one. Raises BadLine."""
    value = record.get(key)
    if not isinstance(value, list) or not value:
        raise BadLine("wrong_type", f"{key} is {json_type(value)}, expected a list of texts with at least one")
    for item in value:
        if not isinstance(item, str):
            raise BadLine("wrong_type", f"{key} holds {json_type(item)}, expected texts")
    return [require_unicode(item, key) for item in value]
