"""The identity of a JSON value: equal values have equal fingerprints, whatever their key order."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from stategpt import _native
from stategpt.errors import InvalidArgument

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
"""What `fingerprint` and a manifest's `extra` take. A tuple counts as a list."""

_INTEGERS = range(-(2**63), 2**64)


def fingerprint(value: Json) -> str:
    """`"b3:"` and 64 hexadecimal digits: the BLAKE3 of `value` as JSON with sorted keys and no spaces.

    1 and 1.0 differ, as do 0.0 and -0.0; a tuple equals a list.

    Raises:
        InvalidArgument: `value` holds something that JSON cannot keep apart or bring back: another type, a key that is
            not a string, NaN or infinity, an integer beyond 64 bits, a lone surrogate. The message says where.

    >>> fingerprint({"b": 1, "a": [2]}) == fingerprint({"a": (2,), "b": 1})
    True
    """
    return _native.fingerprint_json(json_text(value))


def json_text(value: Json) -> str:
    """`value` as JSON text that the native side reads back equal; see `fingerprint` for what is refused."""
    _check(value, "$")
    return json.dumps(value, allow_nan=False)


def _check(value: object, where: str) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            # json.dumps would turn 1 and "1" into the same key.
            if not isinstance(key, str):
                raise _unfit(where, f"the key {key!r} is not a string", "use str(key)")
            _check(item, f"{where}.{key}")
            _check(key, f"{where}.{key} (the key)")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check(item, f"{where}[{index}]")
    else:
        _check_scalar(value, where)


def _check_scalar(value: object, where: str) -> None:
    # Exact types: a NumPy float is a `float` to isinstance, an enum of strings a `str`, and both would be guessed at.
    if value is None or type(value) is bool:
        return
    if type(value) is str:
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise _unfit(where, f"{value!r} holds a lone surrogate", "repair or replace the text")
    elif type(value) is int:
        if value not in _INTEGERS:
            raise _unfit(where, f"{value} does not fit 64 bits", "pass it as a string")
    elif type(value) is float:
        if not math.isfinite(value):
            raise _unfit(where, f"{value} is not a JSON number", "pass None or a string")
    else:
        raise _unfit(where, f"a {type(value).__name__} is not JSON", "convert it to numbers, strings, lists and dicts")


def _unfit(where: str, problem: str, remedy: str) -> InvalidArgument:
    return InvalidArgument(f"no fingerprint at {where}: {problem}; {remedy}")
