"""The default corpus: the Python standard library of the interpreter that runs us, or folders of Python files.

`build_python_library(CorpusConfig())` reads it and splits it by top-level module into three sources (code without
docstrings and comments; docstrings as `help()` shows them; comments) and into pairs of a question and the answer that
people wrote. No download, and a corpus that every user of Python knows. `docs/decisions/0008-default-corpus.md` says
why, and what it cannot teach.
"""

from stategpt.data.sources.python_library.build import build_python_library, survey
from stategpt.data.sources.python_library.records import Entry, Pair, PairKind, PythonLibrary, Split
from stategpt.data.sources.python_library.storage import read_library, write_library

__all__ = [
    "Entry",
    "Pair",
    "PairKind",
    "PythonLibrary",
    "Split",
    "build_python_library",
    "read_library",
    "survey",
    "write_library",
]
