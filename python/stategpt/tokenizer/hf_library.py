"""Calls into the `tokenizers` library: found or not, its faults as errors of this package.

The library panics on some files and texts. A panic arrives as `PanicException`, which is no `Exception`; here it
becomes an error like others. Where the library ends the process (`abort`), nothing can be done.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stategpt.errors import StategptError
from stategpt.extras import missing_extra
from stategpt.visible_text import visible_line

_SHOWN_CHARS = 300


def library() -> Any:
    """The module `tokenizers`.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import tokenizers
    except ImportError as error:
        raise missing_extra('engine="tokenizers"', "tokenizers", "hf") from error
    return tokenizers


@contextmanager
def library_faults(error: type[StategptError], what: str) -> Iterator[None]:
    """Whatever the library raises within, panics included, as `error`; `what` could not be done.

    Raises:
        error: the message has `what` and the library's words.
    """
    try:
        yield
    except (StategptError, MemoryError):
        raise
    except Exception as fault:  # the library raises nothing narrower
        raise error(f"{what}: {_words(fault)}") from fault
    except BaseException as fault:
        if type(fault).__name__ != "PanicException":
            raise
        raise error(f"{what}: the tokenizers library panicked: {_words(fault)}") from fault


def _words(fault: BaseException) -> str:
    said = visible_line(str(fault))
    return said if len(said) <= _SHOWN_CHARS else f"{said[:_SHOWN_CHARS]}..."
