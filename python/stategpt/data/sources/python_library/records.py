"""A docstring with the name and signature of what it describes."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Literal

EntryKind = Literal["module", "class", "function"]


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
