"""What readers of published preferences share: the place of a record, its fields, rankings with places put back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from stategpt.data.lines import BadLine, json_type, require_unicode
from stategpt.data.rankings import Rankings, Rejected
from stategpt.visible_text import visible_line

StrPath = str | os.PathLike[str]
_SHOWN_CHARS = 60


class RecordPlace(NamedTuple):
    """Line and byte of a record in its file."""

    line: int
    byte_offset: int


def with_places(rankings: Rankings, places: list[RecordPlace], rejected: list[Rejected], blank: int) -> Rankings:
    """`rankings`, which were read from converted records, with the places in the original file."""
    groups = [replace(g, **places[g.line - 1]._asdict()) for g in rankings.groups]
    late = [replace(r, **places[r.line - 1]._asdict()) for r in rankings.rejected]
    return Rankings(groups, sorted([*rejected, *late], key=lambda r: r.line), blank)


def string_field(row: Mapping[str, object], key: str) -> str:
    """The string under `key`. Raises BadLine, `missing_field`, `wrong_type` or `invalid_json`."""
    if key not in row:
        raise BadLine("missing_field", f"{key} is missing")
    value = row[key]
    if not isinstance(value, str):
        raise BadLine("wrong_type", f"{key} is {json_type(value)}, expected a string")
    return require_unicode(value, key)


def shown(text: str) -> str:
    """A name in a message: quoted, on one line and short."""
    return repr(visible_line(text, _SHOWN_CHARS))
