"""Functions of a user, named `module:function`, as steps; an error names the document and the function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stategpt.data.curation.removed import Removed
from stategpt.data.records import Document
from stategpt.errors import CorpusError
from stategpt.user_functions import load_function

Function = Callable[..., Any]


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
