"""Functions of a user, named `module:function`, as steps; an error names the document and the function."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from stategpt.data.curation.removed import Removed
from stategpt.data.records import Document
from stategpt.errors import ConfigError, CorpusError

Function = Callable[..., Any]


def load_function(name: str, setting: str) -> Function:
    """The function that `setting` names as `module:function`; the working folder is searched too.

    Raises:
        ConfigError: the module cannot be imported or has no such function.
    """
    module_name, _, function_name = name.partition(":")
    here = str(Path.cwd())
    sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # the module is the user's: importing it may raise anything
        raise ConfigError(
            f"{setting} = {name!r}: importing {module_name!r} raised {type(error).__name__}: {error}. Install the "
            f"module, or run where it is; this is {here}"
        ) from error
    finally:
        sys.path.remove(here)
    found = getattr(module, function_name, None)
    if not callable(found):
        names = [each for each, value in vars(module).items() if callable(value) and not each.startswith("_")]
        near = get_close_matches(function_name, names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"{setting} = {name!r}: {module_name} has no function {function_name!r}{hint}")
    return found  # type: ignore[no-any-return]


class Filter:
    """A user's filter: called with a document, it returns True (kept), False or a reason (removed), or a document."""

    def __init__(self, name: str) -> None:
        """Takes `module:function`. Raises ConfigError as `load_function`."""
        self.name, self._function = name, load_function(name, "curate.filters")

    def __call__(self, document: Document) -> Document | Removed:
        """What becomes of `document`.

        Raises:
            CorpusError: the function raised, or returned something else.
        """
        found = call(self._function, self.name, document, document)
        if found is True:
            return document
        if found is False:
            return Removed(self.name, "returned False")
        if isinstance(found, str):
            return Removed(self.name, found or "returned an empty reason")
        if isinstance(found, Document):
            if found.source != document.source:
                raise _error(self.name, document, f"moved it to the source {found.source!r}; keep its source")
            return found
        kind = type(found).__name__
        raise _error(self.name, document, f"returned a {kind}; return True, False, a reason (str) or a Document")


def call(function: Function, name: str, document: Document, argument: object) -> Any:
    """`function(argument)`; what it raises becomes a CorpusError that names the document."""
    try:
        return function(argument)
    except Exception as error:  # the function is the user's: it may raise anything
        raise _error(name, document, f"raised {type(error).__name__}: {error}") from error


def place_of(document: Document) -> str:
    """Where a document is from, for a message."""
    return str(document.where) if document.where else f"a document of {document.source or 'no source'}"


def _error(name: str, document: Document, what: str) -> CorpusError:
    return CorpusError(f"{place_of(document)}: {name} {what}. The document starts {document.text[:60]!r}.")
