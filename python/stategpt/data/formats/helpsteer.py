"""One rated response a record, as in HelpSteer (https://arxiv.org/abs/2311.09528): records of one prompt are ranked.

    {"prompt": "Why?", "response": "Because.", "helpfulness": 3, "correctness": 4, "coherence": 4, "complexity": 1,
     "verbosity": 1}

The score is `helpfulness`, and equal scores are a tie. A prompt with a single response cannot be ranked: its
record is rejected (`one_completion`). In HelpSteer2 the turns of a longer prompt are headed `<extra_id_1>User` and
`<extra_id_1>Assistant`; they become messages.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

from stategpt.data.formats.conversations import asked, group_in, required_text, system_of
from stategpt.data.formats.judgments import ScoredAnswer, score_of, turns
from stategpt.data.lines import BadLine
from stategpt.data.records import Message, Place

KIND: Final = "ranking"
KEYS: Final = (("prompt", "response", "helpfulness"), ("prompt", "response", "helpfulness", "correctness"))
_HEADING = "<extra_id_1>"


def read(record: dict[str, Any], where: Place) -> NoReturn:
    """A record alone is no ranking; `read_part` reads it."""
    read_part(record, where)
    raise BadLine("one_completion", "the prompt has one response; records of one prompt are ranked together")


def read_part(record: dict[str, Any], where: Place) -> ScoredAnswer:
    """Reads one record."""
    prompt = _prompt(record)
    messages = (*system_of(record, prompt), *prompt)
    text = required_text(record, "response")
    if not text.strip():
        raise BadLine("empty_completion", "response is empty")
    score = score_of(record.get("helpfulness"), "helpfulness")
    return ScoredAnswer(messages, text, score, group_in(record, messages), where)


def _prompt(record: dict[str, Any]) -> tuple[Message, ...]:
    text = record.get("prompt")
    if not isinstance(text, str) or _HEADING not in text:
        return asked(record, "prompt")
    return turns(f"{_HEADING}User\n{text}", _HEADING, "User\n", "Assistant\n?")
