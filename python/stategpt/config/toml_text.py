"""Parses TOML text to plain values, in bounded time and with one kind of error.

The standard library's parser recurses once a bracket, reads a dotted key in time that grows as the square of its parts,
and refuses a number of over 4,300 digits with an unclear error.
"""

from __future__ import annotations

import tomllib
from typing import Any

from stategpt.errors import ConfigError
from stategpt.visible_text import visible_line

LIMIT_BYTES = 256 << 10
"""A resolved run.toml has about 12 KB."""
LINE_LIMIT_CHARS = 4096
"""A key is on one line, so this bounds its parts."""
_SHOWN_CHARS = 200


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
