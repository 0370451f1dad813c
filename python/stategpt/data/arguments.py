"""What arguments may be, and checks before they reach the compiled side, which takes 64-bit numbers only."""

from __future__ import annotations

import operator
from typing import Literal, SupportsIndex, TypeAlias

import numpy as np
import numpy.typing as npt

from stategpt.errors import InvalidArgument

Ids: TypeAlias = npt.NDArray[np.uint32]
Special: TypeAlias = Literal["text", "allow"]
Documents: TypeAlias = Literal["whole", "lines"]
Errors: TypeAlias = Literal["reject", "replace"]


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
        raise InvalidArgument(f"{name} is {number}; it must be {least} or more (and below 2^63)")
    return number


def one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuses what is not among the choices.

    Raises:
        InvalidArgument: the message lists them.
    """
    if value not in choices:
        raise InvalidArgument(f"{name} is {value!r}; choose one of {', '.join(choices)}")


def thread_count(value: int | None) -> int | None:
    """`threads` as it was given.

    Raises:
        InvalidArgument: it is below 1.
    """
    if value is not None and value < 1:
        raise InvalidArgument(f"threads is {value}; pass 1 or more, or None for as many as the machine lends")
    return value
