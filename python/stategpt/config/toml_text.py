"""Parses TOML text to plain values, in bounded time and with one kind of error.

The standard library's parser recurses once a bracket, reads a dotted key in time that grows as the square of its parts,
and refuses a number of over 4,300 digits with an unclear error.
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

from stategpt.errors import ConfigError
from stategpt.visible_text import visible_line

LIMIT_BYTES = 256 << 10
"""A resolved run.toml has about 12 KB."""
LINE_LIMIT_CHARS = 4096
"""A key is on one line, so this bounds its parts."""
_SHOWN_CHARS = 200
_TABLE = re.compile(r"\s*\[([^\[\]#]+)\]\s*(?:#.*)?")
_SETTING = re.compile(r"\s*([A-Za-z0-9_.\"' -]+?)\s*=")


def parse_toml(text: str) -> dict[str, Any]:
    """The table in `text`.

    Raises:
        ConfigError: not TOML, nested too deeply, or beyond the limits above. The message does not name the file.
    """
    if len(text) > LIMIT_BYTES:
        raise ConfigError(f"has {len(text):,} characters; a run has at most {LIMIT_BYTES:,}")
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > LINE_LIMIT_CHARS:
            raise ConfigError(f"line {number} has {len(line):,} characters; at most {LINE_LIMIT_CHARS:,}, so break it")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ConfigError("is nested too deeply to be read") from None
    except ValueError as error:  # TOMLDecodeError is one, and so is Python's answer to a number of 5,000 digits
        raise ConfigError(f"is not TOML: {visible_line(str(error))[:_SHOWN_CHARS]}") from None


def line_of(text: str, key: str) -> int:
    """Number of the line on which TOML text gives a setting (dotted key), else of the table it is in; 0 for neither."""
    table, nearest = "", (0, 0)
    for number, line in enumerate(text.split("\n"), start=1):
        header = _TABLE.fullmatch(line)
        setting = _SETTING.match(line)
        if header:
            table = f"{_plain(header[1])}."
            found = table[:-1]
        elif setting:
            found = table + _plain(setting[1])
        else:
            continue
        if key == found or key.startswith(f"{found}."):
            nearest = max(nearest, (len(found), number))
    return nearest[1]


def _plain(key: str) -> str:
    """A dotted key as TOML writes it, without spaces and quotes around its parts."""
    return ".".join(part.strip().strip("\"'") for part in key.split("."))
