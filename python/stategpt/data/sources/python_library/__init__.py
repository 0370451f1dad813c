"""The demo's corpus: the Python standard library of the interpreter that runs it, folders of Python files, or packages.

It is split by top-level module into three sources (code without docstrings and comments; docstrings as `help()` shows
them; comments) and into conversations: a question, and the answer that people wrote. No download, and a corpus that
every user of Python knows. `docs/decisions/0008-default-corpus.md` says why, and what it cannot teach.
"""

from typing import TYPE_CHECKING

from stategpt.config import CorpusConfig
from stategpt.lazy_names import lazy_names

if TYPE_CHECKING:
    from .building import build as build
    from .building import describe as describe

_EXPECTED = {"conversations": 5_700, "seconds": 30.0}

__all__ = ["build", "describe", "expected"]
__getattr__, __dir__ = lazy_names(__name__, {"building": ("build", "describe")})


def expected(config: CorpusConfig) -> dict[str, float]:
    """Training conversations and seconds of CPython 3.11's standard library on two cores; nothing for other paths."""
    return {} if config.paths else dict(_EXPECTED)
