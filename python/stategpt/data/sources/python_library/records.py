"""What the corpus consists of: documents in sources, and pairs of a prompt and people's own answer to it."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import Any, Literal

PairKind = Literal["what", "complete"]
EntryKind = Literal["module", "class", "function"]
Side = Literal["train", "validation", "test"]

SIDES: tuple[Side, ...] = ("train", "validation", "test")
"""train: what stages learn from. validation: what a setting may be chosen by, and what is looked at in training. test:
what gates, report and comparison measure on, and nothing else reads.
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One docstring and what it describes."""

    name: str
    """Dotted name as a user types it: `json.JSONDecoder.decode`, `str.upper`."""
    signature: str
    """`(self, s, **kwargs)`; empty for modules and for classes without an `__init__` of their own."""
    text: str
    """The docstring, its common indentation removed, not empty."""
    unit: str
    """Top-level module the entry is held out with."""
    kind: EntryKind
    """What is described; methods and properties are functions."""
    local: bool = False
    """Defined inside a function: no user can name it."""

    @property
    def document(self) -> str:
        """The entry as `help()` shows it: name and signature, then the text indented by four spaces."""
        return f"{self.name}{self.signature}\n{textwrap.indent(self.text, '    ')}\n"


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt and the answer that people wrote: an SFT example, a ranking prompt or a held-out question."""

    kind: PairKind
    """what: asks what a thing does; complete: gives the first words of the answer and asks for the rest."""
    name: str
    """Dotted name of the function or class asked about."""
    prompt: str
    """The user's message."""
    response: str
    """The ideal answer; for kind complete it starts with the space that joins it to the prompt."""
    module: str
    """Top-level module: the unit of the split and of every clustered interval."""
    summary: str
    """The first sentence of the docstring, whole."""
    signature: str
    """As in `Entry`."""

    @property
    def prefix(self) -> str:
        """The words of the summary that the prompt gives away: `prefix + response == summary`. Empty for kind what."""
        return self.summary[: len(self.summary) - len(self.response)]


@dataclass(frozen=True, slots=True)
class Split:
    """Documents of one source, and the top-level module of each (the cluster in every interval)."""

    train: list[str] = field(default_factory=list)
    validation: list[str] = field(default_factory=list)
    train_modules: list[str] = field(default_factory=list)
    validation_modules: list[str] = field(default_factory=list)
    test: list[str] = field(default_factory=list)
    test_modules: list[str] = field(default_factory=list)

    def add(self, document: str, module: str, side: Side) -> None:
        """Append one document to its side."""
        self.documents(side).append(document)
        self.modules(side).append(module)

    def documents(self, side: Side) -> list[str]:
        """The documents of one side."""
        found: list[str] = getattr(self, side)
        return found

    def modules(self, side: Side) -> list[str]:
        """The module of each document of one side."""
        found: list[str] = getattr(self, f"{side}_modules")
        return found


@dataclass(frozen=True, slots=True)
class PythonLibrary:
    """The default corpus. One split by top-level module holds for all sources and for the pairs."""

    sources: dict[str, Split]
    """"code", "docstrings" and "comments"."""
    pairs_train: list[Pair]
    """One pair a name, its kind drawn by hash: half of each."""
    pairs_validation: list[Pair]
    """Both kinds of every validation name, one after the other."""
    pairs_test: list[Pair]
    """Both kinds of every test name, one after the other."""
    found: dict[str, Any]
    """What was read, kept, left out and dropped, by reason; plain JSON values."""

    def pairs(self, side: Side) -> list[Pair]:
        """The pairs of one side."""
        found: list[Pair] = getattr(self, f"pairs_{side}")
        return found
