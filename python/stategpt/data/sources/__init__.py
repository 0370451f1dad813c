"""Sources of documents: readers of users' files, and builders of a whole corpus.

`text`, `jsonl`, `json`, `parquet`, `html`, `warc` and `pdf` read files; `[sources.<name>]` of a run names them
(`files.py`), and `readers/` has a module for each format. `corpus.source` names a builder of a whole corpus: every
module or package of this folder that has `build` is one.

A builder may have two more functions, for `stategpt doctor` and `stategpt plan`:

    build(config: CorpusConfig) -> Corpus                    reads what config.paths names; splits it by group
    describe(config: CorpusConfig) -> list[(name, value)]    what `build` would read, without reading it
    expected(config: CorpusConfig) -> {"conversations": n, "seconds": s}    what the plan may assume, where it is known
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import TYPE_CHECKING, Any

from stategpt.arguments import nearest_hint
from stategpt.config import CorpusConfig
from stategpt.errors import ConfigError
from stategpt.lazy_names import lazy_names

if TYPE_CHECKING:  # stategpt plan needs no numpy
    from stategpt.data.corpus import Corpus

    from .documents import html as html
    from .documents import json as json
    from .documents import jsonl as jsonl
    from .documents import parquet as parquet
    from .documents import pdf as pdf
    from .documents import read_documents as read_documents
    from .documents import text as text
    from .documents import warc as warc
    from .files import read_source as read_source
    from .globs import files_of as files_of
    from .records import read_records as read_records
    from .token_files import tokens as tokens

__all__ = [
    "build_corpus",
    "describe_corpus",
    "expected_corpus",
    "files_of",
    "html",
    "json",
    "jsonl",
    "parquet",
    "pdf",
    "read_documents",
    "read_records",
    "read_source",
    "source_names",
    "text",
    "tokens",
    "warc",
]
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "documents": ("html", "json", "jsonl", "parquet", "pdf", "read_documents", "text", "warc"),
        "files": ("read_source",),
        "globs": ("files_of",),
        "records": ("read_records",),
        "token_files": ("tokens",),
    },
)


def source_names() -> list[str]:
    """Names that `corpus.source` may have, sorted."""
    return [name for name in _modules() if hasattr(_module(name), "build")]


def build_corpus(config: CorpusConfig) -> Corpus:
    """Builds the corpus that `config` describes.

    Raises:
        ConfigError: `corpus.source` is not set, or names no source.
        CorpusError: what the source reads is missing or cannot be used.
    """
    from stategpt.data.corpus import Corpus

    source = _source(config)
    if not hasattr(source, "build"):
        raise _not_a_source(config)
    corpus = source.build(config)
    if not isinstance(corpus, Corpus):
        raise ConfigError(
            f"corpus.source = {config.source!r}: its build() gave a {type(corpus).__name__}, not a Corpus"
        )
    return corpus


def describe_corpus(config: CorpusConfig) -> list[tuple[str, str]]:
    """What `build_corpus` would read, as (name, value) for people; empty where the source cannot say.

    Raises as `build_corpus`.
    """
    found: list[tuple[str, str]] = _optional(config, "describe", [])
    return found


def expected_corpus(config: CorpusConfig) -> dict[str, float]:
    """`conversations` and `seconds` that the plan may assume; empty where they are not known, or no source is set."""
    found: dict[str, float] = _optional(config, "expected", {}) if config.source else {}
    return found


def _optional(config: CorpusConfig, function: str, otherwise: Any) -> Any:
    call = getattr(_source(config), function, None)
    return otherwise if call is None else call(config)


def _source(config: CorpusConfig) -> ModuleType:
    if not config.source:
        names = source_names()
        raise ConfigError(f"corpus.source is not set; set it, and corpus.paths, to a source: {', '.join(names)}")
    if config.source not in _modules():
        raise _not_a_source(config)
    return _module(config.source)


def _not_a_source(config: CorpusConfig) -> ConfigError:
    names = source_names()
    hint = nearest_hint(config.source, names, f"it is one of {', '.join(names)}")
    return ConfigError(f"corpus.source = {config.source!r} is not a source; {hint}")


def _modules() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")
