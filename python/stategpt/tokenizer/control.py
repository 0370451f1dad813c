"""Control tokens in a template: segments between its texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from stategpt.arguments import unicode_text
from stategpt.errors import InvalidArgument

_SHOWN = 8


@dataclass(frozen=True)
class Control:
    """A control token as a segment of `Tokenizer.encode_segments`.

    Attributes:
        name: its name, `<|user|>`.
    """

    name: str


def text_or_id(segment: str | Control, special_id: Callable[[str], int]) -> str | int:
    """The text of a segment, or the id of its control token.

    Raises:
        InvalidArgument: it is neither; a control token that the vocabulary lacks (`special_id`).
    """
    if isinstance(segment, str):
        return segment
    if isinstance(segment, Control):
        return special_id(unicode_text("the name of a Control", segment.name))
    raise InvalidArgument(
        f"a segment is {type(segment).__name__}; pass text as str and control tokens as Control(name)"
    )


def names_shown(names: Iterable[str]) -> str:
    """The first of some names, and how many more there are, for an error."""
    held = list(names)
    more = len(held) - _SHOWN
    return f"{held[:_SHOWN]}" + (f" and {more} more" if more > 0 else "")


def shown(special_tokens: Mapping[str, int]) -> str:
    """Control tokens and their ids for a `repr`: all of a few, else the first and how many more (Llama 3 has 256)."""
    names = list(special_tokens)
    if len(names) <= _SHOWN:
        return repr(dict(special_tokens))
    first = ", ".join(f"{name!r}: {special_tokens[name]}" for name in names[:_SHOWN])
    return f"{{{first}, and {len(names) - _SHOWN} more}}"
