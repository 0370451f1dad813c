"""Types of public arguments, and their checks before torch or the compiled module sees them."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, TypeAlias

from stategpt.errors import InvalidArgument

if TYPE_CHECKING:  # `stategpt plan` starts faster without numpy
    import numpy as np
    import numpy.typing as npt

Ids: TypeAlias = "npt.NDArray[np.uint32]"
Special: TypeAlias = Literal["text", "unflagged", "allow"]
Documents: TypeAlias = Literal["whole", "lines"]
Errors: TypeAlias = Literal["reject", "replace"]
SPECIAL = ("text", "unflagged", "allow")
"""How text that spells an added token is encoded: as text; as the token unless it is flagged special; as the token."""


def whole(name: str, value: SupportsIndex, least: int = 0) -> int:
    """Converts `value` to an int in `least` .. 2^63 - 1; accepts numpy integers, not floats.

    Raises:
        InvalidArgument: it is not a whole number, or out of range.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise InvalidArgument(f"{name} is {value!r}; it must be a whole number") from None
    if not least <= number < 2**63:
        raise InvalidArgument(f"{name} is {_short(number)}; it must be {least} or more (and below 2^63)")
    return number


def one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuses a value that is not among the choices.

    Raises:
        InvalidArgument: the message lists them.
    """
    if value not in choices:
        raise InvalidArgument(f"{name} is {value!r}; choose one of {', '.join(choices)}")


def nearest_hint(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """A question after the known name nearest to `name`, for the end of a message; `otherwise` where none is near.

    >>> nearest_hint("jsnol", ["jsonl", "parquet"])
    "did you mean 'jsonl'?"
    """
    near = get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else otherwise


def real(name: str, value: object) -> float:
    """Converts `value` to a finite float; accepts whole numbers, not strings or bools.

    Raises:
        InvalidArgument: it is not a finite number.
    """
    try:
        number = math.nan if isinstance(value, bool | str | bytes) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidArgument(f"{name} is {value!r:.60}; it must be a finite number")
    return number


def seed_number(value: SupportsIndex, name: str = "seed") -> int:
    """Converts `value` to a seed, a whole number in 0 .. 2^64 - 1.

    Raises:
        InvalidArgument: it is not such a number.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise InvalidArgument(f"{name} is {value!r:.60}; it must be a whole number") from None
    if not 0 <= number < 2**64:
        raise InvalidArgument(f"{name} is {_short(number)}; it must be between 0 and 2^64 - 1")
    return number


def unicode_text(name: str, value: object) -> str:
    """Checks that `value` is a str that UTF-8 can encode, and returns it.

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
    """Formats a number for a message; str() raises for a number of over 4,300 digits."""
    return str(number) if number.bit_length() < 128 else f"a number of {number.bit_length()} bits"


def thread_count(value: int | None) -> int | None:
    """Checks a number of threads and returns it unchanged.

    Raises:
        InvalidArgument: it is less than 1.
    """
    if value is not None and whole("threads", value, least=-(2**63)) < 1:
        raise InvalidArgument(f"threads is {value}; pass at least 1, or None to use all available cores")
    return value


def instance(name: str, value: object, kinds: type | tuple[type, ...], hint: str) -> None:
    """Refuses a value of another type at the call, before it fails deep inside.

    Args:
        hint: what to do, as a sentence: "Open the folder with `sg.Shards.open(path)`."

    Raises:
        InvalidArgument: the message names the types wanted and found.
    """
    if not isinstance(value, kinds):
        wanted = " or ".join(kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
        raise InvalidArgument(f"{name} is of type {type(value).__name__}; it must be {wanted}. {hint}")


def several(name: str, value: Iterable[Any], hint: str = "") -> None:
    """Refuses a single string, bytes object or mapping where a list is meant: iterating it gives characters or keys.

    Raises:
        InvalidArgument: the message says to put it into a list.
    """
    if isinstance(value, str | bytes | bytearray | dict) or not isinstance(value, Iterable):
        found, remedy = type(value).__name__, hint or f"Put it into a list: [{name}]."
        raise InvalidArgument(f"{name} is of type {found}; it must be a list or another iterable. {remedy}")
