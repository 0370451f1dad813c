"""Which typed format a Jinja template is: the one whose text equals the template's on every probe conversation."""

from __future__ import annotations

from collections.abc import Sequence

from stategpt.data.records import Message, ToolCall
from stategpt.errors import ChatTemplateError, InvalidArgument

from .imported import ImportedFormat
from .pieces import text_of
from .typed import TypedFormat, format_names, named_format

_CALL = ToolCall("hours", {"day": "today", "n": [1, 2.5, None]}, "call00001")


def _turns(text: str) -> tuple[Message, ...]:
    """Messages by their initials: `s` system, `u` user, `a` assistant, `t` tool, `c` a call; texts with white space."""
    made = {
        "s": Message("system", " Be\n brief. \n"),
        "u": Message("user", "\n What is it?\n\n"),
        "v": Message("user", "And 'this'?"),
        "a": Message("assistant", " It is.\n"),
        "h": Message("assistant", "<think>\nhm\n</think>\n\nSo it is"),
        "c": Message("assistant", "", tool_calls=[_CALL]),
        "d": Message("assistant", "Let me see.", tool_calls=[_CALL, _CALL]),
        "t": Message("tool", " 9 to 5 "),
    }
    return tuple(made[letter] for letter in text)


_ORDERS = (
    "u ua uav uava uavahv su sua suav suavha suh sv sva vu vv uvav uaav a sa usa ussv uasv ssu "
    "uct ucta ucttav sudta sudttav uat uavdta"
)
PROBES = tuple(_turns(order) for order in _ORDERS.split())
_REQUIRED = (_turns("u"), _turns("ua"), _turns("uav"))


def recognized(template: ImportedFormat, end_of_text: str) -> TypedFormat | None:
    """The typed format that a template is, or None.

    Wherever the template renders, the typed format must give the same text. Where the template refuses the format may
    do either; of several formats the one that refuses most of these is taken. A call that the template passes over in
    silence counts as refused.
    """
    if any(_jinja(template, turns, turns[-1].role == "user") is None for turns in _REQUIRED):
        return None
    # An answer is what a conversation ends with, and what a prompt waits for; templates differ in what else they do.
    asked = [(number, turns[-1].role != "assistant") for number, turns in enumerate(PROBES)]
    outcomes = {(number, prompt): _jinja(template, PROBES[number], prompt) for number, prompt in asked}
    best: tuple[int, TypedFormat] | None = None
    for name in format_names():
        candidate = named_format(name, end_of_text)
        equal = _equal(candidate, outcomes)
        if equal is not None and (best is None or equal > best[0]):
            best = equal, candidate
    return None if best is None else best[1]


def _equal(candidate: TypedFormat, outcomes: dict[tuple[int, bool], str | None]) -> int | None:
    """On how many probes both do the same, or None where they contradict each other."""
    same = 0
    for (number, prompt), expected in outcomes.items():
        found = _typed(candidate, PROBES[number], prompt)
        if expected is not None and found != expected:
            return None
        same += found == expected
    return same


def _jinja(template: ImportedFormat, turns: Sequence[Message], prompt: bool) -> str | None:
    try:
        text = template.render(turns, prompt=prompt)
    except ChatTemplateError:
        return None
    calls = {2 * number + 1 for number, message in enumerate(turns) if message.tool_calls}
    return text.plain if calls <= {*text.origins} else None


def _typed(candidate: TypedFormat, turns: Sequence[Message], prompt: bool) -> str | None:
    try:
        return text_of(candidate.pieces(turns, prompt=prompt))
    except InvalidArgument:
        return None
