"""Formats of documents: every module of this folder reads one. `sources.<name>.format` names a module.

A module has

    SUFFIXES = (".html", ".htm")          file names that it reads; .gz and .zst may follow
    FIELDS = ("url",)                     names that `id` and `group` may have; None = any field of a record
    read(path: Path, name: str, wanted: Wanted) -> Iterator[Fields | Rejection]

`read` gives the documents of one file in order, in bounded memory, and a rejection in the place of each that it cannot
read. `name` is the file's name in places. What no format reads by its name is text.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple, Protocol

from stategpt.arguments import nearest_hint
from stategpt.data.lines import unpacked_suffix
from stategpt.data.rejections import Rejection
from stategpt.data.sources.records import Fields
from stategpt.errors import ConfigError

TEXT = "text"


class Wanted(NamedTuple):
    """What is read of each document.

    Attributes:
        text: name of the field with the text, in formats that have fields.
        others: names of further fields, for the document's name and group.
        replace_invalid: whether what is not Unicode becomes U+FFFD; otherwise it is rejected.
    """

    text: str = "text"
    others: tuple[str, ...] = ()
    replace_invalid: bool = False


class Reader(Protocol):
    """A module of this folder."""

    SUFFIXES: tuple[str, ...]
    FIELDS: tuple[str, ...] | None

    def read(self, path: Path, name: str, wanted: Wanted) -> Iterator[Fields | Rejection]:
        """The documents of one file."""
        ...


def reader_names() -> list[str]:
    """Names of the formats, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def reader_named(name: str, setting: str = "format") -> Reader:
    """The reader of a format.

    Raises:
        ConfigError: there is none of that name.
    """
    names = reader_names()
    if name not in names:
        hint = nearest_hint(name, names, f"it is one of {', '.join(names)}")
        raise ConfigError(f"{setting} = {name!r:.60} is not a format; {hint}")
    reader: Reader = importlib.import_module(f"{__name__}.{name}")
    return reader


def reader_of(path: Path) -> Reader:
    """The reader that a file's name asks for: by its suffix, text for any other."""
    return reader_named(readers_by_suffix().get(unpacked_suffix(path.name)[0], TEXT))


def readers_by_suffix() -> dict[str, str]:
    """Name of the reader of each suffix."""
    return _by_suffix(tuple(reader_names()))


@cache
def _by_suffix(names: tuple[str, ...]) -> dict[str, str]:
    return {suffix: name for name in names for suffix in reader_named(name).SUFFIXES}
