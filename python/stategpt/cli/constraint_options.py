"""Options of commands whose outputs can be constrained: `--schema` and `--regex`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from stategpt.errors import ConfigError, ConstraintError
from stategpt.files import read_bytes

if TYPE_CHECKING:
    from stategpt.generate.constraints import Spec

_LIMIT_BYTES = 4 << 20


def add_constraint(parser: argparse.ArgumentParser, *, patterns: bool) -> None:
    """Adds `--schema`, and with `patterns` `--regex`."""
    parser.add_argument("--schema", metavar="FILE_OR_JSON", help="JSON schema that each answer satisfies")
    if patterns:
        parser.add_argument("--regex", metavar="PATTERN", help="regular expression that each answer matches as a whole")


def constraint_of(schema: str | None, regex: str | None = None) -> Spec | None:
    """Returns what an output must be; None for anything.

    Raises:
        ConfigError: both are given, or the schema is no JSON.
        StorageError: the schema's file cannot be read.
    """
    if schema is not None and regex is not None:
        raise ConfigError("--schema and --regex are given; give one of them")
    if schema is not None:
        return _schema(schema)
    if regex is None:
        return None
    from stategpt.generate.constraints import regex as spec

    return spec(regex)


def _schema(given: str) -> Spec:
    from stategpt.generate.constraints import json_schema

    is_json = given.lstrip().startswith("{")
    try:
        return json_schema(given if is_json else read_bytes(given, _LIMIT_BYTES, ConfigError))
    except ConstraintError as error:
        raise ConfigError(f"--schema{'' if is_json else f' {given}'}: {error}") from None
