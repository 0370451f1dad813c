"""How inputs are changed: bytes at random, the types of JSON values, and texts that are large or deep."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    -1,
    0,
    1,
    1.5,
    -0.0,
    1e308,
    float("nan"),
    float("inf"),
    2**31,
    2**32,
    2**53 + 1,
    2**62,
    2**63,
    2**64,
    -(2**63),
    10**30,
    "",
    "x",
    "\u0000",
    "\ud800",
    "../x",
    "/etc/passwd",
    "a" * 10_000,
    [],
    {},
    [[]],
    [None],
    {"a": 1},
    [1, 2, 3],
    {"": {}},
)
"""Replacements for a value: of another type or size."""


def flipped(content: bytes, draw: random.Random) -> bytes:
    """Some bits flipped, the end cut off, or parts overwritten, repeated, removed and put in."""
    data = bytearray(content)
    way = draw.randrange(4)
    if way == 0:
        for _ in range(draw.choice((1, 1, 2, 8))):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        return bytes(data)
    if way == 1:
        return bytes(data[: draw.randrange(len(data))])
    for _ in range(draw.randrange(1, 6)):
        at, length = draw.randrange(len(data) + 1), draw.choice((1, 2, 8, 64))
        piece = draw.choice((draw.randbytes(length), bytes(length), b"\xff" * length, bytes(data[at : at + length])))
        data[at : at + draw.choice((0, length))] = piece
    return bytes(data)


def retyped(value: Any, draw: random.Random) -> Any:
    """`value` with one part of it replaced by an odd one, removed, or with a part more."""
    changed = copy.deepcopy(value)
    places = _places(changed)
    if not places:
        return draw.choice(ODD_VALUES)
    holder, key = draw.choice(places)
    way = draw.randrange(10)
    if way == 0:
        del holder[key]
    elif way == 1 and isinstance(holder, dict):
        holder[draw.choice(("x", "", "\u0000", "a" * 1000))] = draw.choice(ODD_VALUES)
    elif way == 2 and isinstance(holder, list):
        holder.append(draw.choice((*ODD_VALUES, holder[key])))
    else:
        holder[key] = copy.deepcopy(draw.choice(ODD_VALUES))
    return changed if draw.random() < 0.97 else draw.choice(ODD_VALUES)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every part of a JSON value, as what holds it and its key; long lists by their first few items."""
    keys = list(value) if isinstance(value, dict) else range(min(len(value), 20)) if isinstance(value, list) else ()
    found = [(value, key) for key in keys]
    for key in keys:
        found += _places(value[key])
    return found


def dumped(value: Any) -> bytes:
    """JSON with whatever Python's writer also writes: NaN, lone surrogates."""
    return json.dumps(value).encode("utf-8", "surrogatepass")


def json_bombs() -> list[bytes]:
    """Texts that parsers fail on: deep, long, twice, not UTF-8, not JSON."""
    return [
        b"[" * 200_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" * 500 + b"]" * 500,
        b"1" + b"0" * 6_000,
        b'{"a": ' + b"9" * 6_000 + b"}",
        b'{"a": 1, "a": 2}',
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'"' + b"x" * 5_000_000 + b'"',
        b"{" + b",".join(b'"%d": 0' % number for number in range(100_000)) + b"}",
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{}",
        b'"\\ud800"',
        b'{"\\ud800": "\\udfff"}',
        b"",
        b"\x00" * 1000,
        b"null",
        b"[]",
        b"{}",
        b'"x"',
        b"true",
        b"-1",
        b"{" * 3,
        b"nul",
    ]
