"""Settings of one source of documents, the table `[sources.<name>]` of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stategpt.config.checks import require, require_all_storable, require_choice, require_not_negative
from stategpt.shown_fields import documented, short_repr

InvalidText = Literal["reject", "replace"]
GROUPS = ("document", "file", "folder")
"""Values of `SourceConfig.group` that are no field's name."""


@documented
@dataclass(frozen=True)
class SourceConfig:
    """Files that one source reads, how documents are found in them, and its share of the training tokens.

    Raises:
        ConfigError: a setting is out of range; the message names it.
    """

    paths: tuple[str, ...]
    """Files, folders or patterns (`*`, `?`, `[a-z]`, `**`), relative to the folder of the TOML file."""
    share: float
    """Share of the training tokens, above 0; the shares of all sources add up to 1."""
    format: str = ""
    """Name of the reader of these files; empty = by each file's name."""
    text: str = "text"
    """Field or column of a record that holds the document."""
    id: str = ""
    """Field or column that names a document; empty = its file and line."""
    group: str = "document"
    """What the split keeps together: document, file, folder, or a field's name."""
    license: str = ""
    """License of the documents, recorded with them."""
    max_epochs: float = 0.0
    """Times the source may be read; a run that would read it more often is refused; 0 = no limit."""
    invalid_text: InvalidText = "reject"
    """Handling of a text that is not Unicode: reject it, or replace invalid parts with U+FFFD. Both are counted."""

    __repr__ = short_repr

    def __post_init__(self) -> None:
        require(bool(self.paths), "sources.paths", self.paths, "must name at least one file or pattern")
        for path in self.paths:
            plain = isinstance(path, str) and bool(path.strip()) and "\0" not in path
            require(plain, "sources.paths", path, "must be a path or pattern")
        rule = "must be above 0 and at most 1; leave a source out instead of giving it 0"
        require(0 < self.share <= 1 + 1e-6, "sources.share", self.share, rule)
        rule = "must be the name of a reader: letters, digits and _"
        require(not self.format or self.format.isidentifier(), "sources.format", self.format, rule)
        require(bool(self.text), "sources.text", self.text, "must be the name of a field")
        require(bool(self.group), "sources.group", self.group, "must be document, file, folder or a field's name")
        require_all_storable(self, "sources.")
        require_not_negative("sources", max_epochs=self.max_epochs)
        require_choice("sources.invalid_text", self.invalid_text, ("reject", "replace"))
