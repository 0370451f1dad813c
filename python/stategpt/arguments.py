"""Types of public arguments, and the checks they pass before they reach torch or the compiled code."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any, Literal, SupportsIndex, TypeAlias

import numpy as np
import numpy.typing as npt

from stategpt.errors import InvalidArgument

Ids: TypeAlias = npt.NDArray[np.uint32]
Special: TypeAlias = Literal["text", "unflagged", "allow"]
Documents: TypeAlias = Literal["whole", "lines"]
Errors: TypeAlias = Literal["reject", "replace"]
SPECIAL = ("text", "unflagged", "allow")
"""What happens to text that spells an added token: it stays text; it becomes the token unless that is flagged special;
it becomes the token."""


def whole(name: str, value: SupportsIndex, least: int = 0) -> int:
    """`value` as an int of `least` .. 2^63 - 1; numpy integers are taken, floats are not.

    Raises:
        InvalidArgument: it is no whole number, or out of range.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise InvalidArgument(f"{name} is {value!r}; it must be a whole number") from None
    if not least <= number < 2**63:
        raise InvalidArgument(f"{name} is {_short(number)}; it must be {least} or more (and below 2^63)")
    return number


def one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuses what is not among the choices.

    Raises:
        InvalidArgument: the message lists them.
    """
    if value not in choices:
        raise InvalidArgument(f"{name} is {value!r}; choose one of {', '.join(choices)}")


def real(name: str, value: object) -> float:
    """`value` as a finite float; whole numbers are taken, strings and flags are not.

    Raises:
        InvalidArgument: it is no finite number.
    """
    try:
        number = math.nan if isinstance(value, bool | str | bytes) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidArgument(f"{name} is {value!r:.60}; it must be a finite number")
    return number


def seed_number(value: SupportsIndex, name: str = "seed") -> int:
    """A seed: a whole number of 0 .. 2^64 - 1.

    Raises:
        InvalidArgument: it is another value.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise InvalidArgument(f"{name} is {value!r:.60}; it must be a whole number") from None
    if not 0 <= number < 2**64:
        raise InvalidArgument(f"{name} is {_short(number)}; it is between 0 and 2^64 - 1")
    return number


def unicode_text(name: str, value: object) -> str:
    """`value` as a str that UTF-8 can hold.

    Raises:
        InvalidArgument: it is not a str, or holds a lone surrogate.
    """
    if not isinstance(value, str):
        raise InvalidArgument(f"{name} is of type {type(value).__name__}; it must be str")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument(
            f"{name} is {value!a:.60}, with a lone surrogate at character {error.start}; give Unicode text"
        ) from None
    return value


def _short(number: int) -> str:
    """A number in a message; str() of one of over 4,300 digits raises."""
    return str(number) if number.bit_length() < 128 else f"a number of {number.bit_length()} bits"


def thread_count(value: int | None) -> int | None:
    """`threads` as it was given.

    Raises:
        InvalidArgument: it is below 1.
    """
    if value is not None and whole("threads", value, least=-(2**63)) < 1:
        raise InvalidArgument(f"threads is {value}; pass 1 or more, or None for as many as the machine lends")
    return value


def instance(name: str, value: object, kinds: type | tuple[type, ...], hint: str) -> None:
    """Refuses a value of another type before it fails somewhere deep inside.

    Args:
        hint: what to do, as a sentence: "Open the folder with `sg.Shards.open(path)`."

    Raises:
        InvalidArgument: the message names the types wanted and found.
    """
    if not isinstance(value, kinds):
        wanted = " or ".join(kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
        raise InvalidArgument(f"{name} is of type {type(value).__name__}; it must be {wanted}. {hint}")


def several(name: str, value: Iterable[Any], hint: str = "") -> None:
    """Refuses one string, bytes object or mapping where several items are meant: iterating it gives characters or keys.

    Raises:
        InvalidArgument: the message says to put it into a list.
    """
    if isinstance(value, str | bytes | bytearray | dict) or not isinstance(value, Iterable):
        found, remedy = type(value).__name__, hint or f"Put it into a list: [{name}]."
        raise InvalidArgument(f"{name} is of type {found}; it must be a list or another iterable. {remedy}")
